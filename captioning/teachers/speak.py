"""The composed teacher at work: observe images in blocks, fit names, sample sentences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from captioning.attributes import measure
from captioning.glossary import imagenet_senses, senses
from captioning.prompts import sample_sentence
from captioning.sentences import SentenceEncoder
from captioning.teachers.backbone import Backbones
from captioning.teachers.composed import NamesHead, fit_names
from edgekd.manifest import Manifest
from edgekd.metrics import softmax
from edgekd.names import spoken
from edgekd.preprocess import normalized, open_image, resized
from edgekd.progress import Progress
from edgekd.records import Caption, Item, Preprocess
from edgekd.store import atomic_path, digest
from edgekd.weights import WeightsFile
from edgekd.wholeness import damage

_BATCH = 32
_MOST_TO_FIT = 20_000
_OBSERVED = ("features", "imagenet", "attributes")


def observe(
    items: list[Item],
    folder: Path,
    backbone: Backbones,
    preprocess: Preprocess,
    blocks: Path,
    block_size: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Returns features [N, D] and ImageNet logits [N, 1000], float16, and attributes [N, A].

    Empty for no items.
    Saved block by block under the digest of the block's items; blocks that are there are read.
    """
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(items), block_size):
        block = items[start : start + block_size]
        path = blocks / f"{digest([item.id for item in block])[:16]}.npz"
        if not path.is_file():
            observed = _observe_block(
                block, folder, backbone, preprocess, start, len(items), progress
            )
            with atomic_path(path) as temporary:
                np.savez(temporary, **observed)  # type: ignore[arg-type]
        parts.append(dict(np.load(path)))
        progress(start + len(block), len(items), "images")
    return {name: np.concatenate([part[name] for part in parts]) for name in _OBSERVED if parts}


def observed_before(path: Path, settings: str) -> dict[str, np.ndarray]:
    """Returns ids, features, imagenet and attributes of an observations.npz of these settings.

    Empty where there is none. So other sentences, or a few images more, cost no pass through the
    backbone for the images that were seen.
    """
    if not path.is_file() or damage(path) is not None:
        return {}
    with np.load(path) as stored:
        if "settings" not in stored or str(stored["settings"]) != settings:
            return {}
        return {name: stored[name] for name in ("ids", *_OBSERVED)}


def unseen(items: list[Item], before: dict[str, np.ndarray]) -> list[Item]:
    """Returns the items that were not observed before."""
    seen = set(before["ids"].tolist()) if before else set()
    return [item for item in items if item.id not in seen]


def joined(
    items: list[Item],
    before: dict[str, np.ndarray],
    new_items: list[Item],
    new: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns what was observed of all items, in their order."""
    if not before:
        return new
    ids = [*before["ids"].tolist(), *(item.id for item in new_items)]
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    rows = np.array([row_of[item.id] for item in items])
    return {
        name: (np.concatenate([before[name], new[name]]) if new else before[name])[rows]
        for name in _OBSERVED
    }


def names_head(
    manifest: Manifest,
    imagenet_N1000: np.ndarray,
    text_encoder: Path | None,
    temperature: float,
    balance: bool,
    synonyms: bool,
    glosses: bool,
) -> tuple[NamesHead, WeightsFile]:
    """Returns the names head, balanced on the training images, and the encoder's weights."""
    encoder = SentenceEncoder(text_encoder)
    source = _source_vectors(text_encoder, synonyms, glosses)
    target = np.stack(
        [
            _class_vector(encoder, manifest, name, synonyms, glosses)
            for name in manifest.task.classes
        ]
    )
    imagenet = imagenet_N1000[training_rows(manifest)].astype(np.float32)
    head = fit_names(source, target, imagenet, temperature, balance)
    return head, encoder.weights


def training_rows(manifest: Manifest) -> np.ndarray:
    """Returns the rows of the training images, labelled or not; int64.

    Of more than 20,000 only that many, evenly spaced: a mean needs no more, and memory is spared.
    """
    rows = [row for row, item in enumerate(manifest.items) if item.split == "train"]
    if len(rows) <= _MOST_TO_FIT:
        return np.array(rows, dtype=np.int64)
    return np.array(rows)[np.linspace(0, len(rows) - 1, _MOST_TO_FIT).round().astype(np.int64)]


def sentences(
    manifest: Manifest,
    logits_NK: np.ndarray,
    attributes_NA: np.ndarray,
    captions_per_image: int,
    temperatures: list[float],
    teacher: str,
    seed: int,
) -> Iterator[Caption]:
    """Yields every item's captions; each depends on the seed, the item and its index only.

    An item's captions use the temperatures in turn; `teacher` is the name they carry.
    """
    probs_NK = softmax(logits_NK)
    for item, probs, measured in zip(manifest.items, probs_NK, attributes_NA, strict=True):
        for index in range(captions_per_image):
            temperature = temperatures[index % len(temperatures)]
            caption_seed = int(digest([seed, item.id, index])[:12], 16)
            rng = np.random.default_rng(caption_seed)
            text, template, confidence = sample_sentence(
                probs, measured, manifest.task.classes, temperature, rng
            )
            yield Caption(
                item.id, index, text, template, temperature, caption_seed, teacher, confidence
            )


def _observe_block(
    block: list[Item],
    folder: Path,
    backbone: Backbones,
    preprocess: Preprocess,
    done: int,
    total: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    features, logits, attributes = [], [], []
    for start in range(0, len(block), _BATCH):
        images = [open_image(folder / item.path) for item in block[start : start + _BATCH]]
        batch = np.stack([resized(image, preprocess) for image in images])
        batch_features, batch_logits = backbone.observe(normalized(batch, preprocess))
        features.append(batch_features.astype(np.float16))
        logits.append(batch_logits.astype(np.float16))
        attributes.append(np.stack([measure(image) for image in images]))
        progress(done + start + len(images), total, "images")
    return {
        "features": np.concatenate(features),
        "imagenet": np.concatenate(logits),
        "attributes": np.concatenate(attributes),
    }


@cache
def _source_vectors(text_encoder: Path | None, synonyms: bool, glosses: bool) -> np.ndarray:
    """ImageNet's classes as unit vectors [1000, E]: all words, the first counting twice, and the
    definition."""
    encoder, known = SentenceEncoder(text_encoder), imagenet_senses()
    words = [sense.words if synonyms else sense.words[:1] for sense in known]
    flat = encoder.encode([word for each in words for word in each])
    bounds = np.cumsum([0] + [len(each) for each in words])
    total = np.stack([flat[a:b].mean(axis=0) + flat[a] for a, b in pairwise(bounds)])
    if glosses:
        total += encoder.encode([f"{sense.words[0]}: {sense.definition}" for sense in known])
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def _class_vector(
    encoder: SentenceEncoder, manifest: Manifest, name: str, synonyms: bool, glosses: bool
) -> np.ndarray:
    """A class as a unit vector [E]: its name and synonyms, and what WordNet says it is."""
    others = manifest.task.synonyms.get(name, ()) if synonyms else ()
    words = [spoken(word) for word in (name, *others)]
    vectors = encoder.encode(words)
    total = (vectors.mean(axis=0) + vectors[0]) / 2
    defined = [f"{words[0]}: {sense.definition}" for sense in senses(name)] if glosses else []
    if defined:
        total = total + encoder.encode(defined).mean(axis=0)
    return total / np.linalg.norm(total)
