"""What this machine is, what a stage took of it, and where native libraries talk to."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import psutil

from edgekd.extras import require

_LOG_BYTES = 1_000_000  # some 2 kB are written for a file
_REPORTED = (
    "edgekd", "torch", "timm", "transformers", "scikit-learn", "albumentations", "torch-pruning",
    "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "onnx", "onnxruntime", "onnxslim",
    "numpy", "pillow",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Returns {cpu, cores, memory_gb (10^9 bytes), system}."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the processor's name; py-cpuinfo is asked last, since it takes about a second."""
    return _from_proc(cpuinfo) or _from_py_cpuinfo() or platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that shape a result, those that are installed."""
    found = {}
    for name in _REPORTED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def best_device() -> str:
    """Returns "cuda" when there is a GPU, else "cpu"; imports torch, so only stages ask."""
    return "cuda" if require("torch", "students").cuda.is_available() else "cpu"


class PeakMemory:
    """Within it, watches this process's resident memory; `peak_mb` is in 10^6 bytes."""

    def __init__(self, every_seconds: float = 0.1):
        self.peak_mb = 0.0
        self._every = every_seconds
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / 1e6)
            if self._stop.wait(self._every):
                return


@contextlib.contextmanager
def native_output_to(log: Path) -> Iterator[None]:
    """Within it, what Python and native libraries print goes to a file; both descriptors return.

    Converters print hundreds of lines past Python's own streams.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("w") as target:
        _reserve(target.fileno(), log)
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        try:
            yield
        finally:
            for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
                _flush_or_drop(stream, descriptor)
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
            os.ftruncate(target.fileno(), os.lseek(target.fileno(), 0, os.SEEK_CUR))


def _reserve(descriptor: int, log: Path) -> None:
    """Takes the room of a log before it is needed.

    LLVM, inside the converter, ends the process without a word when its messages find no room.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        os.posix_fallocate(descriptor, 0, _LOG_BYTES)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(log)) from error


def _flush_or_drop(stream: TextIO, descriptor: int) -> None:
    """What a full disk does not take must not come out on the terminal later."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), descriptor)
            stream.flush()


def _from_proc(cpuinfo: Path) -> str:
    """x86 says "model name", many ARM boards "Model" or "Hardware", others say nothing."""
    if not cpuinfo.is_file():
        return ""
    values: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    names = (values.get(key, "") for key in ("model name", "Model", "Hardware"))
    return next((name for name in names if name), "")


def _from_py_cpuinfo() -> str:
    try:
        from cpuinfo import get_cpu_info
    except ModuleNotFoundError:  # comes with the extra `devices`
        return ""
    return str(get_cpu_info().get("brand_raw", ""))
