"""Captioning models of the real classes, tiny and random, saved as transformers saves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.models.smolvlm import processing_smolvlm

if processing_smolvlm.num2words is None:  # for videos only
    processing_smolvlm.num2words = str

_TEXT = (
    "a an the photo of cat dog apple electric guitar red green small on grass with and is in one "
    "sentence describe this image what does shown detail . ! user assistant : table"
)
WORDS = tuple(_TEXT.split())
_SIDE = 32
_MEAN = [0.48, 0.46, 0.41]


def blip(folder: Path, words: Sequence[str] = WORDS, ends: bool = True, **sizes: Any) -> Path:
    """Saves BLIP: 32 px, 2 layers, or by other `sizes` of its vision and text config.

    One that never `ends` fills whatever room it is given.
    """
    tokens = tokenizer(words, pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", bos="[DEC]")
    vision = dict(_vision(), **sizes.get("vision", {}))
    text = {
        "vocab_size": len(tokens) + 3,  # more rows than words, as in released checkpoints
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": tokens.bos_token_id,
        "pad_token_id": tokens.pad_token_id,
        "sep_token_id": tokens.sep_token_id,
        "eos_token_id": 2,
        "initializer_range": 0.3,
    } | sizes.get("text", {})
    config = transformers.BlipConfig(text_config=text, vision_config=vision, initializer_range=0.3)
    side = vision["image_size"]
    images = transformers.BlipImageProcessor(
        size={"height": side, "width": side}, image_mean=_MEAN, image_std=[0.3, 0.3, 0.3]
    )
    network = transformers.BlipForConditionalGeneration(config)
    if not ends:
        network.text_decoder.cls.predictions.bias.data[tokens.sep_token_id] = -1e4
    return _saved(folder, network, transformers.BlipProcessor(images, tokens))


def florence2(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves Florence-2: DaViT of four stages, BART of two layers; its start is forced as usual."""
    named = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "image": "<image>"}
    tokens = tokenizer(words, ["<loc_0>", "<loc_1>"], **named)
    vision = {
        "depths": (1, 1, 1, 1),
        "embed_dim": (8, 8, 16, 16),
        "num_heads": (2, 2, 2, 2),
        "num_groups": (2, 2, 2, 2),
        "window_size": 4,
        "projection_dim": 32,
        "max_position_embeddings": 8,
        "max_temporal_embeddings": 4,
    }
    text = {
        "model_type": "bart",
        "vocab_size": len(tokens),
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 64,
        "bos_token_id": tokens.bos_token_id,
        "pad_token_id": tokens.pad_token_id,
        "eos_token_id": tokens.eos_token_id,
        "decoder_start_token_id": tokens.eos_token_id,
        "forced_bos_token_id": tokens.bos_token_id,
        "init_std": 0.3,
    }
    config = transformers.Florence2Config(
        vision_config=vision, text_config=text, image_token_id=tokens.image_token_id
    )
    images = transformers.CLIPImageProcessor(
        size={"height": _SIDE, "width": _SIDE}, do_center_crop=False, image_mean=_MEAN
    )
    images.image_seq_length = 2  # of one pixel of the last stage: its own mean, and the mean of all
    network = transformers.Florence2ForConditionalGeneration(config)
    network.generation_config.forced_bos_token_id = tokens.bos_token_id
    return _saved(folder, network, transformers.Florence2Processor(images, tokens))


def smolvlm(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves SmolVLM with a Llama of two layers; an image wider or higher than 32 px is split."""
    extra = ["<image>", "<fake_token_around_image>", "<global-img>", "<video>", "\n"]
    extra += [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokens = tokenizer(
        words, bos="<|im_start|>", pad="<pad>", eos="<end_of_utterance>", unk="<unk>", extra=extra
    )
    config = transformers.SmolVLMConfig(
        vision_config=_vision(patch_size=8, hidden_size=16),
        text_config=_language(tokens, "llama"),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = transformers.SmolVLMImageProcessor(
        size={"longest_edge": 2 * _SIDE},
        max_image_size={"longest_edge": _SIDE},
        do_image_splitting=True,
    )
    video = transformers.SmolVLMVideoProcessor(
        size={"longest_edge": _SIDE}, max_image_size={"longest_edge": _SIDE}
    )
    processor = transformers.SmolVLMProcessor(
        images, tokens, video, image_seq_len=4, chat_template=_chat("Assistant:", "user")
    )
    return _saved(folder, transformers.SmolVLMForConditionalGeneration(config), processor)


def qwen2_vl(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves Qwen2-VL; the number of its tokens follows the size of the image."""
    tokens = _qwen_tokens(words)
    vision = {
        "depth": 2,
        "embed_dim": 16,
        "hidden_size": 32,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 8,
    }
    config = transformers.Qwen2VLConfig(
        vision_config=vision, text_config=_qwen_language(tokens, "mrope"), **_qwen_ids(tokens)
    )
    return _qwen_saved(folder, transformers.Qwen2VLForConditionalGeneration(config), tokens)


def qwen2_5_vl(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves Qwen2.5-VL, whose vision layers but the last look into windows."""
    tokens = _qwen_tokens(words)
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "out_hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 24,
        "patch_size": 8,
        "window_size": 32,
        "fullatt_block_indexes": [1],
    }
    config = transformers.Qwen2_5_VLConfig(
        vision_config=vision, text_config=_qwen_language(tokens, "mrope"), **_qwen_ids(tokens)
    )
    return _qwen_saved(folder, transformers.Qwen2_5_VLForConditionalGeneration(config), tokens)


def qwen3_vl(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves Qwen3-VL, which adds features of inner vision layers to its text layers."""
    tokens = _qwen_tokens(words)
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "out_hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 24,
        "patch_size": 8,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    text = _qwen_language(tokens, "default") | {"head_dim": 8}
    config = transformers.Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_ids(tokens))
    return _qwen_saved(folder, transformers.Qwen3VLForConditionalGeneration(config), tokens)


def qwen3_5(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves Qwen3.5, whose text layers but the last keep a running state instead of every token."""
    tokens = _qwen_tokens(words)
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "out_hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 24,
        "patch_size": 8,
        "num_position_embeddings": 16,
    }
    text = _qwen_language(tokens, "default") | {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    config = transformers.Qwen3_5Config(vision_config=vision, text_config=text, **_qwen_ids(tokens))
    return _qwen_saved(folder, transformers.Qwen3_5ForConditionalGeneration(config), tokens)


def llava(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves LLaVA, which stands for the chat models that no family names."""
    named = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    tokens = tokenizer(words, ["<image>"], **named)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**_vision(), projection_dim=16),
        text_config=_language(tokens, "llama"),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}
    )
    processor = transformers.LlavaProcessor(
        images,
        tokens,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat("Assistant:", "user").replace("<end_of_utterance>", "</s>"),
    )
    return _saved(folder, transformers.LlavaForConditionalGeneration(config), processor)


