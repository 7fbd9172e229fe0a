"""What the report says of captions: variety and how often they are right, on tune labels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captioning.caption_summary import embedder, summarize
from edgekd.manifest import Manifest
from edgekd.metrics import wilson_interval
from edgekd.records import Caption, Item, TaskSpec

MANIFEST = Manifest(
    TaskSpec("pets", ("cat", "dog")),
    [
        Item("tuned", "a.png", "tune", 0),
        Item("tested", "b.png", "test", 0),
        Item("taught", "c.png", "train", 0),
        Item("unlabelled", "d.png", "tune"),
    ],
)


def said(item: str, text: str, temperature: float, dropped: str | None = None) -> Caption:
    return Caption(item, 0, text, "t", temperature, 0, "x", 0.5, dropped)


def test_right_is_the_class_named_first_on_labelled_tune_images() -> None:
    found = summarize(
        [
            said("tuned", "A cat beside a dog.", 0.5),
            said("tuned", "A dog beside a cat.", 1.5),
            said("tuned", "A thing.", 1.5),
            said("tuned", "A cat.", 1.5),
            said("tuned", "A dog.", 1.5, "short"),  # dropped: teaches nothing
            said("tested", "A dog.", 0.5),  # wrong, and of no concern here
            said("taught", "A dog.", 0.5),
            said("unlabelled", "A dog.", 0.5),
        ],
        MANIFEST,
    )
    cold, hot = found["by_temperature"]
    assert [cold["right"]["value"], cold["right"]["n"]] == [1.0, 1]
    low, high = wilson_interval(1, 3)
    assert hot["right"] == {"value": pytest.approx(1 / 3), "low": low, "high": high, "n": 3}
    assert [found["overall"]["right"]["value"], found["overall"]["num_kept"]] == [0.5, 7]


def test_what_is_not_known_is_none_and_never_a_number() -> None:
    found = summarize([said("taught", "A cat.", 1.0)], MANIFEST)
    assert found["overall"]["right"] is None
    assert found["overall"]["sample"]["dispersion"] is None
    assert found["overall"]["sample"]["self_bleu"] is None  # of a single caption


def test_a_translation_is_read_where_the_caption_cannot_be() -> None:
    caption = Caption("tuned", 0, "一只猫。", "t", 1.0, 0, "x", 0.5, translation="A cat.")
    found = summarize([caption], MANIFEST)
    assert found["overall"]["right"]["value"] == 1.0
    assert found["coverage"]["classes"]["cat"]["captions"] == 1


def test_no_text_is_embedded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Encoder:
        def __init__(self, path: Path | None):
            assert path == Path("minilm")

        def encode(self, texts: list[str]) -> np.ndarray:
            read.extend(texts)
            return np.array([[len(text), 1.0] for text in texts])

    monkeypatch.setattr("captioning.sentences.SentenceEncoder", Encoder)
    embed = embedder(Path("minilm"))
    assert embed is not None
    assert embed(["bb", "a", "bb"]).tolist() == [[2, 1], [1, 1], [2, 1]]
    assert embed(["ccc", "a"]).tolist() == [[3, 1], [1, 1]]
    assert read == ["a", "bb", "ccc"]


def test_without_the_encoder_there_is_no_dispersion(tmp_path: Path) -> None:
    assert embedder(tmp_path / "not-there") is None
