"""Models that embed images and texts together: open_clip's, and transformers' CLIP and SigLIP.

n images or texts, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from captioning.teachers.local_weights import LocalWeights, weights_in, what_failed
from captioning.teachers.quiet import quiet
from edgekd.errors import EdgeKDError, WeightsError, closest
from edgekd.extras import require
from edgekd.store import read_json

Kind = Literal["open_clip folder", "transformers folder", "hub", "architecture"]
_HUB, _LOCAL = "hf-hub:", "local-dir:"
_TEXTS_AT_ONCE = 256
# Without any of these transformers makes a tokenizer that knows no word, and says nothing.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")


@dataclass(frozen=True)
class ClipModel:
    """`images` and `texts` return unit vectors [n, D] float32; `scale` multiplies their cosines."""

    images: Callable[[Sequence[Image.Image]], np.ndarray]
    texts: Callable[[Sequence[str]], np.ndarray]
    scale: float
    num_params: int


def kind_of(model: str, pretrained: str | None) -> Kind:
    """Returns where a model comes from.

    Raises:
        WeightsError: a folder that is none of these, or an architecture without weights.
    """
    folder = folder_of(model)
    if folder is not None:
        return _kind_of_folder(folder)
    if model.startswith(_HUB):
        return "hub"
    if pretrained is None:
        raise WeightsError(
            f"open_clip: '{model}' is no folder, and as an architecture it needs weights. Set "
            "caption.teacher.pretrained to a local file or one of open_clip's tags, or "
            "caption.teacher.model to the folder of a model"
        )
    return "architecture"


def folder_of(model: str) -> Path | None:
    """Returns the local folder that a model names, or None."""
    path = Path(model.removeprefix(_LOCAL))
    return path if model.startswith(_LOCAL) or path.is_dir() else None


def load(model: str, pretrained: str | None, device: str) -> ClipModel:
    """Returns the model.

    Raises:
        WeightsError: it is not there, not readable, or the hub cannot be reached; says what to do.
    """
    kind, folder = kind_of(model, pretrained), folder_of(model)
    if kind == "transformers folder":
        assert folder is not None
        return _of_transformers(folder, device)
    name = f"{_LOCAL}{folder}" if folder is not None else model
    return _of_open_clip(name, pretrained if kind == "architecture" else None, device)


def weights(model: str, pretrained: str | None, name: str, licence: str) -> LocalWeights:
    """Returns the model's weights; of one from the hub, those in its cache.

    Raises:
        WeightsError: there are none.
    """
    kind, folder = kind_of(model, pretrained), folder_of(model)
    if folder is not None:
        found = weights_in(folder)
        if not found:
            raise WeightsError(
                f"{folder}: a config without weights. Expected a .safetensors file beside it"
            )
        return LocalWeights(name, found, licence)
    if kind == "architecture" and Path(str(pretrained)).is_file():
        return LocalWeights(name, (Path(str(pretrained)),), licence)
    return LocalWeights(name, (_cached(model, pretrained),), licence, "hub")


def _kind_of_folder(folder: Path) -> Kind:
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder. Expected one with open_clip_config.json")
    if (folder / "open_clip_config.json").is_file():
        return "open_clip folder"
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder}: expected open_clip_config.json (open_clip) or config.json (transformers) in it"
        )
    try:
        config = read_json(folder / "config.json")
    except EdgeKDError as error:
        raise WeightsError(str(error)) from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if "clip" not in str(found) and "siglip" not in str(found):
        raise WeightsError(
            f"{folder / 'config.json'}: model_type '{found}', expected one that embeds images and "
            "texts: clip, siglip, ..."
        )
    return "transformers folder"


def _of_open_clip(name: str, pretrained: str | None, device: str) -> ClipModel:
    open_clip, torch = require("open_clip", "captioning"), require("torch", "captioning")
    with quiet():
        try:
            network, _, prepare = open_clip.create_model_and_transforms(
                name, pretrained=pretrained, device=device, require_pretrained=True
            )
            tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:  # from the hub, torch, json and open_clip itself
            raise WeightsError(_cannot_load(name, pretrained, error)) from error
    network.eval()

    @torch.inference_mode()
    def images(given: Sequence[Image.Image]) -> np.ndarray:
        batch = torch.stack([prepare(image) for image in given]).to(device)
        return network.encode_image(batch, normalize=True).float().cpu().numpy()

    @torch.inference_mode()
    def texts(given: Sequence[str]) -> np.ndarray:
        return network.encode_text(tokenizer(list(given)).to(device), normalize=True)

    return ClipModel(images, _in_batches(texts), _scale(network), _num_params(network))


def _of_transformers(folder: Path, device: str) -> ClipModel:
    transformers, torch = require("transformers", "captioning"), require("torch", "captioning")
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise WeightsError(
            f"{folder}: no tokenizer in it. Expected {', '.join(_VOCABULARIES[:-1])} or "
            f"{_VOCABULARIES[-1]}"
        )
    with quiet():
        try:
            network, about = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, backend="pil"
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # safetensors and tokenizers raise their own
            fault = f"{folder}: transformers cannot load it ({what_failed(error)})"
            raise WeightsError(fault) from error
    if not hasattr(network, "get_image_features") or not hasattr(network, "logit_scale"):
        raise WeightsError(
            f"{folder}: a {type(network).__name__}, which does not embed images and texts together"
        )
    if about["missing_keys"]:
        raise WeightsError(f"{folder}: no weights for {min(about['missing_keys'])}")
    network.to(device).eval()
    # SigLIP was trained on texts padded to their full length, and looks at the padding.
    siglip = "siglip" in network.config.model_type
    most = network.config.text_config.max_position_embeddings
    padding = {"padding": "max_length" if siglip else True, "truncation": True, "max_length": most}

    @torch.inference_mode()
    def images(given: Sequence[Image.Image]) -> np.ndarray:
        inputs = processor(images=list(given), return_tensors="pt").to(device)
        return _unit(network.get_image_features(**inputs).pooler_output).float().cpu().numpy()

    @torch.inference_mode()
    def texts(given: Sequence[str]) -> np.ndarray:
        said = [text.lower() for text in given] if siglip else list(given)
        inputs = tokenizer(said, return_tensors="pt", **padding).to(device)
        names = ("input_ids",) if siglip else ("input_ids", "attention_mask")
        asked = {name: inputs[name] for name in names}
        return _unit(network.get_text_features(**asked).pooler_output)

    return ClipModel(images, _in_batches(texts), _scale(network), _num_params(network))


def _in_batches(texts: Callable[[Sequence[str]], Any]) -> Callable[[Sequence[str]], np.ndarray]:
    def encode(given: Sequence[str]) -> np.ndarray:
        starts = range(0, len(given), _TEXTS_AT_ONCE)
        parts = [texts(given[start : start + _TEXTS_AT_ONCE]) for start in starts]
        return np.concatenate([part.float().cpu().numpy() for part in parts])

    return encode


def _unit(vectors: Any) -> Any:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _scale(network: Any) -> float:
    return float(network.logit_scale.detach().exp())


def _num_params(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _cached(model: str, pretrained: str | None) -> Path:
    open_clip = require("open_clip", "captioning")
    with quiet():
        try:
            if model.startswith(_HUB):
                found = open_clip.download_pretrained_from_hf(model.removeprefix(_HUB))
            else:
                known = open_clip.get_pretrained_cfg(model, pretrained)
                found = open_clip.download_pretrained(known)
        except Exception as error:  # from the hub, whichever way
            raise WeightsError(_cannot_load(model, pretrained, error)) from error
    return Path(found)


def _cannot_load(name: str, pretrained: str | None, error: Exception) -> str:
    """One line for what open_clip says, which may list all it knows."""
    open_clip = require("open_clip", "captioning")
    if name.startswith(_LOCAL):
        return f"{name.removeprefix(_LOCAL)}: open_clip cannot load it ({what_failed(error)})"
    if name.startswith(_HUB):
        return f"open_clip: '{name}' cannot be loaded ({what_failed(error)}). {_OFFLINE}"
    if open_clip.get_model_config(name) is None:
        near = closest(name, open_clip.list_models())
        return f"open_clip: no architecture '{name}'.{near} Or name a local folder"
    tags = open_clip.list_pretrained_tags_by_model(name)
    if Path(str(pretrained)).is_file():
        return f"{pretrained}: not the weights of a {name} ({what_failed(error)})"
    if pretrained not in tags:
        return (
            f"open_clip: '{pretrained}' is no file and no tag of {name}.{closest(str(pretrained), tags)}"
            f" Its tags: {', '.join(tags) or 'none'}"
        )
    return f"open_clip: {name} '{pretrained}' cannot be loaded ({what_failed(error)}). {_OFFLINE}"


_OFFLINE = (
    "Where the hub cannot be reached, set caption.teacher.model to a local folder with "
    "open_clip_config.json and its weights, or caption.teacher.pretrained to a local file"
)
