"""Every kind of teacher, alone, from the images to the bundle and the report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.small_runs import CLASSES, SETTINGS, edgekd, write_config
from tests.unit import tiny_captioners
from tests.unit.chat_server import ChatServer, answer

# What is tried here is the line, not speed.
QUICK: dict[str, Any] = {"bench": {"enabled": False}, "prune": {"enabled": False}}


def classifier(folder: Path, images: Path, server: ChatServer) -> dict[str, Any]:
    """timm's, with the task's names for its outputs."""
    import timm
    from timm.models import save_for_hf

    names = {"num_classes": len(CLASSES), "label_names": list(CLASSES)}
    network = timm.create_model("mobilenetv3_small_050", num_classes=len(CLASSES))
    save_for_hf(network, folder, model_config=names)
    return {"kind": "classifier", "model": str(folder)}


def transformers(folder: Path, images: Path, server: ChatServer) -> dict[str, Any]:
    words = [*tiny_captioners.WORDS, *(word for name in CLASSES for word in name.split())]
    model = tiny_captioners.blip(folder, list(dict.fromkeys(words)))
    return {"kind": "transformers", "model": str(model), "score_classes": True, "max_tokens": 6}


def open_clip(folder: Path, images: Path, server: ChatServer) -> dict[str, Any]:
    import open_clip

    tower = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 16,
             "patch_size": 8, "head_width": 8}, "text_cfg": {"context_length": 16,
             "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}  # fmt: skip
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": tower, "preprocess_cfg": {}})
    )
    network = open_clip.CLIP(**tower)
    import safetensors.torch

    safetensors.torch.save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return {"kind": "open_clip", "model": str(folder)}


def openai(folder: Path, images: Path, server: ChatServer) -> dict[str, Any]:
    server.always(answer("A photo of a bag on a plain background."))
    return {"kind": "openai", "base_url": server.url, "model": "m"}


def file(folder: Path, images: Path, server: ChatServer) -> dict[str, Any]:
    """A sentence an image, of the colour that it has."""
    folder.mkdir()
    with (folder / "mine.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "text"])
        for n, path in enumerate(sorted(images.rglob("*.png"))):
            table.writerow([path.relative_to(images), f"A photo of a {CLASSES[n % 10]}."])
    return {"kind": "file", "path": str(folder / "mine.csv")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "speaks", "exported"),
    [
        (classifier, False, True),
        (transformers, True, False),
        (open_clip, False, False),
        (openai, True, False),
        (file, True, False),
    ],
)
def test_a_teacher_alone_takes_the_whole_line(
    make: Callable[[Path, Path, ChatServer], dict[str, Any]],
    speaks: bool,
    exported: bool,
    images: Path,
    server: ChatServer,
    tmp_path: Path,
) -> None:
    teacher = make(tmp_path / "teacher", images, server)
    plain = {key: value for key, value in SETTINGS["caption"].items() if key != "teacher"}
    config = write_config(
        tmp_path / "c.yaml", images, tmp_path / "run", caption=plain | {"teacher": teacher}, **QUICK
    )
    done = edgekd("run", config)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["teacher"]["kind"] == teacher["kind"]
    assert (report["captions"]["num_kept"] > 0) == speaks
    assert ("teacher" in {row["model"] for row in report["rows"]}) == exported
    assert (tmp_path / "run/bundle.zip").is_file()


def test_captions_that_were_all_dropped_end_the_run_with_one_line(
    images: Path, server: ChatServer, tmp_path: Path
) -> None:
    teacher = file(tmp_path / "teacher", images, server)
    plain = {key: value for key, value in SETTINGS["caption"].items() if key != "teacher"}
    everything = {"private": "refuse"}
    table = Path(teacher["path"])
    table.write_text(table.read_text().replace("A photo", "Call 020 7946 0958. A photo"))
    config = write_config(
        tmp_path / "c.yaml", images, tmp_path / "run",
        caption=plain | everything | {"teacher": teacher},
    )  # fmt: skip
    done = edgekd("run", config, "--until", "targets")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "edgekd: targets: no training image has a caption that was kept"
    )


def test_a_trial_fits_a_probe_where_no_teacher_is_dear(
    images: Path, server: ChatServer, tmp_path: Path
) -> None:
    """The probe of the first needs more labels than nine images have."""
    beside = {"more": [classifier(tmp_path / "teacher", images, server)]}
    config = write_config(
        tmp_path / "c.yaml", images, tmp_path / "run", caption=SETTINGS["caption"] | beside
    )
    done = edgekd("caption", config, "--trial", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["images"]) == 9
    assert found["teacher"] == "composed/efficientnet_lite0, classifier/teacher"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["trial.html"]
