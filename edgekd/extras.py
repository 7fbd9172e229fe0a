"""Heavy libraries come with install extras; a missing one is named with the line that installs it."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from edgekd.errors import MissingExtraError

# What the stages of an extra import; looked for before a run starts, not when it is half done.
_MODULES = {
    "captioning": (
        *("torch", "timm", "transformers", "safetensors", "sklearn", "scipy", "threadpoolctl"),
        *("open_clip", "httpx2", "tenacity", "datasketch", "py3langid"),
    ),
    "students": ("torch", "timm", "safetensors", "albumentations", "torch_pruning"),
    "export": ("torch", "litert_torch", "ai_edge_quantizer", "onnx", "onnxscript", "onnxslim"),
    "privacy": ("skimage", "presidio_analyzer"),
    "scale": ("ray", "pandas"),
}


def ensure(*extras: str) -> None:
    """Checks that the libraries of install extras are there, without importing them.

    Raises:
        MissingExtraError: names what is missing and the pip line.
    """
    lacking = {
        extra: [name for name in _MODULES[extra] if importlib.util.find_spec(name) is None]
        for extra in extras
    }
    missing = sorted({name for names in lacking.values() for name in names})
    if missing:
        wanted = ",".join(extra for extra, names in lacking.items() if names)
        raise MissingExtraError(
            f"{', '.join(missing)}: not installed, and this run needs them. "
            f"Install them with: pip install 'edgekd[{wanted}]'"
        )


def require(module: str, extra: str) -> ModuleType:
    """Returns the imported module.

    Raises:
        MissingExtraError: it is not installed; names the pip line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name.split(".")[0]):
            raise
        raise MissingExtraError(
            f"{module} is not installed, and this step needs it. "
            f"Install it with: pip install 'edgekd[{extra}]'"
        ) from error
