"""A trial before captioning everything: a few images with what is said of them, and what the rest
would take."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from edgekd.errors import DataError
from edgekd.preprocess import open_image
from edgekd.records import Caption, Item, Label
from edgekd.report import environment
from edgekd.report_format import DASH, duration, percent, plural
from edgekd.sizes import format_size
from edgekd.store import digest

if TYPE_CHECKING:
    from jinja2 import Environment

NUM_IMAGES = 9
# Pixels of the longer side: of a thumbnail, and up to which JPEG would be seen.
_SIDE = 320
_ICON = 96


@dataclass(frozen=True)
class Entry:
    """An image of the trial and its captions; `image` is a data: URI, or empty where it has none.

    `scores` has a line for each teacher that scores classes.
    """

    path: str
    image: str
    captions: tuple[Caption, ...]
    scores: tuple[str, ...] = ()


@dataclass(frozen=True)
class Projection:
    """What captioning everything takes, as it follows from the trial; None where it is not known."""

    num_images: int
    num_captions: int
    seconds: float | None = None
    cost: float | None = None
    currency: str = "USD"
    spending_limit: float | None = None
    num_tokens: int | None = None
    disk_bytes: int | None = None


def choose(items: Sequence[Item], seed: int, num_images: int = NUM_IMAGES) -> list[Item]:
    """Returns training images for a trial, one label after the other; the same for the same seed."""
    by_label: dict[Label | None, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: digest([seed, item.id])):
        if item.split == "train":
            by_label[item.label].append(item)
    queues = sorted(by_label.values(), key=lambda queue: digest([seed, queue[0].id]))
    longest = max(map(len, queues), default=0)
    in_turn = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return in_turn[:num_images]


def entry(
    path: Path, shown_path: str, captions: Iterable[Caption], scores: Iterable[str] = ()
) -> Entry:
    """Returns an image of the trial with its thumbnail; without one where it cannot be read."""
    try:
        image = _thumbnail(path)
    except DataError:
        image = ""
    return Entry(shown_path, image, tuple(captions), tuple(scores))


def render_html(name: str, teacher: str, entries: Sequence[Entry], whole: Projection) -> str:
    """Returns one page that loads nothing and runs nothing; `whole` is what everything would take."""
    captions = [caption for found in entries for caption in found.captions]
    kept = sum(caption.dropped is None for caption in captions)
    page = _environment().get_template("contact_sheet.html.j2")
    return page.render(
        name=name,
        headline=_headline(teacher, len(entries), len(captions), kept),
        cards=_cards(whole, len(captions), kept),
        over_limit=_over_limit(whole),
        entries=entries,
    )


def _headline(teacher: str, num_images: int, num_captions: int, num_kept: int) -> str:
    said = f"{teacher} said {plural(num_captions, 'sentence')} of {plural(num_images, 'image')}"
    return f"{said}; {num_kept:,} would be kept. Captioning everything was not begun."


def _cards(whole: Projection, num_captions: int, num_kept: int) -> list[tuple[str, str, str]]:
    """(label, value, detail) of each key figure."""
    cost = DASH if whole.cost is None else f"{_money(whole.cost)} {whole.currency}"
    limit = whole.spending_limit
    details = [f"{whole.num_tokens:,} tokens"] if whole.num_tokens is not None else []
    details += [f"limit {_money(limit)}"] if limit is not None else []
    return [
        ("Captions of everything", f"{whole.num_captions:,}", plural(whole.num_images, "image")),
        ("Cost", cost, ", ".join(details)),
        ("Time", DASH if whole.seconds is None else duration(whole.seconds), "at the trial's pace"),
        (
            "Disk",
            DASH if whole.disk_bytes is None else format_size(whole.disk_bytes),
            "captions, targets",
        ),
        (
            "Kept in the trial",
            percent(num_kept / num_captions) if num_captions else DASH,
            f"{num_kept:,} of {num_captions:,}",
        ),
    ]


def _over_limit(whole: Projection) -> str:
    if whole.cost is None or whole.spending_limit is None or whole.cost <= whole.spending_limit:
        return ""
    share = whole.spending_limit / whole.cost
    return (
        f"The spending limit of {_money(whole.spending_limit)} {whole.currency} would stop it after "
        f"about {round(share * whole.num_captions):,} captions ({percent(share)})."
    )


def _money(value: float) -> str:
    """Two decimals, or three digits that count where it is less than one."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.3g}"


def _thumbnail(path: Path) -> str:
    """A data: URI; an icon stays as it is to the pixel, the browser enlarges it."""
    image = open_image(path)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    kind = "PNG" if max(image.size) <= _ICON else "JPEG"
    content = io.BytesIO()
    image.save(content, kind, quality=85)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{encoded}"


def _environment() -> Environment:
    from jinja2 import ChoiceLoader, PackageLoader

    loader = ChoiceLoader([PackageLoader("captioning", "pages"), PackageLoader("edgekd")])
    return environment().overlay(loader=loader)
