"""The files of a network that a user brings: which of them count, their digest, and their report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgekd.errors import one_line
from edgekd.store import file_sha256

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "open_clip_pytorch_model*.bin")
_SETTINGS = ("*.json", "vocab.txt", "merges.txt", "*.model")
# Of a trainer that left its state beside the model.
_NOT_SETTINGS = ("trainer_state.json", "all_results.json", "train_results.json")


@dataclass(frozen=True)
class LocalWeights:
    """One network's weights, in one file or several."""

    name: str
    files: tuple[Path, ...]
    licence: str
    source: str = "local"

    @cached_property
    def sha256(self) -> str:
        """The file's digest, or the digest of all the digests."""
        digests = [file_sha256(file) for file in self.files]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def origin(self, used: bool) -> dict[str, Any]:
        """Returns what the report says of it; `used` where the teacher needs it to answer."""
        return {
            "name": self.name,
            "source": f"{self.source} file" + ("s" if len(self.files) > 1 else ""),
            "sha256": self.sha256,
            "licence": self.licence,
            "size_bytes": sum(file.stat().st_size for file in self.files),
            "used": used,
        }


def what_failed(error: Exception) -> str:
    """Returns the kind of error with which a library refused such files, and what it says."""
    return f"{type(error).__name__}: {one_line(error)}"


def weights_in(folder: Path) -> tuple[Path, ...]:
    """Returns the weights of a folder, sorted; without those that are there twice as .bin."""
    found = _matching(folder, _WEIGHTS)
    safe = [file for file in found if file.suffix == ".safetensors"]
    return tuple(file for file in found if file.suffix != ".bin" or not safe)


def settings_in(folder: Path) -> tuple[Path, ...]:
    """Returns the configs and vocabularies of a folder, sorted."""
    return tuple(file for file in _matching(folder, _SETTINGS) if file.name not in _NOT_SETTINGS)


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    found = {file for pattern in patterns for file in folder.glob(pattern)}
    return sorted(file for file in found if not file.name.startswith("."))
