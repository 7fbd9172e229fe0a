"""Views: replayed to the same pixels, at another size to the same picture, in turn while training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import targets_file, views_file
from edgekd.records import Preprocess
from edgekd.targets_file import Probs
from edgekd.views_file import Layout, ViewTargets
from students.data import Augment, AugmentConfig, TrainingData, batches, rows_of_step, transforms
from students.views import StoredViews, Views, draw_all

NONE = AugmentConfig(flip=0, shift=0, scale=0, rotate=0, brightness=0, cutout=0)
EVERYTHING = AugmentConfig(flip=0.5, shift=0.2, scale=0.2, rotate=30, brightness=0.3, cutout=0.8)
ALL_AT_ONCE = EVERYTHING.model_copy(update={"flip": 1.0, "cutout": 1.0})


def picture(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("config", [EVERYTHING, ALL_AT_ONCE, NONE, AugmentConfig()])
def test_a_replay_from_json_gives_the_same_bytes_as_albumentations(config: AugmentConfig) -> None:
    import albumentations as A

    compose = A.ReplayCompose(transforms(config))
    views, again, kinds = Views(config, 32), Views(config, 32), set()
    for seed in range(40):
        image = picture(32, seed)
        compose.set_random_seed(seed)
        expected = compose(image=image)
        replay = json.loads(json.dumps(views.draw(seed)))
        kinds |= {name for name, _ in replay}
        found = again.replay(image, replay)
        assert found.tobytes() == expected["image"].tobytes()
        by_them = A.ReplayCompose.replay(expected["replay"], image=image)["image"]
        assert found.tobytes() == by_them.tobytes()
    assert len(kinds) == len(transforms(config))


def test_the_same_seed_draws_what_training_draws() -> None:
    """So stored views are of the student's own augmentation, not of one like it."""
    image, views = picture(16), Views(EVERYTHING, 16)
    for seed in range(10):
        drawn_live = Augment(EVERYTHING)(image[None], seed)[0]
        assert views.replay(image, views.draw(seed)).tobytes() == drawn_live.tobytes()


def test_a_larger_picture_gets_the_same_view() -> None:
    """A smooth picture, changed small and then enlarged, is the enlarged one, changed."""
    config = AugmentConfig(flip=0.5, shift=0.1, scale=0.1, rotate=20, brightness=0.2, cutout=0)
    views = Views(config, 32)

    def smooth(side: int) -> np.ndarray:
        at = (np.arange(side) + 0.5) / side
        red = 128 + 60 * np.sin(2 * np.pi * at)[None, :] * np.cos(np.pi * at)[:, None]
        both = np.stack([red, red.T, np.full_like(red, 90)], axis=-1)
        return both.astype(np.uint8)

    for seed in range(20):
        replay = views.draw(seed)
        small = views.replay(smooth(32), replay).astype(float)
        large = views.replay(smooth(128), replay).astype(float)
        shrunk = large.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        inner = np.s_[6:-6, 6:-6]  # the edge of the picture lies elsewhere by part of a pixel
        assert np.abs(small - shrunk)[inner].mean() < 3, (seed, replay)


def test_an_erased_rectangle_covers_the_same_share_in_the_same_colour() -> None:
    views = Views(NONE.model_copy(update={"cutout": 1.0}), 20)
    replay = views.draw(3)
    ((name, drawn),) = replay
    (left, top, right, bottom), = drawn["holes"]  # fmt: skip
    assert name == "CoarseDropout"
    small = views.replay(np.zeros((20, 20, 3), np.uint8), replay)
    large = views.replay(np.zeros((60, 40, 3), np.uint8), replay)
    hole = large[3 * top : 3 * bottom, 2 * left : 2 * right]
    assert (hole == small[top, left]).all()
    assert (large > 0).any(axis=2).sum() == 6 * (bottom - top) * (right - left)


def test_a_view_depends_on_its_image_and_number_not_on_the_others() -> None:
    few, many = Layout(["b"], 2, 1), Layout(["a", "b"], 3, 2)
    of_few = draw_all(few, [EVERYTHING], 16, 5)
    of_many = draw_all(many, [EVERYTHING, NONE], 16, 5)
    assert [of_many[many.rows(0, 1, view)] for view in (0, 1)] == of_few
    assert of_many[many.rows(0, 1, 2)] not in of_few
    assert [of_many[row] for row in range(6, 12)] == [[]] * 6
    assert draw_all(few, [EVERYTHING], 16, 6) != of_few


def test_rows_by_hand() -> None:
    layout = Layout(["a", "b"], 3, 2)
    assert len(layout) == 12
    assert list(layout)[layout.rows(1, 1, 2)] == (1, 1, 2)
    assert layout.rows(1, 0, 1) == 7
    assert layout.rows(1, np.array([0, 1]), np.array([2, 0])).tolist() == [8, 9]


