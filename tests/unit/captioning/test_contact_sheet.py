"""The page of a trial: which images, what is said of them, what the whole would take."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from captioning.contact_sheet import Entry, Projection, choose, entry, render_html
from edgekd.records import Caption, Item

WHOLE = Projection(
    num_images=4000,
    num_captions=12_000,
    seconds=7384,
    cost=6.5,
    num_tokens=3_200_000,
    disk_bytes=2_400_000,
)


def caption(text: str, dropped: str | None = None) -> Caption:
    return Caption("i", 0, text, "plain", 0.5, 0, "teacher", 0.812, dropped)


def page(whole: Projection = WHOLE, *entries: Entry) -> str:
    shown = entries or (Entry("a.jpg", "", (caption("A cat."), caption("A dog.", "short"))),)
    return render_html("photos", "openai/some-model", shown, whole)


def cards(html: str) -> dict[str, tuple[str, str]]:
    found = re.findall(
        r'<dt>(.*?)</dt><dd class="value">(.*?)</dd>(?:<dd class="detail">(.*?)</dd>)?', html
    )
    return {label: (value, detail) for label, value, detail in found}


def test_the_figures_of_the_whole() -> None:
    html = page()
    assert cards(html) == {
        "Captions of everything": ("12,000", "4,000 images"),
        "Cost": ("6.50 USD", "3,200,000 tokens"),
        "Time": ("2 h 3 min", "at the trial&#39;s pace"),
        "Disk": ("2.40 MB", "captions, targets"),
        "Kept in the trial": ("50.0%", "1 of 2"),
    }
    assert "openai/some-model said 2 sentences of 1 image; 1 would be kept." in html


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    found = cards(page(Projection(5, 15)))
    assert [found[name][0] for name in ("Cost", "Time", "Disk")] == ["–", "–", "–"]
    assert cards(page(Projection(5, 15, cost=0.0)))["Cost"][0] == "0.00 USD"
    assert cards(page(Projection(5, 15, cost=0.00123)))["Cost"][0] == "0.00123 USD"
    limited = Projection(5, 15, cost=1.0, spending_limit=2.0, num_tokens=7)
    assert cards(page(limited))["Cost"] == ("1.00 USD", "7 tokens, limit 2.00")


@pytest.mark.parametrize(
    ("cost", "limit", "says"),
    [
        (20.0, 5.0, "The spending limit of 5.00 USD would stop it after about 3,000 captions (25.0%)."),
        (5.0, 5.0, None),
        (5.0, None, None),
        (None, 5.0, None),
    ],
)  # fmt: skip
def test_a_spending_limit_that_would_stop_it(
    cost: float | None, limit: float | None, says: str | None
) -> None:
    html = page(Projection(4000, 12_000, cost=cost, spending_limit=limit))
    assert ("spending limit" in html) is (says is not None)
    assert says is None or says in html


def test_captions_stand_with_why_they_were_dropped() -> None:
    html = page()
    assert '<span class="tag good">kept</span> A cat.' in html
    assert '<span class="tag bad">dropped</span> A dog.' in html
    assert '<span class="why">short</span><br>temperature 0.5, confidence 81.2%' in html
    assert "no picture" in html
    assert "nothing was said of it" in page(WHOLE, Entry("b.jpg", "", ()))


def test_the_page_loads_and_runs_nothing_whatever_a_teacher_says() -> None:
    evil = "<script>alert(1)</script>\"'&"
    html = page(WHOLE, Entry(f"{evil}.jpg", "javascript:alert(1)", (caption(evil, evil),)))
    assert "<script" not in html
    assert "javascript:" not in html
    assert "default-src 'none'" in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3


def test_thumbnails(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500), (200, 30, 30)).save(tmp_path / "large.png")
    Image.new("RGB", (28, 28), (30, 200, 30)).save(tmp_path / "small.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    sizes = {}
    for name in ("large", "small"):
        found = entry(tmp_path / f"{name}.png", f"{name}.png", [caption("x")])
        assert found.image.startswith("data:image/")
        content = base64.b64decode(found.image.split(",")[1])
        sizes[name] = Image.open(io.BytesIO(content)).size
    assert sizes == {"large": (320, 160), "small": (28, 28)}
    assert entry(tmp_path / "bad.png", "bad.png", []).image == ""


def item(number: int, label: int | None, split: str = "train") -> Item:
    return Item(f"{number:03}", f"{number}.jpg", split, label)  # type: ignore[arg-type]


def test_images_of_every_label_are_chosen() -> None:
    items = [item(n, 0) for n in range(90)] + [item(90, 1), item(91, 2), item(92, None)]
    items += [item(n, 3, "test") for n in range(93, 99)]
    chosen = choose(items, seed=0)
    assert Counter(i.label for i in chosen) == {0: 6, 1: 1, 2: 1, None: 1}
    assert chosen == choose(list(reversed(items)), seed=0)
    assert chosen != choose(items, seed=1)
    assert len(choose(items[:4], seed=0)) == 4
    assert choose([], seed=0) == []
