"""A small model that votes on captions: what an image's neighbours are, by the teacher's scores.

A caption is sampled from, or written about, one image; the images nearest to it by features know
nothing of that draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from captioning.matching import Lexicon
from captioning.soft_targets import spread_over_neighbours
from edgekd.mapped import Zeros
from edgekd.records import Caption

NUM_NEIGHBOURS = 10


def by_neighbours(
    scores_NK: np.ndarray,
    features_ND: np.ndarray,
    bank: np.ndarray,
    row_of: Mapping[str, int],
    lexicon: Lexicon,
    zeros: Zeros = np.zeros,
) -> Callable[[list[Caption]], list[float]]:
    """Returns the voter: the named class's probability over that of the likeliest class, 0 to 1.

    Probabilities are the teacher's, averaged over the nearest images of the bank (rows of training
    images) and the image itself. A caption that names no class, or of an unknown image, gets 1.
    """
    probs_NK = spread_over_neighbours(scores_NK, features_ND, bank, NUM_NEIGHBOURS, zeros=zeros)

    def vote(captions: list[Caption]) -> list[float]:
        return [_score(caption) for caption in captions]

    def _score(caption: Caption) -> float:
        classes, row = lexicon.parse(caption.readable).classes, row_of.get(caption.item_id)
        if not classes or row is None:
            return 1.0
        return float(probs_NK[row, classes[0]] / probs_NK[row].max())

    return vote
