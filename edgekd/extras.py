"""Heavy libraries come with install extras; a missing one is named with the line that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgekd.errors import MissingExtraError


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
