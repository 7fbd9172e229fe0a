"""A captioning model read from its folder: the right class, on the right device, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers.models.smolvlm import processing_smolvlm

from captioning.teachers.captioner_config import CaptionerConfig, FamilyName
from captioning.teachers.captioner_families import Blip, Chat, EncoderDecoder, Family, Florence2
from captioning.teachers.captioner_files import ModelFiles, unreachable, unreadable
from edgekd.errors import WeightsError
from edgekd.machine import best_device

_CLASSES: dict[FamilyName, type[Family]] = {
    "blip": Blip,
    "florence2": Florence2,
    "smolvlm": Chat,
    "qwen_vl": Chat,
    "chat": Chat,
    "encoder_decoder": EncoderDecoder,
}
_FAMILIES: dict[str, FamilyName] = {
    "blip": "blip",
    "florence2": "florence2",
    "smolvlm": "smolvlm",
    "qwen2_vl": "qwen_vl",
    "qwen2_5_vl": "qwen_vl",
    "qwen3_vl": "qwen_vl",
    "qwen3_vl_moe": "qwen_vl",
    "qwen3_5": "qwen_vl",
    "vision-encoder-decoder": "encoder_decoder",
}
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_IMAGE_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def family_of(files: ModelFiles, wanted: str = "auto") -> FamilyName:
    """Returns the family of a model by the model_type of its config.json.

    Raises:
        WeightsError: no captioning model, or not of the family that is wanted.
    """
    settings = files.config
    found = str(settings.get("model_type", ""))
    mapping = transformers.models.auto.modeling_auto
    if found not in mapping.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise WeightsError(
            f"model: {files.name} is of model_type '{found}', which makes no text of images. "
            f"Expected one like {', '.join(sorted(_FAMILIES))}"
        )
    if found == "florence2" and "auto_map" in settings:
        raise WeightsError(
            f"model: {files.name} brings code of its own, which is never run. Expected the form "
            "that transformers reads itself, as florence-community/Florence-2-base has it"
        )
    family = _FAMILIES.get(found, "chat")
    if wanted not in ("auto", family):
        raise WeightsError(
            f"family: {wanted}, and {files.name} is of model_type '{found}', family {family}. "
            f"Expected: family: auto"
        )
    return family


def load(files: ModelFiles, config: CaptionerConfig) -> Family:
    """Returns the model, ready to be asked.

    Raises:
        WeightsError: files are missing or damaged, or do not fit each other.
    """
    kind = _CLASSES[family_of(files, config.family)]
    with _quiet():
        processor, image_processor, tokenizer = _processors(files, kind)
        model = _model(files, config)
    return kind(model, image_processor, tokenizer, processor)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it, transformers draws no bars of its own."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _model(files: ModelFiles, config: CaptionerConfig) -> Any:
    device = best_device() if config.device == "auto" else config.device
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    named = ("bf16" if device == "cuda" else "fp32") if config.dtype == "auto" else config.dtype
    model, info = _read(
        transformers.AutoModelForImageTextToText,
        files,
        use_safetensors=True,
        dtype=kinds[named],
        output_loading_info=True,
    )
    missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        raise WeightsError(
            f"model: {files.name} lacks {len(missing)} of its tensors, such as '{missing[0]}'. "
            "Expected the weights that its config.json describes"
        )
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # no such device, or too little memory on it
        raise WeightsError(f"device: {device} does not take {files.name} ({error})") from error


def _processors(files: ModelFiles, kind: type[Family]) -> tuple[Any, Any, Any]:
    """Returns (processor or None, image processor, tokenizer)."""
    if kind is EncoderDecoder:
        processor = None
        image_processor = _read(transformers.AutoImageProcessor, files)
        tokenizer = _read(transformers.AutoTokenizer, files)
    else:
        if processing_smolvlm.num2words is None:  # its processor wants it, and needs it for video
            processing_smolvlm.num2words = str
        processor = _read(transformers.AutoProcessor, files)
        image_processor = getattr(processor, "image_processor", None)
        tokenizer = getattr(processor, "tokenizer", None)
    _check_there(files, "tokenizer", tokenizer, _TOKENIZERS)
    _check_there(files, "image processor", image_processor, _IMAGE_PROCESSORS)
    return processor, image_processor, tokenizer


def _check_there(files: ModelFiles, what: str, found: Any, names: tuple[str, ...]) -> None:
    """Without their files, transformers makes a tokenizer without words, or resizes as it likes."""
    if found is None or not any((files.folder / name).is_file() for name in names):
        raise WeightsError(
            f"model: {files.name} has no {what}. Expected {' or '.join(names[:2])} beside the "
            "weights, as processor.save_pretrained writes them"
        )


def _read(auto: Any, files: ModelFiles, **settings: Any) -> Any:
    local = files.commit is None
    source = str(files.folder) if local else files.name
    try:
        return auto.from_pretrained(
            source,
            revision=files.commit or "main",
            local_files_only=local,
            trust_remote_code=False,
            **settings,
        )
    except Exception as error:  # safetensors, tokenizers and the hub raise their own
        line = unreadable(files.folder, error) if local else unreachable(files.name, error)
        raise WeightsError(line) from error
