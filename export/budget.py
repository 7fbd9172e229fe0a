"""Is a model, a bundle or a run within its size budget, and which tensors take the space?

Nothing heavy is imported here and no weight is read, so that a check is as quick as a listing.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.errors import EdgeKDError, UsageError
from edgekd.model_graph import ModelGraph, parse_graph, read_graph
from edgekd.sizes import parse_size, zipped_size

if TYPE_CHECKING:
    import zipfile

__all__ = [
    "CheckResult",
    "TensorSize",
    "check_path",
    "count_parameters",
    "largest_tensors",
    "parse_size",
]

_MODEL_SUFFIXES = (".tflite", ".onnx")


@dataclass(frozen=True)
class TensorSize:
    """What one stored tensor takes; `share` is its part of the file, 0 to 1."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    share: float


@dataclass(frozen=True)
class CheckResult:
    """What was checked and how it went.

    `items` are dicts `{name, passed, size, sizeLimit}` as size-limit prints them, with `unit`
    "bytes" or "accuracy". `largest` names the largest tensors of the largest file checked.
    """

    path: str
    checked: str
    items: tuple[dict[str, Any], ...]
    largest: tuple[TensorSize, ...]

    @property
    def passed(self) -> bool:
        return all(item["passed"] for item in self.items)


def check_path(
    path: Path,
    budget: str | int,
    *,
    zipped: bool = False,
    min_accuracy: float | None = None,
    top: int = 5,
) -> CheckResult:
    """Returns whether a model file, a bundle.zip or a run folder keeps to `budget`.

    In a run folder the file chosen by its report is checked; where there is no report yet, every
    model under exports/. `zipped` compares what is left after deflate (app stores limit the
    download). `min_accuracy`, 0 to 1, is held against the accuracy in the report; an accuracy
    that was not measured does not pass.

    Raises:
        UsageError: nothing there to check, a bad budget, or a floor without a report.
        EdgeKDError: a model file is damaged.
    """
    limit = parse_size(budget)
    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise UsageError(f"accuracy floor: expected a share from 0 to 1, found {min_accuracy}")
    files, checked, accuracy = _targets(path, min_accuracy)
    models = [_Model(file, _graphs(file)) for file in files]
    sizes = [model.size(zipped) for model in models]
    items = [
        _item(_name(file, path), size, limit, size <= limit, "bytes")
        for file, size in zip(files, sizes, strict=True)
    ]
    if min_accuracy is not None:
        enough = accuracy is not None and accuracy >= min_accuracy
        items.append(_item("accuracy", accuracy, min_accuracy, enough, "accuracy"))
    return CheckResult(
        path=str(path),
        checked=f"{checked}{', zipped' if zipped else ''}",
        items=tuple(items),
        largest=models[sizes.index(max(sizes))].largest(top),
    )


def largest_tensors(path: Path, top: int = 5) -> tuple[TensorSize, ...]:
    """Returns the `top` largest tensors of a .tflite, .onnx or bundle.zip, largest first."""
    return _Model(path, _graphs(path)).largest(top)


def count_parameters(path: Path) -> int:
    """Returns the number of learned values in a .tflite or .onnx file.

    Weights and biases, quantized or not; no shapes, axes, scales or zero points. Batch norms
    that the export folded away are gone, so it is below the count of the network in training.
    """
    return read_graph(path).num_params


def _targets(path: Path, min_accuracy: float | None) -> tuple[list[Path], str, float | None]:
    """The files to check, which they are in words, and the accuracy in the report."""
    if path.is_dir():
        return _run_targets(path, min_accuracy)
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder")
    if path.suffix not in (*_MODEL_SUFFIXES, ".zip"):
        raise UsageError(
            f"{path}: expected a .tflite or .onnx file, a bundle.zip or a run folder, "
            f"found '{path.suffix or 'no suffix'}'"
        )
    if min_accuracy is not None:
        raise UsageError(
            f"{path}: an accuracy floor needs the report of a run. Check the run folder instead"
        )
    return [path], f"the file {path.name}", None


