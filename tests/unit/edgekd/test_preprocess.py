"""From a file to the model's input: every kind of image file, and the numbers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd import confidence, preprocess
from edgekd.confidence import Confidence
from edgekd.errors import DataError, EdgeKDError
from edgekd.records import Preprocess, TensorSpec


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    # 257 = 65535 / 255, so 257 * n becomes n.
    deep = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    read = np.asarray(preprocess.open_image(tmp_path / "deep.png"))
    assert read[..., 0].tolist() == [[0, 100], [200, 255]]
    assert (read == read[..., :1]).all()


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    read = np.asarray(preprocess.open_image(tmp_path / "p.png"))
    assert read.tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_a_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    read = np.asarray(preprocess.open_image(tmp_path / "p.png"))
    assert read.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (0, 100, 200, 51), (204, 224, 244)),  # a fifth of it, four fifths of white
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("L", 7, (7, 7, 7)),
        ("1", 255, (255, 255, 255)),
    ],
)
def test_transparency_lies_on_white(
    mode: str, pixel: object, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    Image.new(mode, (1, 1), pixel).save(tmp_path / "a.png")  # type: ignore[arg-type]
    assert preprocess.open_image(tmp_path / "a.png").getpixel((0, 0)) == expected


def test_the_exif_tag_turns_the_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (3, 2), (0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    read = preprocess.open_image(tmp_path / "turned.png")
    assert read.size == (2, 3)
    assert read.getpixel((1, 0)) == (255, 0, 0)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
def test_what_is_no_image_is_said_with_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        preprocess.open_image(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on damaged TIFF tags
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_a_file_cut_anywhere_is_an_image_or_a_data_error(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for length in range(1, len(content), max(1, len(content) // 60)):
        cut.write_bytes(content[:length])
        with contextlib.suppress(DataError):
            assert preprocess.open_image(cut).size == (24, 24)


def test_normalized_by_hand() -> None:
    pixels = np.array([[[0, 51, 255]]], dtype=np.uint8)
    values = preprocess.normalized(pixels, Preprocess(1, 1))
    assert values.dtype == np.float32
    assert values.ravel().tolist() == pytest.approx([-1.0, -0.6, 1.0], abs=1e-6)


def test_inverted_is_255_minus_the_pixel() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.5, 0.7)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    plain = Preprocess(5, 4, mean, std)
    inverted = Preprocess(
        5, 4, tuple(1 - m for m in mean), tuple(-s for s in std)  # type: ignore[arg-type]
    )  # fmt: skip
    by_hand = preprocess.normalized(255 - pixels, plain)
    assert preprocess.normalized(pixels, inverted) == pytest.approx(by_hand, abs=1e-6)


def test_the_three_ways_to_resize() -> None:
    # Left half black, right half white, twice as wide as high.
    image = Image.new("RGB", (8, 4), (0, 0, 0))
    image.paste((255, 255, 255), (4, 0, 8, 4))
    stretch = preprocess.resized(image, Preprocess(4, 4, resize="stretch"))
    crop = preprocess.resized(image, Preprocess(4, 4, resize="shorter_side_crop"))
    pad = preprocess.resized(image, Preprocess(4, 4, resize="letterbox"))
    assert stretch.shape == crop.shape == pad.shape == (4, 4, 3)
    assert (crop[:, :2] == 0).all()  # the middle 4 x 4 of the 8 x 4
    assert (crop[:, 2:] == 255).all()
    assert (pad[0] == 0).all()  # a row of padding above and below the 4 x 2
    assert (pad[3] == 0).all()
    assert (pad[1, 3] == 255).all()
    assert stretch[0, 0, 0] < 64 < 192 < stretch[0, 3, 0]


def test_height_and_width_are_not_swapped() -> None:
    image = Image.new("RGB", (10, 20))
    assert preprocess.resized(image, Preprocess(6, 3)).shape == (6, 3, 3)


def test_load_input_is_open_resize_normalize(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), (255, 0, 51)).save(tmp_path / "x.png")
    values = preprocess.load_input(tmp_path / "x.png", Preprocess(2, 2))
    assert values == pytest.approx(np.tile([1.0, -1.0, -0.6], (2, 2, 1)), abs=1e-6)


def test_json_and_back() -> None:
    settings = Preprocess(8, 6, (0.1, 0.2, 0.3), (1, 2, 3), "letterbox", "bicubic")
    spec = TensorSpec("image", (1, 8, 6, 3), "int8", "NHWC", 0.5, -3)
    output = TensorSpec("logits", (1, 4), "float32", "NC")
    sure = Confidence(temperature=1.5, reject_by="max_logit", reject_below=0.4)
    values = preprocess.to_json(settings, spec, output, sure)
    assert preprocess.from_json(values) == settings
    assert confidence.from_json(values) == sure
    assert confidence.from_json(preprocess.to_json(settings, spec, output)) == Confidence()
    assert values["schema"] == 1
    assert values["outputs"][0]["temperature"] == 1.5
    assert (values["reject_by"], values["reject_below"]) == ("max_logit", 0.4)
    (entry,) = values["inputs"]
    assert (entry["scale"], entry["zero_point"], entry["dtype"]) == (0.5, -3, "int8")
    assert entry["resize"] == {
        "mode": "letterbox", "height": 8, "width": 6, "interpolation": "bicubic",
        "antialias": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema": 2}, "preprocess.json: schema 2, this edgekd reads schema 1"),
        ({}, "preprocess.json: schema None, this edgekd reads schema 1"),
        ({"schema": 1}, "preprocess.json: 'inputs' is missing"),
        ({"schema": 1, "inputs": [{"resize": {}}]}, "preprocess.json: 'height' is missing"),
    ],
)
def test_a_preprocess_json_that_is_not_whole(values: dict[str, object], message: str) -> None:
    with pytest.raises(EdgeKDError) as caught:
        preprocess.from_json(values)
    assert str(caught.value).startswith(message)
