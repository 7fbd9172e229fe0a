"""Trains captioning/rules/no_caption.npz: `python -m benchmarks.no_caption`.

On the texts of the first half of `planted_faults` and on plain captions, with other nouns put in;
nothing of the second half is read.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from benchmarks import results_file
from benchmarks.plain_captions import CAPTIONS
from benchmarks.planted.rewrites import with_articles
from benchmarks.planted_faults import CLASSES, half_of
from benchmarks.tuxpaint import english
from captioning.no_caption import BUCKETS, KINDS, PATH, NoCaption, features
from captioning.quality import QualityFilter
from captioning.rules import load_rules
from edgekd.records import Caption, TaskSpec

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
_TAKEN = ("refused", "boilerplate", "impossible")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true",
        help="train on four fifths at a time instead and measure what is found of the rest",
    )  # fmt: skip
    parser.add_argument(
        "--stamps", type=Path, metavar="FOLDER",
        help="with --check: texts of Tux Paint's stamps, of which none should be dropped",
    )  # fmt: skip
    args = parser.parse_args()
    texts, kinds = examples()
    if args.check:
        print(_write(_checked(texts, kinds), args.stamps and _dropped(args.stamps)))
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


def _checked(texts: list[str], kinds: list[int]) -> dict[str, list[bool]]:
    """Returns of each kind which texts were found, of captions which were taken for another."""
    limit = load_rules().limits.no_caption.min_probability
    found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    kind_of = {text: KINDS[kind] for text, kind in zip(texts, kinds, strict=True)}
    folds = np.array([crc32(text.encode()) % FOLDS for text in texts])  # copies stay together
    for fold in range(FOLDS):
        rest = np.flatnonzero(folds != fold)
        model = trained([texts[at] for at in rest], [kinds[at] for at in rest])
        for text in dict.fromkeys(texts[at] for at in np.flatnonzero(folds == fold)):
            kind = kind_of[text]
            said = model.kind(text, limit)
            found[kind].append(said == kind if kind != "caption" else said is not None)
    return found


def _dropped(stamps: Path) -> list[bool]:
    """Returns which of the texts, names of no class, the filter takes for none of a picture.

    Raises:
        SystemExit: no texts there.
    """
    paths = sorted(stamps.rglob("*.txt"))
    texts = list(dict.fromkeys(filter(None, map(english, paths))))
    if not texts:
        raise SystemExit(
            f"{stamps}: no texts of stamps. Point --stamps to tuxpaint's folder stamps"
        )
    quality = QualityFilter(
        TaskSpec("stamps", ("axolotl", "theremin")), load_rules(),
        near_duplicate_jaccard=0.75, min_attribute=0.03, min_confidence=0.05,
    )  # fmt: skip
    captions = [
        Caption(str(at), 0, text, "stamps", 1.0, 0, "people", 1.0) for at, text in enumerate(texts)
    ]
    reasons = (caption.dropped or "" for caption in quality(captions, {}))
    return [reason.split(":")[0].split(" ")[0] in _TAKEN for reason in reasons]


def _write(found: dict[str, list[bool]], dropped: list[bool] | None) -> Path:
    shares = {
        "captions_taken": found["caption"],
        "refusals_found": found["refusal"],
        "boilerplate_found": found["boilerplate"],
    }
    if dropped is not None:
        shares["stamps_dropped"] = dropped
    return results_file.write(
        "no_caption",
        claim="In cross-validation the small model finds these shares of refusals and page texts, "
        "and takes this share of captions for one of them.",
        command="python -m benchmarks.no_caption --check --stamps FOLDER",
        seeds=[0],
        data={
            "name": "the first half of benchmarks/planted, and benchmarks/plain_captions.py",
            "counts": {name: len(hits) for name, hits in shares.items()},
        },
        figures={name: results_file.share(hits) for name, hits in shares.items()},
        notes="The model alone, without the patterns; five folds by the digest of the texts, whose "
        "authors are in all folds. `stamps_dropped`: of the English texts of Tux Paint's stamps, "
        "written by people for pictures, those that patterns or the model take for a refusal, a "
        "page's text or a contradiction, where no class is named.",
    )


if __name__ == "__main__":
    raise SystemExit(main())
