"""targets.npz, as everything that learns or measures by soft targets reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekd.errors import SchemaError

SCHEMA = 1


def load(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a targets.npz; `edgekd.records.SoftTargets` says which.

    A file without a number is of the first version.

    Raises:
        SchemaError: another version.
    """
    with np.load(path) as stored:
        found = int(stored["schema"]) if "schema" in stored else 1
        if found != SCHEMA:
            raise SchemaError(path, found, SCHEMA, "Make it anew with: edgekd caption CONFIG")
        return {name: stored[name] for name in stored.files}
