"""Files that ship with edgekd: ready configs and the demo data, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

from edgekd.errors import EdgeKDError

_PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The folder of the ready YAML files.

    A wheel carries them inside the package (`edgekd/_configs`), a checkout beside it (`configs`).

    Raises:
        EdgeKDError: neither is there.
    """
    candidates = (_PACKAGE / "_configs", _PACKAGE.parent / "configs")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise EdgeKDError(
        "the ready configs are missing: looked in "
        f"{' and '.join(str(folder) for folder in candidates)}. Reinstall edgekd."
    )


def demo_archive() -> Path:
    """The tar.xz archive of the demo images (docs in configs/demo_data/make_demo_data.py).

    Raises:
        EdgeKDError: it is not there.
    """
    archive = configs_dir() / "demo_data" / "fashion_mnist_7500.tar.xz"
    if not archive.is_file():
        raise EdgeKDError(f"{archive}: the demo data is missing. Reinstall edgekd.")
    return archive
