"""Where a captioning model lies: a local folder, or the folder the hub's cache keeps it in."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.teachers.local_weights import LocalWeights, settings_in, weights_in
from edgekd.errors import WeightsError
from edgekd.extras import require
from edgekd.store import digest, file_sha256

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CARD_LICENCE = re.compile(r"\A---\s*\n(?:.*\n)*?license:[ \t]*(\S+)")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder. `commit` is that of the hub, or None for a folder of the user's own."""

    name: str
    folder: Path
    commit: str | None

    @property
    def config(self) -> dict[str, Any]:
        """What config.json says."""
        try:
            values = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"model: {self.folder}/config.json is no JSON ({error})") from error
        if not isinstance(values, dict):
            raise WeightsError(f"model: {self.folder}/config.json holds no settings")
        return values

    @property
    def digest(self) -> str:
        """The digest of the files' bytes, or of the commit, which the hub keeps them under."""
        if self.commit is not None:
            return digest([self.name, self.commit])
        files = {*settings_in(self.folder), *self.folder.glob("*.jinja"), *weights_in(self.folder)}
        return digest({file.name: file_sha256(file) for file in sorted(files)})

    def origin(self) -> dict[str, Any]:
        """Returns what the report says of the weights."""
        weights = LocalWeights(self.name, weights_in(self.folder), self._licence)
        found = weights.origin(used=True)
        if self.commit is not None:
            found["source"] = f"hub {self.name} at {self.commit[:12]}"
        return found

    def num_params(self) -> int:
        """Returns how many numbers the weights hold, by the heads of their files."""
        safe_open = require("safetensors", "captioning").safe_open
        total = 0
        for file in self.folder.glob("*.safetensors"):
            with safe_open(file, "pt") as tensors:
                for key in list(tensors.keys()):
                    total += math.prod(tensors.get_slice(key).get_shape())
        return total

    @property
    def _licence(self) -> str:
        card = self.folder / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        found = _CARD_LICENCE.match(text)
        return f"{found[1]}, as its card says" if found else "as the user stated"


def find(model: str, revision: str | None = None) -> ModelFiles:
    """Returns the files of a local folder or of a model of the hub; weights are not fetched yet.

    Raises:
        WeightsError: no such folder or not a whole one, or the hub cannot be reached; names both
            ways to give a model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _of_folder(folder)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise WeightsError(
            f"model: no folder '{model}'. Expected a folder with config.json, .safetensors and "
            "tokenizer files, or an id of the hub like Salesforce/blip-image-captioning-base"
        )
    hub = require("transformers", "captioning").utils.hub
    try:
        path = Path(hub.cached_file(model, "config.json", revision=revision))
    except Exception as error:  # of requests, the hub and transformers, each its own
        raise WeightsError(unreachable(model, error)) from error
    return ModelFiles(model, path.parent, path.parent.name)


def unreachable(model: str, error: Exception) -> str:
    """Returns one line on a model that the hub did not give."""
    return (
        f"model: no folder '{model}', and the hub did not give it ({_line(error)}). Let this "
        "machine reach the hub, or save the model to a folder elsewhere, copy it here and name "
        "the folder: model: path/to/folder"
    )


def unreadable(folder: Path, error: Exception) -> str:
    """Returns one line on files that transformers could not read."""
    return (
        f"model: {folder} is not readable as a captioning model of transformers ({_line(error)}). "
        "Expected what save_pretrained of the model and of its processor write"
    )


def _of_folder(folder: Path) -> ModelFiles:
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"model: no config.json in '{folder}'. Expected the folder of a model as transformers "
            "saves it, with config.json, .safetensors, tokenizer and image processor files"
        )
    if not any(folder.glob("*.safetensors")):
        found = "only .bin files" if any(folder.glob("*.bin")) else "no weights"
        raise WeightsError(
            f"model: {found} in '{folder}', expected .safetensors. Write them elsewhere with: "
            "model.save_pretrained(folder)"
        )
    return ModelFiles(folder.resolve().name, folder, None)


def _line(error: Exception) -> str:
    first = re.split(r"\.\s", " ".join(str(error).split()), maxsplit=1)[0]
    return f"{type(error).__name__}: {first[:200]}"
