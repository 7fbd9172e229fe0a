"""The first steps: a config for a folder, and the demo's images unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import yaml

from edgekd import assets, manifest
from edgekd import config as configs
from edgekd.errors import DataError, UsageError
from edgekd.store import remove_leftovers, scratch_folder, write_text

_TEMPLATE = """\
# Written by edgekd init. Keys and defaults: docs/configuration.md
name: {name}
seed: 0
data:
  folder: {folder}
  classes: {classes}
  licence: not stated        # of the images; goes into the model card
{labels}
caption:
  captions_per_image: 3
  temperatures: [0.5, 1.0, 1.5]
distill:
  arch: mobilenetv4_conv_small   # others: edgekd list students
  image_size: {image_size}
  steps: {steps}
prune:
  macs_ratio: 0.6            # share of the multiply-accumulates kept
check:
  budget: 10MB               # of the chosen file; exit code 3 when over
"""


def config_text(folder: Path, classes: list[str] | None, multilabel: bool = False) -> str:
    """Returns the YAML of a config for `folder`.

    Raises:
        ConfigError: names that cannot be classes.
        DataError: no folder or no images, or no class names are to be had.
    """
    config = configs.parse(
        manifest.DataConfig,
        {"folder": folder, "classes": classes, "multilabel": multilabel},
        "init",
    )
    built = manifest.build(config, folder.name, seed=0)
    labelled = sum(item.label is not None for item in built.items)
    typical = sorted(max(item.width, item.height) for item in built.items)[len(built.items) // 2]
    images = len(built.of("train"))
    return _TEMPLATE.format(
        name=_identifier(folder.resolve().name),
        folder=_inline(str(folder)),
        classes=_inline(list(built.task.classes)) + ("\n  multilabel: true" if multilabel else ""),
        labels=f"  # {len(built.items)} images, {labelled} of them labelled",
        image_size=64 if typical <= 64 else 96 if typical <= 128 else 128,
        steps=max(500, min(4000, images * 20 // 64)),
    )


def write_new(path: Path, text: str) -> None:
    """Writes a file that is not there yet.

    Raises:
        UsageError: it is there.
    """
    if path.exists():
        raise UsageError(f"{path}: is there already. Choose another name with --out, or remove it")
    write_text(path, text)


def unpack_demo(target: Path) -> Path:
    """Returns the folder of the demo images, unpacked under `target` unless they are there.

    Raises:
        DataError: `target` holds something else.
        DiskError: it cannot be written.
    """
    folder = target / "fashion_mnist"
    if folder.is_dir():
        if not (folder / "labels.csv").is_file():
            raise DataError(f"{folder}: is not the demo's data. Choose another folder with --data")
        return folder
    remove_leftovers(target.glob(".fashion_mnist.*.tmp"))
    with scratch_folder(folder) as temporary, tarfile.open(assets.demo_archive()) as archive:
        # Python before 3.11.4 (Debian 12 has 3.11.2) knows no filters; the archive is our own.
        filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(temporary, **filters)
        (temporary / "fashion_mnist").rename(folder)
    return folder


def _identifier(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-")
    return kept or "run"


def _inline(value: object) -> str:
    """The value as YAML for the place after a key; a long list goes on over further lines."""
    width = 10**9 if isinstance(value, str) else 90
    text = yaml.safe_dump(value, default_flow_style=True, width=width, allow_unicode=True)
    return text.split("\n...")[0].strip().replace("\n", "\n    ")
