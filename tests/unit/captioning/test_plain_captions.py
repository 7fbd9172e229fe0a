"""Captions that people could write and that name no class: none is refused or taken for a page's.

The texts, in benchmarks/plain_captions.py, come near the patterns of rules/refusals.yaml.
"""

from __future__ import annotations

import pytest

from benchmarks.plain_captions import CAPTIONS
from captioning.contradictions import Reader
from captioning.quality import QualityFilter
from captioning.rules import load_rules
from edgekd.records import Caption, TaskSpec

RULES = load_rules()
FILTER = QualityFilter(
    TaskSpec("test", ("axolotl", "theremin")),
    RULES,
    near_duplicate_jaccard=0.75,
    min_attribute=0.03,
    min_confidence=0.05,
)
READER = Reader(RULES.contradictions)


@pytest.mark.parametrize("text", CAPTIONS)
def test_it_is_kept(text: str) -> None:
    (kept,) = FILTER([Caption("a", 0, text, "plain", 1.0, 0, "test", 0.9)], {})
    assert kept.dropped is None
    assert READER.read(text).impossible == ()