def vit_gpt2(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Saves a ViT with a GPT-2 that reads its states."""
    tokens = tokenizer(words, bos="<|endoftext|>", eos="<|endoftext|>", unk="<unk>", pad="<pad>")
    encoder = transformers.ViTConfig(**_vision(), initializer_range=0.3)
    decoder = transformers.GPT2Config(
        vocab_size=len(tokens),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        initializer_range=0.3,
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = tokens.bos_token_id
    config.pad_token_id = tokens.pad_token_id
    network = transformers.VisionEncoderDecoderModel(config=config)
    network.generation_config.decoder_start_token_id = tokens.bos_token_id
    network.generation_config.eos_token_id = tokens.eos_token_id
    images = transformers.ViTImageProcessor(size={"height": _SIDE, "width": _SIDE})
    _saved(folder, network, tokens)
    images.save_pretrained(folder)
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "blip": blip,
    "florence2": florence2,
    "smolvlm": smolvlm,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen3_5,
    "llava": llava,
    "encoder_decoder": vit_gpt2,
}


def tokenizer(words: Sequence[str], extra: Sequence[str] = (), **special: str) -> Any:
    """Returns a tokenizer of whole words, with special tokens by their parts (pad="[PAD]")."""
    known = dict.fromkeys([*special.values(), *extra, *words])
    vocabulary = {word: index for index, word in enumerate(known)}
    base = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk"]))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    image = {"image_token": special.pop("image")} if "image" in special else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=base,
        extra_special_tokens=image or list(extra),
        **{f"{part}_token": token for part, token in special.items()},
    )


def _vision(**sizes: int) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": _SIDE,
        "patch_size": 16,
    } | sizes


def _language(tokens: Any, kind: str) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": len(tokens) + 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokens.bos_token_id,
        "pad_token_id": tokens.pad_token_id,
        "eos_token_id": tokens.eos_token_id,
        "initializer_range": 0.3,
    }


def _qwen_tokens(words: Sequence[str]) -> Any:
    extra = ["<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    return tokenizer(words, pad="<|endoftext|>", eos="<|im_end|>", unk="<unk>", extra=extra)


def _qwen_language(tokens: Any, rope: str) -> dict[str, Any]:
    scaling = {"type": rope, "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = _language(tokens, "") | {"rope_scaling": scaling}
    return {key: value for key, value in text.items() if key != "model_type"}


def _qwen_ids(tokens: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokens.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen_saved(folder: Path, network: Any, tokens: Any) -> Path:
    kind = network.config.model_type
    patch = network.config.vision_config.patch_size
    sizes = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    images = transformers.Qwen2VLImageProcessor(patch_size=patch, size=sizes)
    template = _chat("<|im_start|>assistant\n", "<|im_start|>user\n")
    if kind in ("qwen3_vl", "qwen3_5"):
        video = transformers.Qwen3VLVideoProcessor(patch_size=patch)
        processor = transformers.Qwen3VLProcessor(images, tokens, video, chat_template=template)
    else:
        video = transformers.Qwen2VLVideoProcessor(patch_size=patch)
        made = {
            "qwen2_vl": transformers.Qwen2VLProcessor,
            "qwen2_5_vl": transformers.Qwen2_5_VLProcessor,
        }
        processor = made[kind](images, tokens, video, chat_template=template)
    return _saved(folder, network, processor)


def _chat(assistant: str, user: str) -> str:
    image = "<|vision_start|><|image_pad|><|vision_end|>" if "<|" in user else "<image>"
    end = "<|im_end|>" if "<|" in user else "<end_of_utterance>"
    return (
        "{% for m in messages %}"
        "{{ '" + user.replace("\n", "\\n") + "' if m.role == 'user' else '"
        + assistant.replace("\n", "\\n") + "' }}"
        "{% for c in m.content %}{% if c.type == 'image' %}" + image + "{% else %}"
        "{{ ' ' + c.text }}{% endif %}{% endfor %}" + end + "\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + assistant.replace("\n", "\\n") + "' }}{% endif %}"
    )  # fmt: skip


def _saved(folder: Path, network: Any, processor: Any) -> Path:
    """Saves both; weights are drawn anew, large enough that what is said depends on the image."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and parameter.numel() < 10**5:
                parameter.normal_(0, 0.3, generator=generator)
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
