"""Which of many captions is that of an image, and which image that of a caption.

Three parts are added up for every image and caption:

- names: what ImageNet's classes say of the image, carried to the caption through sentence
  embeddings (ConSE, arXiv:1312.5650), less what the caption gets of any image at all (hubs);
- neighbours: how near the caption is to those of known images that look alike;
- folders: how near it is to the captions of the folders that the image seems to belong to.

Known images are others than those asked for, with a caption and a folder each. A caption of the
gallery that a known image has as well is held against the others only: it would otherwise be told
from captions that no known image has.

N images asked for, M known images, G captions of the gallery, E embedding size, D features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from captioning.glossary import senses
from edgekd.metrics import softmax, unit

Embed = Callable[[list[str]], np.ndarray]
"""Texts to unit vectors [N, E], as `SentenceEncoder.encode`."""

_MOST_WORDS = 4  # of a name in WordNet
_HUB_TEMPERATURE = 0.1
_FLOOR = 0.02  # of a ratio, so that no known image rules a caption out
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class Settings:
    """How much each part counts; 0 leaves it out.

    `hubs` is how much of a caption's mean match to any name is taken off; `look` and `text` are
    temperatures of the cosines between images and between captions.
    """

    hubs: float = 1.0
    neighbours: float = 0.2
    folders: float = 0.3
    look: float = 0.05
    text: float = 0.07


@dataclass(frozen=True)
class Images:
    """What was seen in some images: features [N, D] and ImageNet logits [N, 1000]."""

    features_ND: np.ndarray
    imagenet_N1000: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Images:
        return Images(self.features_ND[rows], self.imagenet_N1000[rows])


@dataclass(frozen=True)
class Gallery:
    """Captions to find: unit vectors (`caption_vectors`) and how near each is to any name at all."""

    vectors_GE: np.ndarray
    hubs_G: np.ndarray


@dataclass(frozen=True)
class Known:
    """Images whose captions are known. `captions_M` are rows of the gallery."""

    images: Images
    captions_M: np.ndarray
    folders_M: Sequence[str]


def gallery(vectors_GE: np.ndarray, source_1000E: np.ndarray) -> Gallery:
    """Returns the gallery of captions; `source_1000E` are unit vectors of ImageNet's classes.

    The hub of a caption is the log of its mean share of these names (after arXiv:1412.6568).
    """
    shares_1000G = softmax(source_1000E @ vectors_GE.T, _HUB_TEMPERATURE)
    return Gallery(vectors_GE, _HUB_TEMPERATURE * np.log(shares_1000G.mean(axis=0)))


def scores(
    images: Images,
    captions: Gallery,
    source_1000E: np.ndarray,
    known: Known | None = None,
    settings: Settings = Settings(),
) -> np.ndarray:
    """Returns how well each caption fits each image, [N, G]; comparable along both.

    Without `known` there is the first part alone.
    """
    gallery_GE = captions.vectors_GE
    total_NG = _names(images, captions, source_1000E, settings.hubs)
    if known is None or len(known.captions_M) == 0:
        return total_NG
    mean_D = known.images.features_ND.mean(axis=0)
    alike_NM = unit(images.features_ND - mean_D) @ unit(known.images.features_ND - mean_D).T
    weights_NM = softmax(alike_NM, settings.look)
    near_GM = gallery_GE @ gallery_GE[known.captions_M].T
    near_GM[known.captions_M[None, :] == np.arange(len(gallery_GE))[:, None]] = -np.inf
    if settings.neighbours:
        told_NG = weights_NM @ _ratio(_exponential(near_GM, settings.text)).T
        total_NG = total_NG + settings.neighbours * np.log(told_NG + _FLOOR)
    if settings.folders:
        total_NG = total_NG + settings.folders * sum(
            np.log((weights_NM @ of_MF) @ _ratio(_shares(near_GM, of_MF, settings.text)).T + _FLOOR)
            for of_MF in _levels(known.folders_M)
        )
    return total_NG


def caption_vectors(texts: Sequence[str], embed: Embed, definitions: float = 0.7) -> np.ndarray:
    """Returns captions as unit vectors [G, E].

    `definitions` is how much the mean of what WordNet says of the things a caption names counts
    beside the caption itself; a caption that names none goes by its words alone.
    """
    vectors = np.array(embed(list(texts)))
    if not definitions:
        return vectors
    told = [glosses(text) for text in texts]
    flat = [gloss for each in told for gloss in each]
    if flat:
        embedded = embed(flat)
        ends = np.cumsum([0, *map(len, told)])
        for row, (start, end) in enumerate(pairwise(ends)):
            if end > start:
                vectors[row] += definitions * embedded[start:end].mean(axis=0)
    return unit(vectors)


def glosses(text: str) -> list[str]:
    """Returns "name: definition" of every thing that a caption names, as WordNet has it.

    Of overlapping names the longest that begins first counts, with all its meanings.
    """
    said = _WORD.findall(text.casefold())
    found: list[str] = []
    start = 0
    while start < len(said):
        for length in range(min(_MOST_WORDS, len(said) - start), 0, -1):
            name = " ".join(said[start : start + length])
            meanings = senses(name) if len(name) > 2 else []
            if meanings:
                found += [f"{name}: {sense.definition}" for sense in meanings]
                start += length
                break
        else:
            start += 1
    return found


def ranks(scores_QA: np.ndarray, right_QA: np.ndarray) -> np.ndarray:
    """Returns the rank of each query's best right answer, from 1 [Q]; a tie counts against it.

    `right_QA` says which answers are right; every query needs one.
    """
    best_Q = np.where(right_QA, scores_QA, -np.inf).max(axis=1)
    wrong_QA = ~right_QA & (scores_QA >= best_Q[:, None])
    return np.asarray(1 + wrong_QA.sum(axis=1))


def choose(
    start: Settings,
    options: Mapping[str, Iterable[Any]],
    worth: Callable[[Settings], float],
    rounds: int = 2,
) -> Settings:
    """Returns the settings of the highest worth, looking along one of `options` at a time.

    Of equals the one found first stays, and the given ones come first.
    """
    best, highest = start, worth(start)
    for _ in range(rounds):
        for name, values in options.items():
            for value in values:
                tried = replace(best, **{name: value})
                if tried != best and (found := worth(tried)) > highest:
                    best, highest = tried, found
    return best


def _names(images: Images, captions: Gallery, source_1000E: np.ndarray, hubs: float) -> np.ndarray:
    """ConSE's cosines less the hubs, an image's in units of their own spread [N, G]."""
    vectors_NE = unit(softmax(images.imagenet_N1000) @ source_1000E)
    fit_NG = vectors_NE @ captions.vectors_GE.T - hubs * captions.hubs_G
    centred_NG = fit_NG - fit_NG.mean(axis=1, keepdims=True)
    return np.asarray(centred_NG / np.maximum(fit_NG.std(axis=1, keepdims=True), 1e-9))


def _levels(folders_M: Sequence[str]) -> list[np.ndarray]:
    """Which folder each known image is in [M, F]: the second level of the path, and the last."""
    levels = ["/".join(folder.split("/")[:2]) for folder in folders_M], list(folders_M)
    found = []
    for names in levels:
        order = {name: row for row, name in enumerate(sorted(set(names)))}
        found.append(np.eye(len(order))[[order[name] for name in names]])
    return found


def _shares(near_GM: np.ndarray, of_MF: np.ndarray, temperature: float) -> np.ndarray:
    """How much of a caption each folder has, by its captions [G, F]; rows add up to 1."""
    shares_GF = _exponential(near_GM, temperature) @ of_MF
    return np.asarray(shares_GF / np.maximum(shares_GF.sum(axis=1, keepdims=True), 1e-12))


def _ratio(values_GX: np.ndarray) -> np.ndarray:
    """Each column in units of its mean over the gallery: what many captions share tells nothing."""
    return np.asarray(values_GX / np.maximum(values_GX.mean(axis=0), 1e-12))


def _exponential(near_GM: np.ndarray, temperature: float) -> np.ndarray:
    return np.exp((near_GM - 1) / temperature)
