"""The embedded teacher's head: probe, names, their weights; and the same head in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from captioning.teachers import composed, composed_teacher
from captioning.teachers.backbone import Backbones
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.teachers.module import TeacherModule
from captioning.teachers.prototypes import PrototypeHead, fit_prototypes
from edgekd.errors import DataError
from edgekd.metrics import softmax

NUM_FEATURES, NUM_SOURCE, NUM_CLASSES = 6, 1000, 3


class FakeNetwork(torch.nn.Module):
    """A linear look at the mean colours, and a classifier of 1,000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.to_features = torch.nn.Linear(3, NUM_FEATURES)
        self.classifier: torch.nn.Module = torch.nn.Linear(NUM_FEATURES, NUM_SOURCE)

    def reset_classifier(self, num_classes: int) -> None:
        assert num_classes == 0
        self.classifier = torch.nn.Identity()


class FakeBackbone(torch.nn.Module):
    """Features [B, 6] and ImageNet logits [B, 1000], as a real one gives them."""

    num_features = NUM_FEATURES

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = FakeNetwork()

    def forward(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.network.to_features(images_BCHW.mean(dim=(2, 3)))
        return features, 5 * self.network.classifier(features)


def names_head(temperature: float = 0.05) -> composed.NamesHead:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(NUM_SOURCE, 4)), rng.normal(size=(NUM_CLASSES, 4))
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    return composed.NamesHead(source, target, temperature, np.array([0.5, -0.2, -0.3]))


def probe() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(NUM_FEATURES, NUM_CLASSES)), rng.normal(size=NUM_CLASSES)


def prototypes(num_backbones: int) -> PrototypeHead:
    rng = np.random.default_rng(6)
    size = NUM_FEATURES * num_backbones
    rows = rng.normal(size=(NUM_CLASSES, size))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return PrototypeHead((NUM_FEATURES,) * num_backbones, rng.normal(size=size), rows, 0.05)


HEADS = {
    "prototypes alone": composed.ComposedHead(None, None, 0.0, prototypes(1), 1.0),
    "probe and prototypes": composed.ComposedHead(*probe(), 0.7, prototypes(1), 0.2),
    "names alone": composed.ComposedHead(None, None, 0.0, names_head(), 1.0),
    "probe alone": composed.ComposedHead(*probe(), 0.7, None, 0.0),
    "probe, names without weight": composed.ComposedHead(*probe(), 0.7, names_head(), 0.0),
    "both": composed.ComposedHead(*probe(), 0.7, names_head(), 0.2),
}


@pytest.mark.parametrize("name", HEADS)
def test_head_and_torch_module_give_equal_logits(name: str, tmp_path: Path) -> None:
    head = HEADS[name]
    assert_equal_in_torch(head, [FakeBackbone()], tmp_path)


def test_two_backbones_look_together(tmp_path: Path) -> None:
    both = [FakeBackbone(0), FakeBackbone(7)]
    for head in (HEADS["names alone"], composed.ComposedHead(None, None, 0, prototypes(2), 1.0)):
        assert_equal_in_torch(head, both, tmp_path)


def assert_equal_in_torch(
    head: composed.ComposedHead, networks: list[FakeBackbone], tmp_path: Path
) -> None:
    backbones = Backbones(networks)  # type: ignore[arg-type]
    np.savez(tmp_path / "head.npz", **head.arrays())
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        features, imagenet = (values.numpy() for values in backbones(images))
        module = TeacherModule(backbones, dict(np.load(tmp_path / "head.npz"))).eval()
        logits = module(images).numpy()
    assert logits.shape == (5, NUM_CLASSES)
    # float32 against float64
    assert logits == pytest.approx(head.logits(features, imagenet), abs=1e-4)


def test_names_by_hand() -> None:
    # Two source classes of 1,000: the image is half each, so halfway between their vectors.
    source = np.zeros((NUM_SOURCE, 2))
    source[0], source[1], source[2:] = [1, 0], [0, 1], [1, 0]
    imagenet = np.full((1, NUM_SOURCE), -50.0)
    imagenet[0, :2] = 3.0
    head = composed.NamesHead(source, np.eye(2), 0.5, np.array([0.1, -0.1]))
    cosine = np.sqrt(0.5)
    assert head.logits_of_imagenet(imagenet)[0] == pytest.approx(
        [cosine / 0.5 + 0.1, cosine / 0.5 - 0.1]
    )


def test_a_vector_that_cancels_out_divides_nothing_by_zero() -> None:
    source = np.zeros((NUM_SOURCE, 2))
    source[0], source[1] = [1, 0], [-1, 0]
    imagenet = np.full((1, NUM_SOURCE), -50.0)
    imagenet[0, :2] = 3.0
    head = composed.NamesHead(source, np.eye(2), 0.5, np.array([0.1, -0.1]))
    assert head.logits_of_imagenet(imagenet)[0] == pytest.approx([0.1, -0.1])


