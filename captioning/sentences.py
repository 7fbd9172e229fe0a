"""Sentence embeddings (MiniLM), for carrying names to names and sentences to classes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.extras import require
from edgekd.weights import WeightsFile, find

MODEL = "all_minilm_l6_v2"


class SentenceEncoder:
    """all-MiniLM-L6-v2: mean of the last layer's tokens, scaled to length 1; 384 numbers a text."""

    def __init__(self, path: Path | None = None):
        self.weights: WeightsFile = find(MODEL, path)
        config, tensors, tokenizer = _read(self.weights.path)
        transformers = require("transformers", "captioning")
        self._torch = require("torch", "captioning")
        self._model = transformers.BertModel(transformers.BertConfig(**config))
        safetensors = require("safetensors.torch", "captioning")
        self._model.load_state_dict(safetensors.load(tensors), strict=False)
        self._model.eval()
        self._tokenizer = require("tokenizers", "captioning").Tokenizer.from_str(tokenizer)
        self._tokenizer.enable_truncation(128)
        self._tokenizer.enable_padding()

    def encode(self, texts: list[str], batch_size: int = 64) -> np.ndarray:
        """Returns unit vectors, float32 [len(texts), 384]."""
        torch = self._torch
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                encodings = self._tokenizer.encode_batch(texts[start : start + batch_size])
                ids = torch.tensor([encoding.ids for encoding in encodings])
                mask = torch.tensor([encoding.attention_mask for encoding in encodings])
                hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
                pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                vectors.append(torch.nn.functional.normalize(pooled, dim=1).numpy())
        return np.concatenate(vectors)


def _read(path: Path) -> tuple[dict[str, Any], bytes, str]:
    """Returns (config, safetensors bytes, tokenizer JSON) from a folder or a .zip."""
    if path.is_dir():
        read = {name: (path / name).read_bytes() for name in _FILES}
    else:
        with zipfile.ZipFile(path) as archive:
            read = {name: archive.read(name) for name in _FILES}
    config = json.loads(read["config.json"])
    config.pop("_name_or_path", None)
    return config, read["model.safetensors"], read["tokenizer.json"].decode()


_FILES = ("config.json", "model.safetensors", "tokenizer.json")