class Folder:
    """targets/ of two images with two views each: one candidate, two classes."""

    ids = ("a" * 64, "b" * 64)
    # Of image a views that say .6 and .9 of the first class, of b .2 and .5.
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32)

    def __init__(self, path: Path, share: float, probs: Any, top_k: int | None = None):
        self.path = path
        plain = np.array([[0.8, 0.2], [0.3, 0.7]], np.float32)
        arrays = {
            "probs": np.array(probs, np.float32),
            "scores_only": plain,
            "weight": np.ones(2),
            "caption_share": np.array(share),
            "teacher_weights": np.array([1.0]),
            "weights_lent": np.array(True),
        }
        targets_file.save(path / "targets.npz", list(self.ids), arrays, top_k)
        self.layout = Layout(self.ids, 2, 1)
        replays = draw_all(self.layout, [ALL_AT_ONCE], 8, 0)
        views_file.save_replays(path / views_file.REPLAYS, self.layout, replays)
        self.replays = replays
        self.save(self.scores)

    def save(self, *scores: np.ndarray, top_k: int | None = None) -> None:
        by_teacher = dict(enumerate(scores, start=1))
        views_file.save_scores(self.path / views_file.SCORES, self.layout, by_teacher, top_k)

    def targets(self) -> np.ndarray:
        every = ViewTargets(self.path)
        return every.of(0, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))


def test_scores_alone_make_the_views_targets(tmp_path: Path) -> None:
    folder = Folder(tmp_path, share=0.0, probs=[[0.8, 0.2], [0.3, 0.7]])
    assert folder.targets() == pytest.approx(folder.scores, abs=1e-6)


def test_captions_keep_their_share_by_hand(tmp_path: Path) -> None:
    # Captions say (.4, .6) and (.5, .5): 0.25 * .4 + 0.75 * .8 = .7 and 0.125 + 0.225 = .35.
    folder = Folder(tmp_path, share=0.25, probs=[[0.7, 0.3], [0.35, 0.65]])
    # 0.1 + 0.75 * (.6, .9) and 0.125 + 0.75 * (.2, .5).
    assert folder.targets()[:, 0] == pytest.approx([0.55, 0.775, 0.275, 0.5], abs=1e-6)


def test_what_was_done_to_the_mixture_is_kept_and_nothing_falls_below_zero(tmp_path: Path) -> None:
    # Neighbours made it .1 of the first class; a view that is .2 surer of the second takes it to 0.
    folder = Folder(tmp_path, share=0.0, probs=[[0.1, 0.9], [0.3, 0.7]])
    # 0.1 + .6 - .8 < 0; 0.1 + .9 - .8 = .2; and of the other image what its views say.
    found = folder.targets()
    assert found[:, 0] == pytest.approx([0.0, 0.2, 0.2, 0.5], abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-6)


def test_several_teachers_are_pooled_and_one_may_abstain(tmp_path: Path) -> None:
    folder = Folder(tmp_path, share=0.0, probs=[[0.8, 0.2], [0.3, 0.7]])
    with np.load(tmp_path / "targets.npz") as stored:
        arrays = dict(stored) | {"teacher_weights": np.array([0.5, 0.5])}
    np.savez(tmp_path / "targets.npz", **arrays)
    other = np.array([[0.6, 0.4], [0.1, 0.9], [np.nan, np.nan], [0.5, 0.5]], np.float32)
    folder.save(folder.scores, other)
    # .9 and .1 cancel; where the other abstains the first speaks alone.
    assert folder.targets()[:, 0] == pytest.approx([0.6, 0.5, 0.2, 0.5], abs=1e-6)


def test_largest_classes_alone_are_enough_for_two(tmp_path: Path) -> None:
    folder = Folder(tmp_path, share=0.0, probs=[[0.8, 0.2], [0.3, 0.7]], top_k=1)
    folder.save(folder.scores, top_k=1)
    assert folder.targets() == pytest.approx(folder.scores, abs=1e-6)


def test_training_takes_the_views_in_turn_with_their_targets(tmp_path: Path) -> None:
    folder = Folder(tmp_path, share=0.0, probs=[[0.8, 0.2], [0.3, 0.7]])
    pixels = np.stack([picture(8, 1), picture(8, 2), picture(8, 3)])
    probs = Probs(np.full((2, 2), 0.5, np.float32), None, 2)
    # Of three pictures the first two are the layout's; only the second is trained on, then both.
    data = TrainingData(pixels, probs, np.ones(2, np.float32), np.array([0, 1]))
    stored = StoredViews(tmp_path, ALL_AT_ONCE, 0, 8)
    views = Views(ALL_AT_ONCE, 8)
    steps = list(batches(data, Preprocess(8, 8), stored, 2, 0, 0, 4))
    for step, (images, targets, _, _) in enumerate(steps):
        rows = rows_of_step(2, 2, 0, step)
        for place, row in enumerate(rows):
            at = folder.layout.rows(0, int(row), (step + int(row)) % 2)
            expected = views.replay(pixels[row], folder.replays[at])
            assert images[place] == pytest.approx(expected / 127.5 - 1, abs=1e-6)
            assert targets[place] == pytest.approx(folder.scores[at], abs=1e-6)
    alone = data.only(np.array([1]))
    ((_, targets, _, _),) = batches(alone, Preprocess(8, 8), stored, 1, 0, 0, 1)
    assert targets[0] == pytest.approx(folder.scores[folder.layout.rows(0, 1, 1)], abs=1e-6)
