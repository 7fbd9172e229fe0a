"""The command line from outside: exit codes, one-line errors, what it imports."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from edgekd import pipeline
from edgekd.cli import app
from tests.unit.tiny_models import tiny_tflite

HEAVY = ["torch", "timm", "transformers", "sklearn", "albumentations", "litert_torch", "onnx"]
EXAMPLE_REPORT = Path(__file__).parents[2] / "data" / "report_example.json"
THEN_LIST_HEAVY = f"""
import sys
from edgekd.cli import main
sys.argv = ["edgekd", *sys.argv[1:]]
try:
    main()
finally:
    print("heavy:", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def edgekd(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekd", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_tflite(tmp_path / "m.tflite", np.ones((20, 12)), np.ones(20), (1, 2, 2, 3))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index, name in enumerate(["cat", "dog", "dog"]):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--help", 0),
        ("distill --help", 0),
        ("check {model}", 0),
        ("bench {model} --runs 3", 0),
        ("list students", 0),
        ("list teachers", 0),
        ("list stages", 0),
        ("list runs --folder {folder}", 0),
        ("report {folder}", 2),
        ("report {folder}/sent", 0),
        ("report {folder}/sent {folder}/sent --out {folder}/two.html", 0),
        ("run {folder}/c.yaml --dry-run", 0),
        ("quantize {folder}/c.yaml --dry-run --json", 0),
        ("validate {folder}/c.yaml", 0),
    ],
)
def test_light_commands_import_nothing_heavy(
    command: str, code: int, model: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{folder: {photos}}}\nout: {tmp_path / 'run'}\n")
    (tmp_path / "sent").mkdir()
    shutil.copy2(EXAMPLE_REPORT, tmp_path / "sent" / "report.json")
    words = command.format(model=model, folder=tmp_path).split()
    done = subprocess.run(
        [sys.executable, "-c", THEN_LIST_HEAVY, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == "heavy: []"
    assert not (tmp_path / "run").exists()


def test_importing_edgekd_imports_nothing_heavy() -> None:
    code = f"import sys, edgekd; print([m for m in {[*HEAVY, 'pydantic', 'rich']} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def commands() -> dict[str, Any]:
    """Every command by its words: "run", "bundle show"."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": c for sub, c in inner.items()} if inner else {name: command}
    return found


@pytest.mark.parametrize("name", commands())
def test_every_help_is_one_sentence_and_examples_that_parse(name: str) -> None:
    command = commands()[name]
    sentence, *rest = (command.help or "").split("\n\n")
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence), sentence
    examples = re.findall(r"Example: `([^`]+)`", "\n".join(rest))
    assert examples, name
    for example in examples:
        words = shlex.split(example)
        called = ["edgekd", *name.split()]
        assert words[: len(called)] == called
        context = command.make_context(name, words[len(called) :])  # raises on a wrong word
        assert context.params


def test_the_stage_commands_are_there() -> None:
    assert set(pipeline.VERBS) == {"caption", "distill", "prune", "export", "quantize"}
    assert set(pipeline.VERBS) < set(commands())


def test_no_words_show_the_help_as_bad_usage() -> None:
    done = edgekd()
    assert done.returncode == 2
    assert "From a folder of images and class names" in done.stdout + done.stderr


def test_check_exits_0_within_and_3_over_the_budget(model: Path) -> None:
    within = edgekd("check", model, "--budget", "1MB")
    assert (within.returncode, within.stderr) == (0, "")
    assert "budget 1.00 MB" in within.stdout
    over = edgekd("check", model, "--budget", "0.1kB")
    assert over.returncode == 3
    assert "largest tensors:" in over.stdout
    assert "float32 20x12  weights" in over.stdout
    values = json.loads(edgekd("check", model, "--budget", "0.1kB", "--json").stdout)
    assert values["passed"] is False
    assert values["largest"][0]["name"] == "weights"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("check none.tflite", 2, "none.tflite"),
        ("check none.tflite --budget lots", 2, "size 'lots': expected a number"),
        ("check", 2, "Missing argument"),
        ("chekc", 2, "No such command"),
        ("run none.yaml", 2, "config: no file 'none.yaml'. Write one with: edgekd init FOLDER"),
        ("bench none.onnx", 2, "none.onnx: no such file"),
        ("report .", 2, "no report.json"),
        ("clean .", 2, "not a run folder"),
        ("distill .", 2, "a folder without config.yaml, so no run"),
        ("quantize none.yaml --dry-run", 2, "config: no file 'none.yaml'"),
        ("report none other", 2, "none: no such folder. Expected one with a report.json"),
        ("list student", 2, "Closest: 'students'."),
        ("predict none.zip x.png", 2, "none.zip: no such file"),
        ("bundle verify none.zip", 2, "none.zip: no such file"),
        ("init none", 2, "no folder 'none'"),
        ("bench damaged.tflite", 1, "damaged.tflite"),
    ],
)
def test_errors_are_one_message_with_their_exit_code(
    words: str, code: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "damaged.tflite").write_bytes(b"no model")
    done = edgekd(*words.split(), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_problems_of_a_bundle_are_data(model: Path) -> None:
    done = edgekd("bundle", "verify", model)
    assert (done.returncode, done.stderr) == (1, "")
    assert "not a whole zip file" in done.stdout


def test_init_then_validate(photos: Path, tmp_path: Path) -> None:
    config = tmp_path / "photos.yaml"
    first = edgekd("init", photos, "-o", config)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"Wrote {config}. Next: edgekd validate {config}\n"
    again = edgekd("init", photos, "-o", config)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    done = edgekd("validate", config, "--json", "--set", "data.splits.test=0")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["classes"] == ["cat", "dog"]
    assert sum(count["images"] for count in values["counts"].values()) == 3
    assert values["stages"][0] == "validate"
    assert values["stages"][-1] == "report"
    text = edgekd("validate", config).stdout
    assert text.startswith(f"{config}: fine. 3 images, 2 classes\n")


def test_validate_lists_every_fault_at_once(photos: Path, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(
        f"data: {{folder: {photos}}}\n"
        "distil: {}\n"
        "distill: {arch: mobilnetv3_small_100, stepz: 5}\n"
        "caption: {temperatures: [0.5, -1]}\n"
        "check: {budget: lots}\n"
    )
    done = edgekd("validate", config)
    assert done.returncode == 2
    assert done.stderr.startswith(f"edgekd: {config}: 5 faults\n")
    for fault in (
        "distil: unknown key. Closest: 'distill'.",
        "distill.arch: unknown 'mobilnetv3_small_100'. Closest: 'mobilenetv3_small_100'. "
        "See: edgekd list students",
        "distill.stepz: unknown key. Closest: 'steps'.",
        "caption.temperatures: expected temperatures above 0, found -1.0",
        "check.budget: size 'lots': expected a number",
    ):
        assert fault in done.stderr


def test_an_unknown_stage_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{folder: {photos}}}\nout: {tmp_path / 'run'}\n")
    done = edgekd("run", tmp_path / "c.yaml", "--until", "targts")
    assert done.returncode == 2
    assert "Closest: 'targets'." in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["validate c.yaml", "run c.yaml --dry-run", "init photos"])
def test_a_full_disk_of_temporary_files_is_one_line(
    command: str, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{folder: {photos}}}\nout: {tmp_path / 'run'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *command.split()],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"edgekd: {tmp_path}: cannot be written (File too large). Free some space or set TMPDIR "
        "to another folder, then start again: finished work is kept.\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_output_that_finds_no_room_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgekd", "list", "students"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "edgekd: cannot be written (No space left on device). Free some space, then start again\n"
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "edgekd", "list", "students"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert running.wait(timeout=60) in (0, 1)
    assert "Traceback" not in running.stderr.read()
    running.stderr.close()
