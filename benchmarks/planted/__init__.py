"""What `benchmarks.planted_faults` makes captions of: lists of templates, several to a module.

All but `unseen` are the first half, for looking at; `unseen` is the second. Whoever reads what was
missed of the second half and changes a rule for it moves it to the first, and has another written
before by somebody who sees neither rules nor results.
"""

from __future__ import annotations

from benchmarks.planted import (
    again,
    blind,
    fifth,
    fourth,
    fresh,
    further,
    more,
    other,
    texts,
    unseen,
    wide,
    words,
)

FIRST = (words, more, again, fresh, blind, other, further, fourth, fifth, wide, texts)
SECOND = unseen

__all__ = ["FIRST", "SECOND", "words"]
