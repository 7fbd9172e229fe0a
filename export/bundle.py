"""bundle.zip: what goes into an app, with all that a stranger needs to run and to check it.

Not inside yet: TFLite metadata in the model file itself, which MediaPipe and ML Kit ask for.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgekd import runtimes
from edgekd.bundle_files import MANIFEST_SCHEMA, BundleFiles
from edgekd.errors import EdgeKDError, UsageError
from edgekd.predictor import MODEL_NAMES, Predictor
from edgekd.records import Bundle, to_dict
from edgekd.store import atomic_path, file_sha256
from export.model_card import render_model_card

_REQUIRED = ("labels.txt", "preprocess.json", "MODEL_CARD.md", "expected.json")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
# Part of the spread between the largest and the smallest output: room for the rounding of int8
# layers on another processor, far below what another model or preprocessing changes. Chosen, not
# measured: no other processor was at hand.
_TOLERANCE = 0.02


def write_bundle(
    path: Path,
    *,
    files: Mapping[str, Path],
    labels: list[str],
    preprocess: dict[str, Any],
    model_card: dict[str, Any],
    test_image: Path,
    expected: dict[str, Any],
    licences: dict[str, str],
    versions: dict[str, str],
    parents: dict[str, str],
) -> Bundle:
    """Returns the record of a bundle written to `path`, whole or not at all.

    `files` holds model.tflite, model.onnx or both; `preprocess` is the content of preprocess.json,
    `model_card` the keys of `export.model_card.ModelCard`, `expected` what `expected_output`
    returns for `test_image`. The same inputs give the same bytes: names are sorted, dates fixed,
    and nothing is packed. Deflate differs between zlib builds, app stores pack their downloads
    themselves, and a model that is not packed can be checked and mapped where it lies.

    Raises:
        UsageError: a file or a key is missing, or labels that cannot be one a line.
    """
    _check_labels(labels)
    _check_expected(expected, labels)
    models = {name: _read(source) for name, source in files.items()}
    _check_names(models)
    image_name = f"test_image{test_image.suffix.lower()}"
    card = render_model_card(
        model_card,
        labels=labels,
        preprocess=preprocess,
        sizes={name: len(content) for name, content in sorted(models.items())},
        test_image=image_name,
        expected_class=" and ".join(expected["labels"]) or "no class",
        licences=licences,
    )
    contents = models | {
        "labels.txt": ("\n".join(labels) + "\n").encode(),
        "preprocess.json": _json(preprocess),
        "MODEL_CARD.md": card.encode(),
        image_name: _read(test_image),
        "expected.json": _json({**expected, "path": image_name}),
    }
    components = {name: _component(content) for name, content in sorted(contents.items())}
    contents["manifest.json"] = _json(
        {
            "schema": MANIFEST_SCHEMA,
            "files": components,
            "licences": dict(sorted(licences.items())),
            "versions": dict(sorted(versions.items())),
            "parents": dict(sorted(parents.items())),
        }
    )
    with atomic_path(path) as temporary:
        _write_zip(temporary, contents)
    return Bundle(str(path), file_sha256(path), path.stat().st_size, components)


def expected_output(
    model: Path, labels: list[str], preprocess: dict[str, Any], image: Path
) -> dict[str, Any]:
    """Returns {class, labels, logits, tolerance, model, confidence, rejected}: what it says of `image`.

    `class` is the likeliest, `labels` are all that the answer names. `tolerance` is 2% of the spread of the logits, since processors round differently. `confidence`
    and `rejected` follow from these logits by preprocess.json.

    Raises:
        EdgeKDError: the model cannot be run, or the image cannot be read.
    """
    predictor = Predictor(model, labels, preprocess)
    logits = predictor.outputs(image)
    answer = predictor.answer(logits)
    return {
        "class": labels[int(logits.argmax())],
        "labels": list(answer.labels),
        "logits": [float(value) for value in logits],
        "tolerance": max(1e-4, _TOLERANCE * float(logits.max() - logits.min())),
        "model": f"model{model.suffix}",
        "confidence": answer.confidence,
        "rejected": answer.rejected,
    }


def verify_bundle(path: Path) -> list[str]:
    """Returns what is wrong with a bundle.zip or its unpacked folder; empty when all is well.

    Every file is hashed again, every model loaded, and the test image run and compared with
    expected.json. Models of which a hash differs are not run.

    Raises:
        UsageError: nothing there.
    """
    try:
        files = BundleFiles(path)
        listed = files.manifest()["files"]
    except UsageError:
        raise
    except EdgeKDError as error:
        return [str(error)]
    problems = _file_problems(files, listed)
    if problems:
        return problems
    try:
        return _answer_problems(files)
    except EdgeKDError as error:
        return [str(error)]


def _check_labels(labels: list[str]) -> None:
    for label in labels:
        if not label.strip() or "\n" in label or "\r" in label:
            raise UsageError(f"labels: {label!r} cannot be a line of labels.txt")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None or not labels:
        found = f"'{twice}' twice" if labels else "none"
        raise UsageError(f"labels: expected distinct names, found {found}")


def _check_expected(expected: dict[str, Any], labels: list[str]) -> None:
    keys = ("class", "logits", "tolerance", "model", "labels")
    missing = [key for key in keys if key not in expected]
    if missing:
        raise UsageError(f"expected: '{missing[0]}' is missing. Take it from expected_output()")
    if expected["class"] not in labels or len(expected["logits"]) != len(labels):
        raise UsageError(
            f"expected: class '{expected['class']}' with {len(expected['logits'])} logits "
            f"does not fit {len(labels)} labels"
        )


def _check_names(models: Mapping[str, bytes]) -> None:
    odd = sorted(set(models) - set(MODEL_NAMES))
    if odd or not models:
        raise UsageError(
            f"files: expected {' or '.join(MODEL_NAMES)}, found {', '.join(odd) or 'none'}"
        )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    return path.read_bytes()


def _json(value: Any) -> bytes:
    text = json.dumps(to_dict(value), indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _component(content: bytes) -> dict[str, Any]:
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o644 << 16
            archive.writestr(info, contents[name])


def _file_problems(files: BundleFiles, listed: dict[str, dict[str, Any]]) -> list[str]:
    names = set(files.names) - {"manifest.json"}
    problems = [
        f"{name}: listed in manifest.json, not there" for name in sorted(set(listed) - names)
    ]
    problems += [f"{name}: not listed in manifest.json" for name in sorted(names - set(listed))]
    problems += [f"{name}: missing" for name in _REQUIRED if name not in names | set(listed)]
    twice = sorted({name for name in files.names if files.names.count(name) > 1})
    problems += [f"{name}: there twice" for name in twice]
    for name in files.names:
        if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name:
            problems.append(f"{name}: leads out of the bundle")
        elif name in listed:
            problems += _content_problems(files, name, listed[name])
    return problems


def _content_problems(files: BundleFiles, name: str, entry: dict[str, Any]) -> list[str]:
    try:
        found = _component(files.read(name))
    except EdgeKDError as error:
        return [str(error)]
    return [
        f"{name}: {key} is {found[key]}, manifest.json says {entry.get(key)}"
        for key in ("size_bytes", "sha256")
        if found[key] != entry.get(key)
    ][:1]


def _answer_problems(files: BundleFiles) -> list[str]:
    """Loads every model, runs the one that expected.json is about, and compares."""
    expected = files.read_json("expected.json")
    try:
        name, image_name, wanted = expected["model"], expected["path"], expected["class"]
        logits, tolerance = np.array(expected["logits"], float), float(expected["tolerance"])
    except (KeyError, TypeError, ValueError) as error:
        return [f"expected.json: not whole ({error!r})"]
    for model in MODEL_NAMES:
        if model in files.names:
            runtimes.load(files.local_path(model))
    predictor = Predictor(
        files.local_path(name), files.labels(), files.read_json("preprocess.json")
    )
    found = predictor.outputs(files.local_path(image_name))
    label = predictor.labels[int(found.argmax())]
    if label != wanted and not predictor.multilabel:  # two that are shown may change places
        return [f"{name}: says '{label}' about {image_name}, expected.json says '{wanted}'"]
    if found.shape != logits.shape:
        return [f"expected.json: {logits.size} logits, {name} has {found.size} outputs"]
    difference = float(np.abs(found - logits).max())
    if not difference <= tolerance:  # nan is no agreement
        return [f"{name}: differs from expected.json by {difference:.4g}, allowed {tolerance:.4g}"]
    return _confidence_problems(predictor, expected, logits)


def _confidence_problems(
    predictor: Predictor, expected: dict[str, Any], logits: np.ndarray
) -> list[str]:
    """Whether preprocess.json makes of the expected logits what expected.json says of them."""
    if "confidence" not in expected:  # a bundle from before there was one
        return []
    answer = predictor.answer(logits)
    if predictor.multilabel and list(answer.labels) != expected.get("labels"):
        return [
            f"expected.json: labels {expected.get('labels')}; by preprocess.json its logits name "
            f"{list(answer.labels)}"
        ]
    wanted, found = expected["confidence"], answer
    close = isinstance(wanted, int | float) and abs(wanted - (found.confidence or 0)) <= 1e-4
    if not close or expected.get("rejected") is not found.rejected:
        said = "rejected" if found.rejected else "answered"
        return [
            f"expected.json: confidence {wanted!r}, rejected {expected.get('rejected')!r}; by "
            f"preprocess.json its logits have {found.confidence:.4g} and are {said}"
        ]
    return []
