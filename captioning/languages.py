"""Which language a sentence is in (py3langid): a small model of byte sequences, no network."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from captioning.rules import Language
from edgekd.extras import require
from edgekd.store import room_for_temporary_files

# A letter of a script that puts no space between words.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_CACHED = 1 << 14


class Languages:
    """Tells foreign sentences from those in a language that is allowed.

    Raises:
        MissingExtraError: py3langid is not installed.
    """

    def __init__(self, rules: Language):
        self._rules = rules
        self._model = _model(tuple(rules.candidates))
        self.foreign = lru_cache(_CACHED)(self._foreign)

    def _foreign(self, text: str) -> str | None:
        """Returns the code of a language that is not allowed, or None: allowed, or unsure."""
        if not self._long_enough(text):
            return None
        ranked = self._model.rank(text)
        other = sum(p for code, p in ranked if code not in self._rules.allowed)
        if other < self._rules.min_probability:
            return None
        return next(code for code, _ in ranked if code not in self._rules.allowed)

    def _long_enough(self, text: str) -> bool:
        words = re.findall(r"[^\W\d_]+", text)
        return len(words) >= self._rules.min_words or len(UNSPACED.findall(text)) >= (
            self._rules.min_words
        )


@cache
def _model(candidates: tuple[str, ...]) -> Any:
    module = require("py3langid.langid", "captioning")
    with room_for_temporary_files():  # where the model is unpacked, 65 MB
        model = module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)
    model.set_languages(candidates)
    return model
