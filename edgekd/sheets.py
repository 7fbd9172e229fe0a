"""A sampling sheet of a run's captions, and what people answered on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captioning import captions as captions_io
from captioning import sampling_sheet
from edgekd import manifest as manifests
from edgekd import store
from edgekd.errors import UsageError
from edgekd.report_format import DASH, interval, percent, plural, without_nan
from edgekd.run_config import RunConfig

ANSWERS = "captions/answers.json"
SCHEMA = 1
NUM_CAPTIONS = 100
_CAPTIONS = "captions.parquet"


def draw(config: RunConfig, sheet: Path, num_captions: int = NUM_CAPTIONS) -> dict[str, Any]:
    """Writes the sheet of a run's kept captions, with its key; returns what it holds.

    Raises:
        UsageError: the run has no captions yet, none was kept, or the sheet is there already.
    """
    captions = _captions(config.folder)
    manifest = manifests.load(config.folder / "manifest.parquet")
    folder = config.data.folder.expanduser()
    rows = sampling_sheet.draw(
        captions_io.load(captions),
        {item.id: str(folder / item.path) for item in manifest.items},
        manifest.task,
        num_captions,
        config.seed,
    )
    if not rows:
        raise UsageError(f"{captions}: no caption was kept, so there is nothing to ask about")
    key = sampling_sheet.write(rows, sheet)
    sentences = sum(row.about == "sentence" for row in rows)
    return {"sheet": str(sheet), "key": str(key), "captions": sentences, "claims": len(rows)}


def drawn_text(values: dict[str, Any], folder: Path) -> str:
    """Returns what to do with a sheet."""
    return (
        f"{values['sheet']}: {plural(values['claims'], 'claim')} of "
        f"{plural(values['captions'], 'caption')}. Write yes, no or unclear into the last column; "
        f"leave {values['key']} beside it.\n"
        f"Next: edgekd caption {folder} --answers {values['sheet']}"
    )


def read(config: RunConfig, sheet: Path) -> dict[str, Any]:
    """Returns the shares of claims that people call true, and keeps them in the run for its report.

    Raises:
        UsageError: the run has no captions, or there is no such sheet.
        DataError: answers that are missing or strange, all at once.
    """
    captions = _captions(config.folder)
    values = {
        "schema": SCHEMA,
        "sheet": sheet.name,
        "captions_sha256": store.file_sha256(captions),
        **sampling_sheet.rates(sampling_sheet.read(sheet)),
    }
    plain: dict[str, Any] = without_nan(values)
    store.write_json(config.folder / ANSWERS, plain)
    return plain


def answers_text(values: dict[str, Any], folder: Path) -> str:
    """Returns the shares a line each, and how the report gets them."""
    named = [
        ("claims about class and attributes", values["overall"]),
        ("whole sentences", values["sentences"]),
        *((f"at temperature {name}", rate) for name, rate in values["by_temperature"].items()),
        *((f"about {name}", rate) for name, rate in values["by_attribute"].items()),
    ]
    width = max(len(name) for name, _ in named)
    lines = [f"{name:{width}}  {_rate(rate)}" for name, rate in named]
    lines.append(f"Kept in {folder / ANSWERS}. Next, for the report: edgekd run {folder}")
    return "\n".join(lines)


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return f"{DASH} (none judged, {rate['num_unclear']} unclear)"
    unclear = f", {rate['num_unclear']} unclear" if rate["num_unclear"] else ""
    return f"{percent(rate['value'])} ({interval(rate)}) of {rate['n']:,}{unclear}"


def _captions(folder: Path) -> Path:
    path = folder / _CAPTIONS
    if not path.is_file():
        raise UsageError(
            f"{path}: no such file. Expected the folder of a run that was captioned; "
            "caption it with: edgekd caption CONFIG"
        )
    return path
