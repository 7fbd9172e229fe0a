"""From captions to class probabilities: by hand, and on a few hundred made-up items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captioning import captions as captions_io
from captioning import soft_targets as st
from captioning import stage
from captioning.attributes import WORDS
from captioning.matching import Lexicon
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec
from edgekd.store import RunStore

TASK = TaskSpec("test", ("cat", "dog", "bird", "fish"))
LEXICON = Lexicon(TASK)
NUM_CLASSES = 4
NO_EVIDENCE = np.zeros((len(WORDS), NUM_CLASSES))


def caption(item: str, text: str, temperature: float = 1.0, dropped: str | None = None) -> Caption:
    return Caption(item, 0, text, "plain", temperature, 0, "test", 0.9, dropped)


def read(*captions: Caption, ids: str = "abc") -> list[st.Statement]:
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    return list(st.read_statements(captions, row_of, LEXICON, lambda text: None))


def of_test(by_temperature: dict[float, float]) -> dict[st.Source, float]:
    return {("test", temperature): value for temperature, value in by_temperature.items()}


def trusting(trust: float, **values: object) -> st.CaptionModel:
    model = st.CaptionModel({("test", 1.0): trust}, NO_EVIDENCE, 0.0)
    return dataclasses.replace(model, **values)


def test_one_caption_is_its_class_as_far_as_it_is_trusted() -> None:
    found = st.caption_targets(read(caption("a", "A cat.")), trusting(0.6), 3, NUM_CLASSES)
    probs, counts = found.probs_NK, found.counts_N
    # .6 on the cat, and .4 shared by all four.
    assert probs[0] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert probs[1:] == pytest.approx(0.25)
    assert counts.tolist() == [1, 0, 0]


def test_a_second_name_gets_what_the_first_leaves() -> None:
    statements = read(caption("a", "A cat, perhaps a dog or a bird."))
    probs = st.caption_targets(statements, trusting(1.0), 1, NUM_CLASSES).probs_NK
    assert probs[0] == pytest.approx([0.7, 0.15, 0.15, 0])


def test_three_captions_are_averaged_each_at_its_temperature() -> None:
    statements = read(
        caption("a", "A cat.", 0.5), caption("a", "A cat.", 1.0), caption("a", "A dog.", 2.0)
    )
    model = trusting(0, reliability=of_test({0.5: 1.0, 1.0: 0.6, 2.0: 0.2}))
    found = st.caption_targets(statements, model, 1, NUM_CLASSES)
    probs, counts = found.probs_NK, found.counts_N
    # cat 1, dog 0 | cat .7, dog .1 | cat .2, dog .4; the other two 0, .1, .2 each.
    assert probs[0] == pytest.approx([1.9 / 3, 0.5 / 3, 0.1, 0.1])
    assert counts.tolist() == [3]


def test_attribute_words_shift_a_caption_by_their_evidence() -> None:
    red = next(index for index, (_, word) in enumerate(WORDS) if word == "red")
    evidence = NO_EVIDENCE.copy()
    evidence[red] = np.log([4, 1, 1, 1])  # red is four times as likely of a cat
    statements = read(caption("a", "A red dog."))
    model = trusting(0.0, log_word_AK=evidence, attribute_weight=0.5)
    probs = st.caption_targets(statements, model, 1, NUM_CLASSES).probs_NK
    # Uniform times (2, 1, 1, 1), the square root of 4.
    assert probs[0] == pytest.approx([0.4, 0.2, 0.2, 0.2])
    ignored = st.caption_targets(
        statements, trusting(0.0, log_word_AK=evidence), 1, NUM_CLASSES
    ).probs_NK
    assert ignored[0] == pytest.approx(0.25)


def test_dropped_captions_and_strangers_say_nothing() -> None:
    statements = read(
        caption("a", "A cat.", dropped="low confidence"), caption("zzz", "A dog."),
        caption("b", "A bird."),
    )  # fmt: skip
    assert [s.row for s in statements] == [1]


def test_a_sentence_that_names_no_class_is_taken_by_its_meaning() -> None:
    asked: list[str] = []

    def by_meaning(text: str) -> np.ndarray:
        asked.append(text)
        return np.array([0.1, 0.2, 0.3, 0.4])

    captions = [caption("a", "A kitten."), caption("a", "A cat.")]
    first, second = st.read_statements(captions, {"a": 0}, LEXICON, by_meaning)
    assert asked == ["A kitten."]
    assert first.names_K is not None
    assert first.names_K.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert second.names_K is not None
    assert second.names_K.tolist() == [1, 0, 0, 0]


def test_trust_from_agreement_by_hand() -> None:
    statements = read(
        caption("a", "A cat.", 0.5), caption("a", "A cat.", 0.5), caption("a", "A dog.", 2.0),
        caption("b", "A fish.", 2.0),
    )  # fmt: skip
    model = st.fit(statements, {}, {}, NUM_CLASSES)
    # At .5: each cat agrees with one of the two others, so (.5 + .5 + 1) / (2 + 2).
    # At 2: the dog agrees with none, the fish has none beside it, so (0 + 1) / (1 + 2).
    assert model.reliability == pytest.approx(of_test({0.5: 0.5, 2.0: 1 / 3}))
    assert model.attribute_weight == 0


def test_trust_from_tune_labels_by_hand() -> None:
    """Where there are at least 20 of them; smoothed by one right and one wrong."""
    ids = [f"i{n}" for n in range(20)]
    texts = ["A cat."] * 15 + ["A dog."] * 5
    captions = [caption(i, text, 0.5) for i, text in zip(ids, texts, strict=True)]
    captions += [caption("i0", "A dog, perhaps a cat.", 2.0)]
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    statements = list(st.read_statements(captions, row_of, LEXICON, lambda text: None))
    tune = dict.fromkeys(range(20), 0)
    assert st.fit(statements, {}, tune, NUM_CLASSES).reliability == pytest.approx(
        of_test({0.5: 16 / 22, 2.0: 1.3 / 3})
    )
    fewer = dict.fromkeys(range(19), 0)
    assert st.fit(statements, {}, fewer, NUM_CLASSES).reliability != pytest.approx(
        of_test({0.5: 15 / 21, 2.0: 1.3 / 3})
    )


def test_a_mixture_takes_the_share_that_tune_likes() -> None:
    right, wrong = np.eye(4)[[0] * 20], np.eye(4)[[1] * 20]
    tune = dict.fromkeys(range(20), 0)
    assert st.caption_share(right, wrong, tune, 0.3) == 0.9
    # Never without captions: an edited caption must move its target.
    assert st.caption_share(wrong, right, tune, 0.3) == 0.1
    assert st.caption_share(right, wrong, {0: 0}, 0.3) == 0.3


def test_spreading_over_neighbours_by_hand() -> None:
    probs = np.array([[1.0, 0], [0, 1], [0, 1]])
    features = np.array([[1.0, 0], [2, 0.1], [0, 5]])  # the first two point the same way
    everyone = np.arange(3)
    spread = st.spread_over_neighbours(probs, features, everyone, 1, block=2)
    assert spread[:2].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert (st.spread_over_neighbours(probs, features, everyone, 0) == probs).all()
    assert (
        st.spread_over_neighbours(probs, features, everyone, 3) == probs
    ).all()  # too few images


def test_held_out_images_are_nobodys_neighbours() -> None:
    probs = np.array([[1.0, 0], [0, 1], [0.5, 0.5]])
    features = np.array([[1.0, 0], [1, 0.01], [0.2, 1]])  # the held-out second is the nearest
    train = np.array([0, 2])
    spread = st.spread_over_neighbours(probs, features, train, 1)
    assert spread[0].tolist() == [0.75, 0.25]  # with the third, not with the second
    assert spread[1].tolist() == [0.5, 0.5]  # a held-out image still looks at training images


def test_attribute_targets_by_hand() -> None:
    statements = read(
        caption("a", "A red cat."), caption("a", "A red dog."), caption("a", "A blue, tall cat.")
    )
    targets = st.caption_targets(statements, trusting(1.0), 2, NUM_CLASSES).attributes_NA
    said = {WORDS[i][1]: targets[0, i] for i in np.flatnonzero(targets[0])}
    assert said == pytest.approx({"red": 2 / 3, "blue": 1 / 3, "tall": 1.0})
    assert not targets[1].any()


# On a run folder: 400 items of 4 classes, three captions each, right 80% of the time.


def test_each_teacher_is_trusted_for_itself() -> None:
    good, bad = caption("a", "A cat."), dataclasses.replace(caption("a", "A dog."), teacher="bad")
    statements = read(good, bad)
    model = st.CaptionModel({("test", 1.0): 1.0, ("bad", 1.0): 0.0}, NO_EVIDENCE, 0.0)
    probs = st.caption_targets(statements, model, 1, NUM_CLASSES).probs_NK
    assert probs[0] == pytest.approx([0.625, 0.125, 0.125, 0.125])  # a cat, and uniform


def test_scores_of_several_teachers_without_labels_are_averaged() -> None:
    one, other = np.log([[0.8, 0.2]]), np.log([[0.2, 0.8]])
    probs, weights = st.pooled_scores([one, other], {})
    assert weights == [0.5, 0.5]
    assert probs[0] == pytest.approx([0.5, 0.5])
    alone, weights = st.pooled_scores([one], {})
    assert weights == [1.0]
    assert alone[0] == pytest.approx([0.8, 0.2])


def test_who_abstains_leaves_the_word_to_the_others() -> None:
    one, silent = np.log([[0.8, 0.2], [0.5, 0.5]]), np.full((2, 2), np.nan)
    probs, _ = st.pooled_scores([one, silent], {})
    assert probs == pytest.approx(np.array([[0.8, 0.2], [0.5, 0.5]]))
    assert st.pooled_scores([silent], {})[0] == pytest.approx(0.5)


def test_on_tune_a_teacher_that_guesses_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    knows = 2.0 * np.eye(3)[labels] + rng.normal(0, 1, (400, 3))  # p(label) as 2:1 in nats
    guesses = rng.normal(0, 3, (400, 3))
    tune = dict(enumerate(labels.tolist()))
    _, (good, bad) = st.pooled_scores([knows, guesses], tune)
    assert good == pytest.approx(2.0, abs=0.4)  # of gaussians 2 apart: the slope is 2
    assert bad < 0.1
    _, (alone,) = st.pooled_scores([knows], tune)
    assert alone == 1
    _, (fitted,) = st.pooled_scores([knows], tune, calibrate=True)
    assert fitted == pytest.approx(good, abs=0.1)


def test_the_best_temperatures_are_chosen_on_tune() -> None:
    """Of those that are always right, half right by chance, and silent: only the first is heard."""
    captions, tune = [], {}
    for n in range(40):
        label = n % 2
        tune[n] = label
        names = ("cat", "dog")
        captions += [
            Caption(f"i{n}", 0, f"A {names[label]}.", "p", 0.5, 0, "test", 0.9),
            Caption(f"i{n}", 1, f"A {names[n // 2 % 2]}.", "p", 2.0, 0, "test", 0.9),
        ]
    row_of = {f"i{n}": n for n in range(40)}
    statements = list(st.read_statements(captions, row_of, LEXICON, lambda text: None))
    assert st.fit(statements, {}, tune, NUM_CLASSES).heard is None
    model = st.fit(statements, {}, tune, NUM_CLASSES, choose=True)
    assert model.heard == {("test", 0.5)}
    heard = st.caption_targets(statements, model, 40, NUM_CLASSES)
    assert heard.counts_N.tolist() == [1] * 40
    few = {row: label for row, label in tune.items() if row < 19}
    assert st.fit(statements, {}, few, NUM_CLASSES, choose=True).heard is None


NUM_ITEMS = 400
NUM_TUNE = 40


@dataclasses.dataclass
class World:
    """A made-up run, with the truth of every item."""

    store: RunStore
    manifest: Manifest
    labels: np.ndarray
    captions: list[Caption]

    def targets(self, edit: Callable[[Caption], Caption] = lambda c: c, **config: object) -> dict:
        captions_io.save(map(edit, self.captions), self.store.path("captions.parquet"))
        settings = stage.TargetsConfig(**config)  # type: ignore[arg-type]
        (path, *_), record = stage.soft_targets(self.manifest, settings, self.store, ["test"])
        assert record.num_items == NUM_ITEMS
        return dict(np.load(path)) | {"provenance": record.provenance}

    def accuracy(self, probs: np.ndarray) -> float:
        unseen = np.array([item.split == "test" for item in self.manifest.items])
        return float((probs.argmax(axis=1) == self.labels)[unseen].mean())


@pytest.fixture
def world(tmp_path: Path) -> World:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, NUM_ITEMS)
    items, captions = [], []
    for row, label in enumerate(labels.tolist()):
        split = "tune" if row < NUM_TUNE else "train" if row < 200 else "test"
        seen = label if split != "train" else None
        items.append(Item(f"id{row}", f"{row}.png", split, seen))  # type: ignore[arg-type]
        for index in range(3):
            said = label if rng.random() < 0.8 else rng.choice([k for k in range(4) if k != label])
            text = f"A photo of a {TASK.classes[said]}, number {index}."
            temperature = (0.5, 1.0, 1.5)[index]
            captions.append(Caption(f"id{row}", index, text, "p", temperature, 0, "test", 0.9))
    store = RunStore(tmp_path)
    store.path("captions").mkdir()
    np.savez(
        store.path("captions", "observations.npz"),
        ids=[item.id for item in items],
        logits=rng.normal(size=(NUM_ITEMS, NUM_CLASSES)),
        features=rng.normal(size=(NUM_ITEMS, 8)).astype(np.float16),
    )
    return World(store, Manifest(TASK, items), labels, captions)


def test_captions_alone_tell_the_classes(world: World) -> None:
    # Two or three of three right with p = .8: .896; a three-way tie is won by chance.
    found = world.targets(evidence="captions")
    assert world.accuracy(found["captions_only"]) > 0.85
    assert (found["probs"] == found["captions_only"]).all()
    assert found["provenance"]["caption_share"] == 1


def test_captions_of_other_images_tell_nothing(world: World) -> None:
    order = np.random.default_rng(1).permutation(NUM_ITEMS)
    swapped = world.targets(
        lambda c: dataclasses.replace(c, item_id=f"id{order[int(c.item_id[2:])]}"),
        evidence="captions",
    )
    # Chance is .25; three standard errors with 200 items are .09.
    assert world.accuracy(swapped["captions_only"]) == pytest.approx(0.25, abs=0.09)


def test_with_scores_withheld_captions_alone_are_read(world: World) -> None:
    path = world.store.path("captions", "observations.npz")
    observations = dict(np.load(path))
    before = world.targets(evidence="captions")
    assert "scores_only" not in before
    path.unlink()
    after = world.targets(evidence="captions")
    assert (before["probs"] == after["probs"]).all()
    np.savez(path, **observations)
    both = world.targets(evidence="both")
    assert (both["probs"] != before["probs"]).any()


def test_scores_alone_leave_the_captions_aside(world: World) -> None:
    found = world.targets(evidence="scores")
    assert found["probs"] == pytest.approx(found["scores_only"])
    assert (found["weight"] == 1).all()


def test_an_edited_caption_changes_its_own_image_and_no_other(world: World) -> None:
    edited_row = 150  # of the training images: nothing is fitted on it
    assert world.manifest.items[edited_row].label is None
    wanted = (int(world.labels[edited_row]) + 1) % NUM_CLASSES

    def edit(c: Caption) -> Caption:
        if c.item_id != f"id{edited_row}":
            return c
        return dataclasses.replace(c, text=f"A {TASK.classes[wanted]}.")

    before, after = world.targets(), world.targets(edit)
    changed = (before["probs"] != after["probs"]).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [edited_row]
    assert after["probs"][edited_row, wanted] > before["probs"][edited_row, wanted]


def test_an_image_abstains_when_all_its_captions_were_dropped(world: World) -> None:
    def drop(c: Caption) -> Caption:
        gone = c.item_id == "id60" or (c.item_id == "id61" and c.index < 2)
        return dataclasses.replace(c, dropped="low confidence") if gone else c

    found = world.targets(drop)
    assert np.flatnonzero(found["weight"] == 0).tolist() == [60]
    assert found["captions_only"][60] == pytest.approx(0.25)
    assert found["provenance"]["num_abstained"] == 1
    assert (world.targets(drop, evidence="scores")["weight"] == 1).all()


def test_every_row_is_a_distribution(world: World) -> None:
    found = world.targets(neighbours=5)
    for name in ("probs", "captions_only", "scores_only"):
        assert found[name].dtype == np.float32
        assert found[name].shape == (NUM_ITEMS, NUM_CLASSES)
        assert found[name].sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert (found[name] >= 0).all()
    assert found["ids"].tolist() == [item.id for item in world.manifest.items]
