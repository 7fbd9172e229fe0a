"""Reads a classifier that a user brings: timm, transformers, ONNX or TFLite.

B images, C outputs, D features, H W height and width.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from captioning.teachers import pixels
from captioning.teachers.local_weights import what_failed
from captioning.teachers.pixels import Pixels
from captioning.teachers.quiet import quiet
from edgekd import runtimes
from edgekd.errors import EdgeKDError, UsageError, WeightsError, closest
from edgekd.extras import require
from edgekd.model_graph import read_graph
from edgekd.records import Preprocess, TensorSpec
from edgekd.store import read_json

if TYPE_CHECKING:
    from captioning.teachers.classifier_module import Network

Kind = Literal["timm", "transformers", "checkpoint", "onnx", "tflite"]
_CHECKPOINTS = (".safetensors", ".pth", ".pt", ".bin", ".tar")
_NO_NAMES = re.compile(r"LABEL_\d+")
_NUMBERED = re.compile(r"(\d+)[ :,\t]\s*(\S.*)")


@dataclass(frozen=True)
class Classifier:
    """A classifier ready to look. `look` takes what `pixels.prepare` made, [B, H, W, 3].

    It returns outputs [B, C] float32 and, where the network has them, features [B, D] float32.
    `network` is None where it is no torch module.
    """

    pixels: Pixels
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    num_outputs: int
    num_params: int
    network: Network | None = None


def kind_of(path: Path) -> Kind:
    """Returns what a folder or file is.

    Raises:
        WeightsError: nothing there, or none of these; says what was expected.
    """
    if path.is_dir():
        config = _config(path)
        if "architecture" in config and "model_type" not in config:
            return "timm"
        if "model_type" in config:
            return "transformers"
        raise WeightsError(
            f"{path / 'config.json'}: neither 'architecture' (timm) nor 'model_type' (transformers)"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder. Expected {_EXPECTED}")
    if path.suffix == ".onnx":
        return "onnx"
    if path.suffix == ".tflite":
        return "tflite"
    if path.suffix in _CHECKPOINTS:
        return "checkpoint"
    raise WeightsError(f"{path}: unknown suffix '{path.suffix}'. Expected {_EXPECTED}")


def labels_of(path: Path) -> tuple[str, ...]:
    """Returns the names of the outputs that the model's config or a labels.txt beside it gives.

    Empty where there are none; transformers' LABEL_0 is no name.

    Raises:
        WeightsError: a config or a labels.txt that cannot be read.
    """
    named = _config_labels(_config(path)) if path.is_dir() else ()
    beside = (path if path.is_dir() else path.parent) / "labels.txt"
    if named and not all(_NO_NAMES.fullmatch(name) for name in named):
        return named
    return _read_labels(beside) if beside.is_file() else ()


def settings_beside(path: Path) -> dict[str, Any]:
    """Returns the content of the preprocess.json in the folder or beside the file, or nothing."""
    file = (path if path.is_dir() else path.parent) / "preprocess.json"
    return read_json(file) if file.is_file() else {}


def load(
    path: Path, architecture: str | None, preprocess: Preprocess | None, device: str
) -> Classifier:
    """Returns the classifier; `preprocess` overrides what the model says of its images.

    Raises:
        WeightsError: it cannot be read, or cannot run on images of that size; says why.
    """
    kind = kind_of(path)
    if kind in ("onnx", "tflite"):
        return _of_file(path, preprocess)
    if kind == "transformers":
        network, seen = _transformers(path, preprocess)
    else:
        network, seen = _timm(path, architecture, preprocess)
    return _of_network(path, network, seen, device)


_EXPECTED = (
    "a folder that timm (save_for_hf) or transformers (save_pretrained) wrote, a timm checkpoint "
    "(.safetensors, .pth), or a .onnx or .tflite file"
)


def _config(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder}: no config.json in it. Expected {_EXPECTED}") from error
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder / 'config.json'}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{folder / 'config.json'}: expected an object, found {values!r:.40}")
    return values


def _config_labels(config: dict[str, Any]) -> tuple[str, ...]:
    found = config.get("label_names") or config.get("pretrained_cfg", {}).get("label_names")
    found = found or config.get("id2label") or ()
    if isinstance(found, dict):
        found = [found[key] for key in sorted(found, key=int)]
    described = config.get("label_descriptions") or {}
    return tuple(str(described.get(name, name)) for name in found)


def _read_labels(path: Path) -> tuple[str, ...]:
    """One a line; the numbers that some tools put in front ("0 cat") are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").strip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: not UTF-8 ({error}). Save it as UTF-8") from error
    lines = [line.strip() for line in lines]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if len(lines) > 1 and all(n and int(n[1]) == row for row, n in enumerate(numbered)):
        return tuple(n[2] for n in numbered if n)
    return tuple(lines)


