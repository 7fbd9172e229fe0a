"""Every kind of file that a run leaves, written by another version: refused by name, not misread."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from captioning import captions
from edgekd import config, manifest, preprocess, report, targets_file
from edgekd.bundle_files import BundleFiles
from edgekd.errors import EdgeKDError
from edgekd.records import Caption, Item, TaskSpec
from edgekd.run_config import RunConfig
from edgekd.store import RunStore, read_json, write_json


def of_a_stage(folder: Path, schema: int) -> Callable[[], Any]:
    store = RunStore(folder)
    store.finish_stage("caption", "key", [], None, {"seconds": 1.0})
    path = folder / "stages" / "caption.json"
    write_json(path, read_json(path) | {"schema": schema})
    return lambda: store.stage_record("caption")


def of_a_report(folder: Path, schema: int) -> Callable[[], Any]:
    whole = dict.fromkeys(report._KEYS) | {"schema": schema}
    write_json(folder / "report.json", whole)
    return lambda: report.load(folder)


def of_a_manifest(folder: Path, schema: int) -> Callable[[], Any]:
    path = folder / "manifest.parquet"
    items = [Item(id="a", path="a.png", split="train")]
    manifest.save(manifest.Manifest(TaskSpec("t", ("cat", "dog")), items), path)
    _with_metadata(path, b"edgekd", lambda text: json.dumps(json.loads(text) | {"schema": schema}))
    return lambda: manifest.load(path)


def of_captions(folder: Path, schema: int) -> Callable[[], Any]:
    path = folder / "captions.parquet"
    captions.save([Caption("a", 0, "A photo of a cat.", "t", 1.0, 1, "composed", 0.5)], path)
    _with_metadata(path, b"edgekd_schema", lambda text: str(schema))
    return lambda: list(captions.load(path))


def of_targets(folder: Path, schema: int) -> Callable[[], Any]:
    path = folder / "targets.npz"
    np.savez(path, ids=["a"], probs=np.ones((1, 2), np.float32), schema=schema)
    return lambda: targets_file.Targets(path)


def of_a_config(folder: Path, schema: int) -> Callable[[], Any]:
    path = folder / "config.yaml"
    written = config.dump_yaml(config.parse(RunConfig, {"data": {"folder": "photos"}}))
    path.write_text(written.replace("schema: 1\n", f"schema: {schema}\n"))
    return lambda: config.parse(RunConfig, config.read_run(folder), str(path))


def of_a_bundle(folder: Path, schema: int) -> Callable[[], Any]:
    path = folder / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"schema": schema, "files": {}}))
    return lambda: BundleFiles(path).manifest()


def of_preprocess(folder: Path, schema: int) -> Callable[[], Any]:
    return lambda: preprocess.from_json({"schema": schema, "inputs": [{}]})


KINDS: dict[str, tuple[Callable[[Path, int], Callable[[], Any]], int]] = {
    "caption.json": (of_a_stage, 1),
    "report.json": (of_a_report, report.SCHEMA),
    "manifest.parquet": (of_a_manifest, manifest.SCHEMA),
    "captions.parquet": (of_captions, 2),
    "targets.npz": (of_targets, targets_file.SCHEMA),
    "config.yaml": (of_a_config, config.SCHEMA),
    "manifest.json": (of_a_bundle, 1),
    "preprocess.json": (of_preprocess, preprocess.SCHEMA),
}


@pytest.mark.parametrize("name", KINDS)
def test_another_version_is_refused_by_file_version_and_what_to_do(
    name: str, tmp_path: Path
) -> None:
    make, reads = KINDS[name]
    with pytest.raises(EdgeKDError) as caught:
        make(tmp_path, 97)()
    message = str(caught.value)
    assert name in message
    assert "97" in message
    assert f"this edgekd reads schema {reads}" in message
    advice = message.split(f"reads schema {reads}")[1]
    assert "edgekd " in advice, message


@pytest.mark.parametrize("name", [name for name in KINDS if name != "preprocess.json"])
def test_the_version_that_is_written_is_read(name: str, tmp_path: Path) -> None:
    make, reads = KINDS[name]
    make(tmp_path, reads)()


def test_a_run_keeps_its_schema_in_its_config(tmp_path: Path) -> None:
    parsed = config.parse(RunConfig, {"data": {"folder": "photos"}})
    text = config.dump_yaml(parsed)
    assert text.startswith("schema: 1\n")
    (tmp_path / "config.yaml").write_text(text)
    again = config.parse(RunConfig, config.read_run(tmp_path))
    assert again == parsed.model_copy(update={"out": tmp_path})


def test_a_table_of_captions_that_a_person_saved_anew_is_read(tmp_path: Path) -> None:
    """Other programs drop the metadata; the columns still say what it is."""
    path = tmp_path / "captions.parquet"
    captions.save([Caption("a", 0, "A photo of a cat.", "t", 1.0, 1, "composed", 0.5)], path)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert [caption.text for caption in captions.load(path)] == ["A photo of a cat."]


def test_targets_without_a_number_are_of_the_first_version(tmp_path: Path) -> None:
    np.savez(tmp_path / "targets.npz", ids=["a"], probs=np.ones((1, 2), np.float32))
    targets = targets_file.Targets(tmp_path / "targets.npz")
    assert targets.ids == ["a"]
    assert targets.probs().rows().tolist() == [[1, 1]]


def _with_metadata(path: Path, key: bytes, changed: Callable[[bytes], str]) -> None:
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    metadata[key] = changed(metadata[key]).encode()
    pq.write_table(table.replace_schema_metadata(metadata), path)