def _run_targets(folder: Path, min_accuracy: float | None) -> tuple[list[Path], str, float | None]:
    report = folder / "report.json"
    if report.is_file():
        chosen, accuracy = _headline(report)
        return [chosen], f"{chosen.name}, the file chosen in report.json", accuracy
    files = sorted(
        file
        for suffix in _MODEL_SUFFIXES
        for file in (folder / "exports").rglob(f"*{suffix}")
        if not file.name.startswith(".")
    )
    if not files:
        raise UsageError(
            f"{folder}: expected a run folder with report.json or models under exports/, found "
            f"neither. Finish the run with: edgekd run"
        )
    if min_accuracy is not None:
        raise UsageError(
            f"{folder}: an accuracy floor needs report.json, and the run has none yet. "
            "Finish it with: edgekd run"
        )
    plural = "s" if len(files) > 1 else ""
    return files, f"{len(files)} file{plural} under exports/ (no report.json yet)", None


def _headline(report: Path) -> tuple[Path, float | None]:
    try:
        headline = json.loads(report.read_text(encoding="utf-8"))["headline"]
        chosen = report.parent / headline["path"]
        accuracy = headline.get("accuracy")
        value = None if accuracy is None else float(accuracy["value"])
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeKDError(
            f"{report}: no chosen file can be read from it ({error!r}). Write it again with: "
            "edgekd report"
        ) from error
    if not chosen.is_file():
        raise EdgeKDError(f"{report}: it names {headline['path']}, which is not there")
    return chosen, value


@dataclass(frozen=True)
class _Model:
    """A file to check with the graphs inside, by name; a model file has one, without a name."""

    path: Path
    graphs: dict[str, ModelGraph]

    def size(self, zipped: bool) -> int:
        """Bytes of the file and, where an ONNX model keeps weights beside it, of those files."""
        files = [self.path]
        for graph in self.graphs.values() if self.path.suffix == ".onnx" else ():
            files += [self.path.parent / name for name in graph.external_files]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise EdgeKDError(f"{self.path}: it keeps weights in {missing[0].name}, not found")
        return sum(zipped_size(file) if zipped else file.stat().st_size for file in files)

    def largest(self, top: int) -> tuple[TensorSize, ...]:
        all_bytes = self.size(zipped=False)
        tensors = [
            TensorSize(
                name=f"{model}: {tensor.name}" if model else tensor.name,
                shape=tensor.shape,
                dtype=tensor.dtype,
                size_bytes=tensor.size_bytes,
                share=tensor.size_bytes / all_bytes,
            )
            for model, graph in self.graphs.items()
            for tensor in graph.tensors
        ]
        return tuple(sorted(tensors, key=lambda tensor: (-tensor.size_bytes, tensor.name))[:top])


def _graphs(path: Path) -> dict[str, ModelGraph]:
    if path.suffix != ".zip":
        return {"": read_graph(path)}
    import zipfile  # not needed for the usual check of one file

    try:
        with zipfile.ZipFile(path) as archive:
            graphs = {
                info.filename: parse_graph(_member(archive, info, path), info.filename)
                for info in archive.infolist()
                if info.filename.endswith(_MODEL_SUFFIXES)
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error, zlib.error) as error:
        raise EdgeKDError(
            f"{path}: not a whole zip file ({error}). Make it again with: edgekd run CONFIG"
        ) from error
    except RuntimeError as error:  # zipfile's word for a file under a password
        raise EdgeKDError(f"{path}: cannot be unpacked ({error})") from error
    if not graphs:
        raise EdgeKDError(f"{path}: expected a .tflite or .onnx model inside, found none")
    return graphs


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes | memoryview:
    """The bytes of a file in a zip; one that lies there unpacked is mapped, not read."""
    if info.compress_type != 0 or info.flag_bits & 1:  # packed, or under a password
        return archive.read(info)
    with path.open("rb") as stream:
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    # The local header: 30 bytes, then the name and the extra field, whose lengths it states.
    name_bytes, extra_bytes = struct.unpack_from("<HH", data, info.header_offset + 26)
    start = info.header_offset + 30 + name_bytes + extra_bytes
    return memoryview(data)[start : start + info.file_size]


def _item(
    name: str, size: int | float | None, limit: int | float, passed: bool, unit: str
) -> dict[str, Any]:
    return {"name": name, "passed": passed, "size": size, "sizeLimit": limit, "unit": unit}


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else file.name
