"""What the composed teacher knows by names, and the sentences it samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from captioning.glossary import imagenet_senses, senses
from captioning.prompts import sample_said
from captioning.sentences import SentenceEncoder
from captioning.teachers.composed import MOST_TO_FIT, NamesHead, fit_names
from captioning.teachers.protocol import Brief, caption_seed
from edgekd.manifest import Manifest
from edgekd.mapped import blocks
from edgekd.metrics import softmax, unit
from edgekd.names import spoken
from edgekd.records import Caption
from edgekd.weights import WeightsFile


def names_head(
    manifest: Manifest,
    imagenet_N1000: np.ndarray,
    text_encoder: Path | None,
    temperature: float,
    balance: bool,
    synonyms: bool,
    glosses: bool,
    descriptions: Mapping[str, tuple[str, ...]],
) -> tuple[NamesHead, WeightsFile]:
    """Returns the names head, balanced on the training images, and the encoder's weights."""
    encoder = SentenceEncoder(text_encoder)
    source = source_vectors(text_encoder, synonyms, glosses)
    target = np.stack(
        [
            _class_vector(encoder, manifest, name, synonyms, glosses, descriptions.get(name, ()))
            for name in manifest.task.classes
        ]
    )
    imagenet = imagenet_N1000[manifest.rows("train", MOST_TO_FIT)].astype(np.float32)
    head = fit_names(source, target, imagenet, temperature, balance)
    return head, encoder.weights


def sentences(
    manifest: Manifest,
    logits_NK: np.ndarray,
    attributes_NA: np.ndarray,
    brief: Brief,
    teacher: str,
    language: str = "en",
) -> Iterator[Caption]:
    """Yields every item's captions; each depends on the seed, the item and its index only.

    `teacher` is the name they carry.

    Raises:
        UsageError: there are no sentences in that language.
    """
    probs_NK = (probs for some in blocks(len(logits_NK)) for probs in softmax(logits_NK[some]))
    for item, probs, measured in zip(manifest.items, probs_NK, attributes_NA, strict=True):
        for index in range(brief.captions_per_image):
            temperature = brief.temperature(index)
            seed = caption_seed(brief.seed, item.id, index)
            rng = np.random.default_rng(seed)
            said = sample_said(
                *(probs, measured, manifest.task.classes, temperature, rng, language),
                second_guess=not manifest.task.multilabel,  # there a name is a claim
            )
            yield Caption(
                *(item.id, index, said.text, said.template, temperature, seed, teacher),
                said.confidence,
                translation=said.readable if said.readable != said.text else None,
            )


@cache
def source_vectors(text_encoder: Path | None, synonyms: bool, glosses: bool) -> np.ndarray:
    """Returns ImageNet's classes as unit vectors [1000, E]: all words, the first counting twice, and
    the definition."""
    encoder, known = SentenceEncoder(text_encoder), imagenet_senses()
    words = [sense.words if synonyms else sense.words[:1] for sense in known]
    flat = encoder.encode([word for each in words for word in each])
    bounds = np.cumsum([0] + [len(each) for each in words])
    total = np.stack([flat[a:b].mean(axis=0) + flat[a] for a, b in pairwise(bounds)])
    if glosses:
        total += encoder.encode([f"{sense.words[0]}: {sense.definition}" for sense in known])
    return unit(total)


def _class_vector(
    encoder: SentenceEncoder,
    manifest: Manifest,
    name: str,
    synonyms: bool,
    glosses: bool,
    described: tuple[str, ...],
) -> np.ndarray:
    """A class as a unit vector [E]: name and synonyms, what WordNet says it is, how it looks."""
    others = manifest.task.synonyms.get(name, ()) if synonyms else ()
    words = [spoken(word) for word in (name, *others)]
    vectors = encoder.encode(words)
    total = (vectors.mean(axis=0) + vectors[0]) / 2
    defined = [f"{words[0]}: {sense.definition}" for sense in senses(name)] if glosses else []
    if defined:
        total = total + encoder.encode(defined).mean(axis=0)
    if described:
        looks = encoder.encode([f"{words[0]}, {text}" for text in described])
        total = total + looks.mean(axis=0)
    return unit(total)
