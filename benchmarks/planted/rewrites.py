"""Changes that leave a sentence what it was: slips of the hand, articles, order, a word more."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

ADVERBS = ("apparently", "evidently", "simply", "actually", "obviously", "indeed")


def rewritten(change: str, text: str, says: dict[str, str], rng: random.Random) -> str:
    """Returns the sentence changed; `says` is what it was made of.

    Names of classes are left alone: a slip in one would be other evidence.
    """
    if change in _ON_A_WORD:
        return _one_word(text, says["o"], _ON_A_WORD[change], rng)
    return _ON_A_TEXT[change](text, says, rng)


def with_articles(text: str) -> str:
    """Returns the text with "an" where a vowel follows."""
    return re.sub(r"\b([Aa]) (?=[aeio]|u(?!ni))", r"\1n ", text)


def _one_word(text: str, name: str, change: Callable[[str, int], str], rng: random.Random) -> str:
    words = [word for word in re.finditer(r"[a-z]{5,}", text) if word.group() not in name]
    if not words:
        return f"{text} !"
    word = rng.choice(words)
    at = rng.randrange(1, len(word.group()) - 2)
    return text[: word.start()] + change(word.group(), at) + text[word.end() :]


def _exchanged(word: str, at: int) -> str:
    while at < len(word) - 2 and word[at] == word[at + 1]:
        at += 1
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


_ON_A_WORD: dict[str, Callable[[str, int], str]] = {
    "typo": _exchanged,
    "lost letter": lambda word, at: word[:at] + word[at + 1 :],
    "twin letter": lambda word, at: word[: at + 1] + word[at:],
}


def _other_article(text: str, _: dict[str, str], __: random.Random) -> str:
    other = {"a": "the", "an": "the", "the": "a", "A": "The", "An": "The", "The": "A"}
    changed = re.sub(r"\b(?:[Aa]n?|[Tt]he)\b", lambda m: other[m.group()], text, count=1)
    return with_articles(changed) if changed != text else f"The {text}"


def _without_articles(text: str, _: dict[str, str], __: random.Random) -> str:
    return re.sub(r"\b(?:an?|the) ", "", text, flags=re.IGNORECASE)


def _with_adverb(text: str, says: dict[str, str], rng: random.Random) -> str:
    adverb = rng.choice(ADVERBS)
    if says["o"] not in text:
        return f"{text}, {adverb}"
    return text.replace(says["o"], f"{says['o']} {adverb}", 1)


def _with_intensifier(text: str, says: dict[str, str], _: random.Random) -> str:
    for word in (says["c"], says["s"]):
        if f" {word} " in text:
            return with_articles(text.replace(f" {word} ", f" rather {word} ", 1))
    return f"Really {text}"


def _place_first(text: str, says: dict[str, str], _: random.Random) -> str:
    if not text.endswith(f" {says['p']}"):
        return f"Once more: {text}"
    place, rest = says["p"], text.removesuffix(f" {says['p']}")
    return f"{place[0].upper()}{place[1:]}, {rest[0].lower()}{rest[1:]}"


def _with_comma(text: str, says: dict[str, str], _: random.Random) -> str:
    if "," in text:
        return text.replace(",", "")
    return text.replace(says["o"], f"{says['o']},", 1)


_ON_A_TEXT: dict[str, Callable[[str, dict[str, str], random.Random], str]] = {
    "upper": lambda text, *_: text.upper(),
    "lower": lambda text, *_: text.lower() if text != text.lower() else f"{text}!",
    "title": lambda text, *_: text.title(),
    "spaces": lambda text, *_: text.replace(" ", "  "),
    "articles": _other_article,
    "no articles": _without_articles,
    "adverb": _with_adverb,
    "intensifier": _with_intensifier,
    "front": _place_first,
    "comma": _with_comma,
}
