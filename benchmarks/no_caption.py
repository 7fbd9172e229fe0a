"""Trains captioning/rules/no_caption.npz: `python -m benchmarks.no_caption`.

On the texts of the first half of `planted_faults` and on plain captions, with other nouns put in;
nothing of the second half is read. `--check` trains on four fifths at a time instead and prints what
is found of the rest.
"""

from __future__ import annotations

import argparse
import random
from zlib import crc32

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from benchmarks.plain_captions import CAPTIONS
from benchmarks.planted.rewrites import with_articles
from benchmarks.planted_faults import CLASSES, half_of
from captioning.no_caption import BUCKETS, KINDS, PATH, NoCaption, features

NOUNS = (
    "dog", "church", "bowl of soup", "woman", "bus", "bridge", "mountain", "kitchen", "cake", "train",
    "flower", "baby", "guitar", "boat", "horse", "phone", "street", "shoe", "pizza", "tree", "clock",
    "bed", "computer", "screen", "book", "sign", "picture frame", "wall", "plane", "window", "toy",
)  # fmt: skip
# Short captions, as of clip art and children's pictures.
SHORT = (
    "A {}.", "{}", "Some {}s.", "An old {}!", "A {} and its owner.", "Look, a {}!", "Our {}.",
    "Three {}s", "The {}: what a sight!", "{} and sky", "A very big {}!", "Green {} (detail)",
)  # fmt: skip
COPIES, FOLDS = 4, 5
STRENGTH = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    texts, kinds = examples()
    if parser.parse_args().check:
        _check(texts, kinds)
        return 0
    model = trained(texts, kinds)
    np.savez_compressed(PATH, weights_BK=model.weights_BK, bias_K=model.bias_K)
    print(f"{PATH}: {len(texts)} texts, {PATH.stat().st_size} bytes")
    return 0


def examples(seed: int = 0) -> tuple[list[str], list[int]]:
    """Returns texts and their places in `KINDS`, in an order that a seed gives."""
    rng = random.Random(seed)
    templates = [*half_of("CLEAN", "first"), *half_of("HARD_CLEAN", "first")] * COPIES
    for name in ("BETWEEN", "NEAR_PAIRS", "FAR_PAIRS"):
        templates += [text for row in half_of(name, "first") for text in row]
    captions = [_filled(template, rng) for template in templates]
    for thing in [*NOUNS, *half_of("THINGS", "first")]:
        captions += [with_articles(rng.choice(SHORT).format(thing)) for _ in range(2)]
    captions += [*CAPTIONS, *half_of("CAPTIONS", "first")] * COPIES
    for name in ("REPEATED", "OFF_TOPIC", "FOREIGN"):
        captions += half_of(name, "first")
    for about in CLASSES["first"].values():
        captions += [guess.format(about) for guess in half_of("GUESSES", "first")]
    both = [(text, 0) for text in captions]
    both += [(text, 1) for text in half_of("REFUSALS", "first")]
    both += [(text, 2) for text in half_of("BOILERPLATE", "first")]
    rng.shuffle(both)
    return [text for text, _ in both], [kind for _, kind in both]


def trained(texts: list[str], kinds: list[int]) -> NoCaption:
    """Returns the model of these texts, in half precision."""
    classifier = LogisticRegression(C=STRENGTH, max_iter=3000, class_weight="balanced")
    classifier.fit(_rows(texts), kinds)
    return NoCaption(classifier.coef_.T.astype(np.float16), classifier.intercept_)


def _rows(texts: list[str]) -> sparse.csr_matrix:
    found = [features(text) for text in texts]
    values = np.concatenate([np.full(len(one), 1 / np.sqrt(len(one))) for one in found])
    ends = np.cumsum([0, *map(len, found)])
    return sparse.csr_matrix((values, np.concatenate(found), ends), shape=(len(texts), BUCKETS))


def _filled(template: str, rng: random.Random) -> str:
    """The template with nouns that name no class."""
    thing = rng.choice(half_of("THINGS", "first"))
    return with_articles(
        template.format(
            o=rng.choice(NOUNS), c=rng.choice(("red", "green", "white")), d="blue", t=thing,
            s=rng.choice(("small", "large")), ts=f"{thing}s", u=rng.choice(NOUNS),
            p=rng.choice(half_of("PLACES", "first")),
        )
    )  # fmt: skip


def _check(texts: list[str], kinds: list[int]) -> None:
    sure = np.zeros((len(texts), len(KINDS)))
    folds = np.array([crc32(text.encode()) % FOLDS for text in texts])  # copies stay together
    for fold in range(FOLDS):
        rest = np.flatnonzero(folds != fold)
        model = trained([texts[at] for at in rest], [kinds[at] for at in rest])
        for at in np.flatnonzero(folds == fold):
            sure[at] = model.probabilities(texts[at])
    of = np.array(kinds)
    for limit in (0.5, 0.6, 0.7, 0.8, 0.9):
        found = 1 - sure[:, 0] >= limit
        right = found & (sure[:, 1:].argmax(axis=1) + 1 == of)
        shares = ", ".join(
            f"{kind} {(right if at else found)[of == at].mean():.3f}"
            for at, kind in enumerate(KINDS)
        )
        print(f"{limit}: {shares}")


if __name__ == "__main__":
    raise SystemExit(main())