def _of_network(path: Path, network: Any, seen: Pixels, device: str) -> Classifier:
    from captioning.teachers.classifier_module import Network

    wrapped = Network(network, seen.window).to(device).eval()
    size = seen.prepare(_blank(seen.preprocess)).shape
    try:
        outputs, _ = wrapped.look(np.zeros((1, *size), dtype=np.float32))
    except Exception as error:  # torch and the networks raise whatever they like
        raise WeightsError(_cannot_run(path, size, error)) from error
    num_params = sum(parameter.numel() for parameter in network.parameters())
    return Classifier(seen, wrapped.look, outputs.shape[1], num_params, wrapped)


def _blank(preprocess: Preprocess | None) -> Image.Image:
    size = (preprocess.width, preprocess.height) if preprocess else (256, 256)
    return Image.new("RGB", size)


def _timm(
    path: Path, architecture: str | None, preprocess: Preprocess | None
) -> tuple[Any, Pixels]:
    timm = require("timm", "captioning")
    network = _timm_folder(path) if path.is_dir() else _timm_checkpoint(path, architecture)
    if preprocess is not None:
        return network, pixels.of_record(preprocess)
    return network, pixels.of_timm(timm.data.resolve_model_data_config(network))


def _timm_folder(path: Path) -> Any:
    timm = require("timm", "captioning")
    try:
        return timm.create_model(f"local-dir:{path}", pretrained=True)
    except Exception as error:  # unknown architecture, missing or other weights
        raise WeightsError(f"{path}: timm cannot load it ({what_failed(error)})") from error


def _timm_checkpoint(path: Path, architecture: str | None) -> Any:
    timm = require("timm", "captioning")
    name = architecture or _stated_architecture(path)
    if name is None:
        raise WeightsError(
            f"{path}: a checkpoint alone does not say which network it is of. Name it in "
            "caption.teacher.architecture, as timm does: mobilenetv3_small_050"
        )
    if not timm.is_model(name):
        raise WeightsError(
            f"{path}: timm knows no architecture '{name}'.{closest(name, timm.list_models())}"
        )
    tensors = _tensors(path)
    try:
        network = timm.create_model(name, num_classes=_num_classes(name, tensors))
        network.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not the weights of a {name} ({what_failed(error)})") from error
    return network


def _tensors(path: Path) -> dict[str, Any]:
    """The tensors, the averaged ones where there are some; nothing in the file is executed."""
    models = require("timm.models", "captioning")
    return _read(path, lambda: models.load_state_dict(str(path), weights_only=True))


def _stated_architecture(path: Path) -> str | None:
    """What timm's trainer writes into its checkpoints."""
    if path.suffix == ".safetensors":
        return None
    torch = require("torch", "captioning")
    whole = _read(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    stated = whole.get("arch") if isinstance(whole, dict) else None
    return stated if isinstance(stated, str) else None


def _read(path: Path, act: Callable[[], Any]) -> Any:
    """Of Python's own classes a checkpoint may hold the trainer's options, which do nothing."""
    torch = require("torch", "captioning")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return act()
    except Exception as error:  # pickle, zip and safetensors raise their own
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({what_failed(error)})"
        ) from error


