"""The words that benchmarks share on their command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def parser(
    about: str | None, *, photos: str = "", out: str = "", screen: str = ""
) -> argparse.ArgumentParser:
    """Returns a parser with --seeds, and those of --photos, --out and --screen that have a help."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    if photos:
        made.add_argument("--photos", type=Path, help=photos)
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    if out:
        made.add_argument("--out", type=Path, default=Path("runs"), help=out)
    if screen:
        made.add_argument("--screen", action="store_true", help=screen)
    return made


def seeds(words: argparse.Namespace) -> list[int]:
    """Returns the seeds that are asked for; the first one when screening."""
    asked: list[int] = words.seeds
    return asked[:1] if words.screen else asked


def show(figures: dict[str, Any]) -> None:
    """Prints what screening found, by seed; nothing is kept."""
    print(json.dumps({key: entry["per_seed"] for key, entry in figures.items()}, indent=1))
