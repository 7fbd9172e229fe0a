"""What the report says of a run's captions: how varied they are against how often they are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from captioning.caption_metrics import CaptionMetrics, Embed
from captioning.matching import Lexicon
from edgekd.errors import EdgeKDError
from edgekd.manifest import Manifest
from edgekd.metrics import share
from edgekd.records import Caption, Label
from edgekd.report_format import without_nan

# Captions of each temperature that are compared pair by pair and embedded.
SAMPLE = 200


def summarize(
    captions: Iterable[Caption], manifest: Manifest, embed: Embed | None = None
) -> dict[str, Any]:
    """Returns `CaptionMetrics.summary` with "right" overall and by temperature.

    That is the share of kept captions of labelled tune images that name the right class first, with
    its 95% interval; in a multi-label task, that name classes which the image shows and no other. No
    other label is looked at, and what is not known is None. Captions of one
    image must come together.
    """
    lexicon = Lexicon(manifest.task)
    metrics = CaptionMetrics(manifest.task, lexicon, sample=SAMPLE)
    labels = {item.id: item.label for item in manifest.of("tune") if item.label is not None}
    right: dict[float, list[bool]] = defaultdict(list)
    for caption in captions:
        metrics.add(caption)
        if caption.dropped is None and caption.item_id in labels:
            named = lexicon.parse(caption.readable).classes
            right[caption.temperature].append(_is_right(named, labels[caption.item_id]))
    found = metrics.summary(embed)
    found["overall"]["right"] = _share([hit for hits in right.values() for hit in hits])
    for part in found["by_temperature"]:
        part["right"] = _share(right[part["temperature"]])
    plain: dict[str, Any] = without_nan(found)
    return plain


def embedder(text_encoder: Path | None) -> Embed | None:
    """Returns an encoder that reads no text twice; None where its weights are not here.

    Samples overlap: what is drawn of all captions is drawn of its temperature too.
    """
    from captioning.sentences import SentenceEncoder

    try:
        encoder = SentenceEncoder(text_encoder)
    except EdgeKDError:  # a run may never need it, and a figure is no reason to stop
        return None
    known: dict[str, np.ndarray] = {}

    def embed(texts: list[str]) -> np.ndarray:
        new = sorted({text for text in texts if text not in known})
        if new:
            known.update(zip(new, encoder.encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return embed


def _is_right(named: tuple[int, ...], label: Label | None) -> bool:
    if isinstance(label, tuple):
        return bool(named) and set(named) <= set(label)
    return named[:1] == (label,)


def _share(hits: list[bool]) -> dict[str, Any] | None:
    return share(np.array(hits)) if hits else None
