"""What a chat server's answer says or lacks, byte by byte."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from captioning.teachers import chat_format
from captioning.teachers.chat_format import Answer
from edgekd.errors import DataError


def said(message: object, finish: object = "stop", usage: object = None) -> bytes:
    values = {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"content": " A cat.\n"}, "stop", Answer("A cat.")),
        ({"content": [{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}]}, None,
         Answer("A cat.")),
        ({"content": "<think>\nfur? whiskers?\n</think>\n\nA cat."}, "stop", Answer("A cat.")),
        ({"content": "<think>fur? whis"}, "length",
         Answer("", "truncated: the answer reached max_tokens")),
        ({"content": "A cat on a"}, "length",
         Answer("A cat on a", "truncated: the answer reached max_tokens")),
        ({"content": ""}, "stop", Answer("", "empty")),
        ({"content": None}, "stop", Answer("", "empty")),
        ({"content": "  \n"}, "stop", Answer("", "empty")),
        ({"content": None, "refusal": "I will not."}, "stop", Answer("", "refused: I will not.")),
        ({"content": "A c"}, "content_filter", Answer("A c", "refused: content_filter")),
        ({"content": "Sorry, I can't help."}, "stop",
         Answer("Sorry, I can't help.", "refused: Sorry, I can't help.")),
    ],
)  # fmt: skip
def test_messages(message: object, finish: object, expected: Answer) -> None:
    assert chat_format.read_answer(said(message, finish)) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 5}, (20, 5)),
        ({"prompt_tokens": 20, "completion_tokens": 0}, (20, 0)),
        ({"prompt_tokens": 20}, (20, None)),
        ({"prompt_tokens": "20", "completion_tokens": -5}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": 5.5}, (None, None)),
        (None, (None, None)),
        ([20, 5], (None, None)),
    ],
)
def test_token_counts_are_missing_rather_than_wrong(usage: object, expected: object) -> None:
    answer = chat_format.read_answer(said({"content": "A cat."}, usage=usage))
    assert (answer.tokens_in, answer.tokens_out) == expected
    assert answer.reason is None


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b'{"choices": [{"mess', "application/json", 'broken JSON (application/json): {"choices'),
        (b"data: {}\n\n", "text/event-stream", "broken JSON (text/event-stream): data: {}"),
        (b"", "application/json", "broken JSON: nothing in the answer"),
        (b"\xff\xfe\x00", "", "broken JSON: "),
        (b"[" * 100_000, "", "broken JSON: [["),
        (b"<!DOCTYPE html><title>Sign in</title>", "application/json", "web page: expected JSON"),
        (b"  <html>", "", "web page: "),
        (b"Bad gateway", "text/html; charset=utf-8", "web page: "),
        (b"null", "", "wrong schema: expected choices[0].message.content, found null"),
        (b"[]", "", "wrong schema: expected choices[0].message.content, found []"),
        (b"7", "", "wrong schema: "),
        (b'{"choices": []}', "", "wrong schema: "),
        (b'{"choices": [{"text": "A cat."}]}', "", "wrong schema: "),
        (b'{"choices": [{"message": "A cat."}]}', "", "wrong schema: "),
        (b'{"choices": [{"message": {"content": 7}}]}', "", "wrong schema: "),
        (b'{"choices": [{"message": {"content": ["A cat."]}}]}', "", "wrong schema: "),
        (b'{"error": {"message": "model is loading"}}', "", "wrong schema: expected "
         "choices[0].message.content, model is loading"),
    ],
)  # fmt: skip
def test_what_is_no_answer_has_a_reason(content: bytes, kind: str, reason: str) -> None:
    answer = chat_format.read_answer(content, kind)
    assert answer.reason is not None
    assert answer.reason.startswith(reason)
    assert answer.text == ""


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, I cannot help with this.",
        "I am unable to identify people in images.",
        "I cannot describe this image.",
        "I can't.",
        "We are not able to process it.",
        "Sorry, but I am not able to do that.",
        "Sorry.",
        "Unfortunately, I cannot see the image you mention.",
        "As an AI language model, I have no eyes.",
        "As a large language model I",
        "**I'm sorry**, no.",
        "抱歉，我无法描述这张图片。",
        "很抱歉，我不能回答。",
        "我无法识别图片中的人。",
    ],
)
def test_refusals(text: str) -> None:
    assert chat_format.refusal(text) == f"refused: {text}"


@pytest.mark.parametrize(
    "text",
    [
        "A man who says sorry to a dog.",
        "A sign that reads: I cannot help you.",
        "I can see a cat; I can't tell its colour.",
        "Sorry-looking dog on a wet street.",
        "An AI conference badge.",
        "Unfortunately placed, the cup hides the plate.",
        "一只猫坐在沙发上。",
        "",
    ],
)
def test_no_refusals(text: str) -> None:
    assert chat_format.refusal(text) is None


@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (b'{"error": {"message": "No such model", "code": "model_not_found"}}',
         "No such model", "model_not_found"),
        (b'{"error": {"message": "Out of money", "code": null, "type": "insufficient_quota"}}',
         "Out of money", "insufficient_quota"),
        (b'{"error": "overloaded"}', "overloaded", ""),
        (b'{"detail": "Not\\n  Found"}', "Not Found", ""),
        (b"<html><body>502</body></html>", "a web page", ""),
        (b"upstream gone", "upstream gone", ""),
        (b"", "", ""),
        (b"[1]", "", ""),
        (b'{"error": {"message": 7}}', "", ""),
        (b"x" * 5000, "x" * 200, ""),
    ],
)  # fmt: skip
def test_what_error_bodies_say(content: bytes, message: str, code: str) -> None:
    assert chat_format.error_message(content) == message
    assert chat_format.error_code(content) == code


def decoded(url: str) -> Image.Image:
    head, _, rest = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(rest)))


@pytest.mark.parametrize(
    ("size", "sent"),
    [((640, 320), (64, 32)), ((320, 640), (32, 64)), ((64, 64), (64, 64)), ((20, 10), (20, 10))],
)
def test_images_are_made_smaller_never_larger(
    size: tuple[int, int], sent: tuple[int, int], tmp_path: Path
) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    image = decoded(chat_format.data_url(tmp_path / "a.png", 64, 90))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", sent)
    red, green, blue = image.getpixel((5, 5))  # type: ignore[misc]
    assert red > 250  # JPEG is not exact
    assert max(green, blue) < 5


def test_nothing_but_pixels_is_sent(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Grandma's garden"  # ImageDescription
    exif[0x0112] = 6  # Orientation: turned by a quarter
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    Image.new("RGB", (60, 30)).save(tmp_path / "secret.jpg", exif=exif, comment=b"at Grandma's")
    url = chat_format.data_url(tmp_path / "secret.jpg", 64, 90)
    image = decoded(url)
    assert image.size == (30, 60)
    assert not image.getexif()
    assert "comment" not in image.info
    assert b"Grandma" not in base64.b64decode(url.partition(",")[2])


def test_an_image_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"a\.jpg"):
        chat_format.data_url(tmp_path / "a.jpg", 64, 90)


def test_the_body_with_and_without_an_image() -> None:
    settings = {"model": "m", "temperature": 0.5, "max_tokens": 30}
    text = chat_format.body("Say.", None, seed=None, max_tokens_key="max_tokens", **settings)  # type: ignore[arg-type]
    assert text == settings | {"messages": [{"role": "user", "content": "Say."}]}
    both = chat_format.body(
        "Say.", "data:x", seed=7, max_tokens_key="max_completion_tokens", **settings
    )  # type: ignore[arg-type]
    assert both["seed"] == 7
    assert both["max_completion_tokens"] == 30
    assert "max_tokens" not in both
    assert both["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:x"}},
        {"type": "text", "text": "Say."},
    ]