def test_a_balanced_head_calls_every_class_equally_often() -> None:
    plain = names_head()
    imagenet = 3 * np.random.default_rng(3).normal(size=(500, NUM_SOURCE))
    balanced = composed.fit_names(plain.source_1000E, plain.target_KE, imagenet, 0.05, True)
    shares = softmax(balanced.logits_of_imagenet(imagenet)).mean(axis=0)
    assert shares == pytest.approx(1 / NUM_CLASSES, abs=1e-3)
    unbalanced = composed.fit_names(plain.source_1000E, plain.target_KE, imagenet, 0.05, False)
    assert not unbalanced.bias_K.any()


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Features of three overlapping clusters, and their labels."""
    rng = np.random.default_rng(4)
    labels = np.arange(300) % NUM_CLASSES
    centres = 2 * np.eye(NUM_CLASSES, NUM_FEATURES)
    return centres[labels] + rng.normal(size=(300, NUM_FEATURES)) * 0.7, labels


def fit(
    clusters: tuple[np.ndarray, np.ndarray], given: int, tune: int, **values: object
) -> composed.ComposedHead:
    features, labels = clusters
    rows = np.arange(given)
    held = np.arange(given, given + tune)
    imagenet = np.random.default_rng(5).normal(size=(len(labels), NUM_SOURCE))
    settings = {"names": names_head(), "num_classes": NUM_CLASSES, "seed": 0} | values
    return composed.fit(
        features, imagenet, (rows, labels[rows]), (held, labels[held]), **settings  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("tune", [0, 30])
def test_a_probe_on_given_labels_tells_the_others(
    clusters: tuple[np.ndarray, np.ndarray], tune: int
) -> None:
    head = fit(clusters, 60, tune)
    features, labels = clusters
    logits = head.logits(features[100:], np.zeros((200, NUM_SOURCE)))
    assert (logits.argmax(axis=1) == labels[100:]).mean() > 0.85
    assert head.num_params == NUM_FEATURES * NUM_CLASSES + NUM_CLASSES
    assert ("tune labels" in head.provenance["probe"]) is (tune == 30)
    assert head.names_weight <= 0.1  # names here are noise


def test_the_probe_is_calibrated(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    head = fit(clusters, 60, 60)
    features, labels = clusters
    probs = softmax(head.logits(features[120:], np.zeros((180, NUM_SOURCE))))
    confidence, right = probs.max(axis=1).mean(), (probs.argmax(axis=1) == labels[120:]).mean()
    assert confidence == pytest.approx(right, abs=0.08)


@pytest.mark.parametrize(("given", "why"), [(0, "no given labels"), (4, "2 classes have fewer")])
def test_without_enough_labels_the_names_alone_speak(
    clusters: tuple[np.ndarray, np.ndarray], given: int, why: str
) -> None:
    head = fit(clusters, given, 0)
    assert head.probe_coef_DK is None
    assert (head.names_weight, head.num_params) == (1.0, 0)
    assert why in head.provenance["probe"]


def test_neither_probe_nor_names_is_an_error(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(DataError, match=r"caption\.teacher\.names: .* not used: no given labels"):
        fit(clusters, 0, 0, names=None)


def test_two_classes_have_a_column_each(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = clusters
    two = labels < 2
    head = fit((features[two], labels[two]), 40, 30, names=None, num_classes=2)
    logits = head.logits(features[two][100:], np.zeros((100, NUM_SOURCE)))
    assert logits.shape == (100, 2)
    assert (logits.argmax(axis=1) == labels[two][100:]).mean() > 0.9


def test_the_inverted_teacher_sees_255_minus_the_pixel() -> None:
    from edgekd.preprocess import normalized

    plain = composed_teacher.preprocess(ComposedTeacherConfig())
    inverted = composed_teacher.preprocess(ComposedTeacherConfig(inverted=True))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert normalized(pixels, inverted) == pytest.approx(normalized(255 - pixels, plain), abs=1e-6)
    # As the backbone was trained: (pixel - 127) / 128.
    assert normalized(pixels, plain) == pytest.approx((pixels - 127.0) / 128, abs=1e-6)


def test_prototypes_by_hand() -> None:
    # Two images right, two above the middle (3, 3); each row of probs is sure of its class.
    features = np.array([[6.0, 3], [8, 3], [3, 6], [-5, 0]])  # their mean is (3, 3)
    probs = np.array([[1.0, 0], [1, 0], [0, 1], [0, 0]])
    head = fit_prototypes(features, probs, (2,), rounds=1, temperature=0.5)
    assert head.mean_D == pytest.approx([3, 3])
    assert head.prototypes_KD == pytest.approx(np.array([[1, 0], [0, 1]]))
    # (7, 7) lies on the diagonal: cosine sqrt(1/2) to both.
    logits = head.logits(np.array([[7.0, 7], [3, 9]]), np.zeros((2, NUM_SOURCE)))
    assert logits == pytest.approx(np.array([[np.sqrt(0.5) / 0.5] * 2, [0, 1 / 0.5]]))


def test_each_backbone_counts_the_same() -> None:
    # The second backbone's numbers are a hundred times larger and say the opposite.
    rng = np.random.default_rng(8)
    features = np.concatenate([rng.normal(size=(50, 2)), 100 * rng.normal(size=(50, 3))], axis=1)
    head = fit_prototypes(features, np.eye(2)[np.arange(50) % 2], (2, 3), 1, 0.05)
    assert np.linalg.norm(head.prototypes_KD, axis=1) == pytest.approx([1, 1])
    one = PrototypeHead((2, 3), np.zeros(5), np.array([[1, 0, 0, 0, 0], [0, 0, 1.0, 0, 0]]), 1.0)
    logits = one.logits(np.array([[2.0, 0, 500, 0, 0]]), np.zeros((1, NUM_SOURCE)))
    assert logits[0, 0] == pytest.approx(logits[0, 1])


def test_prototypes_call_alike_what_looks_alike(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = clusters
    rng = np.random.default_rng(9)
    # A first guess that is right for 55% of the images and knows nothing of the features.
    guess = np.where(rng.random(300) < 0.55, labels, rng.integers(0, NUM_CLASSES, 300))
    head = fit_prototypes(features, np.eye(NUM_CLASSES)[guess], (NUM_FEATURES,), 2, 0.1)
    found = head.logits(features, np.zeros((300, NUM_SOURCE))).argmax(axis=1)
    assert (guess == labels).mean() < 0.75
    assert (found == labels).mean() > 0.9