def _num_classes(name: str, tensors: dict[str, Any]) -> int:
    timm = require("timm", "captioning")
    layer = timm.get_pretrained_cfg(name, allow_unregistered=False).classifier
    layer = layer[0] if isinstance(layer, tuple | list) else layer
    weight = tensors.get(f"{layer}.weight")
    if weight is None:
        raise ValueError(f"no '{layer}.weight' in it, found {', '.join(list(tensors)[:3])}, ...")
    return len(weight)


def _transformers(path: Path, preprocess: Preprocess | None) -> tuple[Any, Pixels]:
    transformers = require("transformers", "captioning")
    try:
        with quiet():
            network, about = transformers.AutoModelForImageClassification.from_pretrained(
                path, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # on bad bytes safetensors raises its own
        raise WeightsError(
            f"{path}: not readable as a transformers image classifier ({what_failed(error)})"
        ) from error
    lacking = sorted(about["missing_keys"]) + [str(key) for key in about["mismatched_keys"]]
    if lacking:
        raise WeightsError(
            f"{path}: no weights for {lacking[0]}, so it was not fine-tuned as a classifier. "
            "Expected what save_pretrained wrote of an ...ForImageClassification"
        )
    if network.config.problem_type == "multi_label_classification":
        raise WeightsError(f"{path}: a multi-label classifier. Expected one class an image")
    if preprocess is not None:
        return network, pixels.of_record(preprocess)
    return network, pixels.of_processor(_processor(path))


def _processor(path: Path) -> Any:
    transformers = require("transformers", "captioning")
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            path, local_files_only=True, backend="pil"
        )
    except Exception as error:  # missing, or of a class that is not there
        raise WeightsError(
            f"{path}: no image processor ({what_failed(error)}). Expected a preprocessor_config.json, "
            "or caption.teacher.preprocess in the config"
        ) from error


def _of_file(path: Path, preprocess: Preprocess | None) -> Classifier:
    if preprocess is None:
        raise WeightsError(
            f"{path}: how are images prepared for it? Put a preprocess.json beside it, or say it "
            "in caption.teacher.preprocess"
        )
    try:
        runner = runtimes.load(path)
        num_params = read_graph(path).num_params
    except (EdgeKDError, UsageError) as error:
        raise WeightsError(str(error)) from error
    if len(runner.inputs) != 1:
        raise WeightsError(f"{path}: expected one input, an image, found {len(runner.inputs)}")
    runner.inputs[0] = _channels_found(runner.inputs[0])

    def look(inputs_BHWC: np.ndarray) -> tuple[np.ndarray, None]:
        return runtimes.predict_logits(runner, inputs_BHWC), None

    seen = pixels.of_record(preprocess)
    size = (preprocess.height, preprocess.width, 3)
    try:
        outputs, _ = look(np.zeros((1, *size), dtype=np.float32))
    except Exception as error:  # runtimes raise whatever they like
        raise WeightsError(_cannot_run(path, size, error)) from error
    if outputs.ndim != 2:
        raise WeightsError(f"{path}: expected outputs [1, classes], found {list(outputs.shape)}")
    return Classifier(seen, look, outputs.shape[1], num_params)


def _channels_found(spec: TensorSpec) -> TensorSpec:
    """The input with its layout; one whose height and width are open looks like NHWC otherwise."""
    is_first = len(spec.shape) == 4 and spec.shape[1] == 3 and spec.shape[3] != 3
    return replace(spec, layout="NCHW") if is_first else spec


def _cannot_run(path: Path, size: tuple[int, ...], error: Exception) -> str:
    return (
        f"{path}: it cannot run on images of {size[0]} x {size[1]} pixels ({what_failed(error)}). "
        "Set the size it was made for in caption.teacher.preprocess"
    )
