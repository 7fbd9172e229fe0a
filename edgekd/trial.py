"""A trial before captioning everything: nine images, what is said of them, and what the rest takes."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from captioning import captions as captions_io
from captioning import contact_sheet, trial
from captioning import stage as captioning
from edgekd import costs, extras
from edgekd.errors import DataError
from edgekd.manifest import Manifest
from edgekd.progress import Progress, silent
from edgekd.records import Caption, Item
from edgekd.report_format import DASH, duration, plural
from edgekd.run_config import RunConfig
from edgekd.running import Quiet, Run
from edgekd.sizes import format_size
from edgekd.stages import STAGES, read_data
from edgekd.store import RunStore, write_text

PAGE = "trial.html"
# Kinds whose looks cost money or much time: with one of them nothing beside what is shown is looked at.
_DEAR = ("openai", "transformers")


def run(config: RunConfig, page: Path | None = None, progress: Progress = silent) -> dict[str, Any]:
    """Captions nine images as the run would, writes the page, returns what it says.

    Everything else is done in a folder that goes afterwards; of the run nothing is touched. The page
    is RUN/trial.html where none is named.

    Raises:
        DataError: there is no training image.
    """
    extras.ensure(*config.caption.extras)
    manifest = read_data(config)
    also_to_fit = not any(teacher.kind in _DEAR for teacher in config.caption.teachers)
    few, shown = trial.images_of_trial(manifest, config.seed, also_to_fit)
    if not shown:
        raise DataError(f"{config.data.folder}: no training image, so there is nothing to try on")
    with tempfile.TemporaryDirectory(prefix="edgekd-trial-") as scratch:
        found = _tried(config, few, shown, RunStore(Path(scratch)), progress)
    whole = _projection(config, manifest, found, len(few.items))
    name = ", ".join(teacher["name"] for teacher in found["teachers"])
    folder = config.data.folder.expanduser()
    entries = [
        contact_sheet.entry(
            folder / item.path, item.path, found["captions"][item.id], found["scores"][item.id]
        )
        for item in shown
    ]
    path = page or config.folder / PAGE
    write_text(path, contact_sheet.render_html(config.name, name, entries, whole))
    return _values(name, entries, whole, found["seconds_per_image"], path)


def text(values: dict[str, Any]) -> str:
    """Returns the trial for a terminal: every image with what is kept of it, then the whole."""
    lines = []
    for image in values["images"]:
        kept = [caption for caption in image["captions"] if caption["dropped"] is None]
        lines.append(image["path"])
        lines += [f"  {caption['text']}" for caption in kept]
        lines += [f"  {score}" for score in image["scores"]]
        dropped = len(image["captions"]) - len(kept)
        lines += [f"  {plural(dropped, 'caption')} dropped"] if dropped else []
    whole = values["whole"]
    pace = values["seconds_per_image"]
    took = DASH if pace is None else f"{pace:.3g} s an image"
    known = [f"{whole['num_captions']:,} captions of {plural(whole['num_images'], 'image')}"]
    if whole["seconds"] is not None:
        known.append(f"about {duration(whole['seconds'])}")
    if whole["num_tokens"] is not None:
        known.append(f"{whole['num_tokens']:,} tokens")
    if whole["cost"] is not None:
        known.append(f"{whole['cost']:.3g} {whole['currency']}")
    known.append(f"{format_size(whole['disk_bytes'])} on disk")
    lines += [f"{values['teacher']}: {took}", f"Everything: {', '.join(known)}"]
    return "\n".join([*lines, f"Page: {values['page']}"])


def _tried(
    config: RunConfig, few: Manifest, shown: list[Item], store: RunStore, progress: Progress
) -> dict[str, Any]:
    """Caption stage and filter on the images of the trial; what came of it, in plain values."""
    block = trial.BLOCK if len(few.items) == len(shown) else 32
    caption = config.caption.model_copy(
        update={"block_size": block, "workers": 1, "ray_address": None}
    )
    current = Run(config.model_copy(update={"caption": caption}), store, Quiet())
    current.use(few)
    stages = {stage.name: stage for stage in STAGES}
    pace = trial.Pace()

    def heard(done: int, total: int, what: str) -> None:
        pace(done, total, what)
        progress(done, total, what)

    pace.start()
    _, result = stages["caption"].act(current, heard)
    current.records["caption"] = {"result": result}
    stages["filter"].act(current, silent)
    captions: dict[str, list[Caption]] = defaultdict(list)
    for said in captions_io.load(store.path("captions.parquet")):
        captions[said.item_id].append(said)
    files = [
        captioning.teacher_files(store, number) for number in range(1, 1 + len(result["teachers"]))
    ]
    scores: dict[str, list[str]] = defaultdict(list)
    for each, teacher in zip(files, result["teachers"], strict=True):
        found = trial.top_scores(each, teacher["name"], shown, few.task)
        for item_id, line in found.items():
            scores[item_id].append(line)
    everything = [said for each in captions.values() for said in each]
    return {
        "captions": captions,
        "scores": scores,
        "teachers": result["teachers"],
        "seconds_per_image": pace.seconds_per_image,
        "bytes_per_image": trial.disk_bytes(files, everything, len(few.items)),
        "spent": trial.spent(result["teachers"]),
    }


def _projection(
    config: RunConfig, manifest: Manifest, found: dict[str, Any], num_tried: int
) -> contact_sheet.Projection:
    num_images = len(manifest.items)
    pace = found["seconds_per_image"]
    spent = found["spent"].times(num_images / num_tried)
    limits = [getattr(teacher, "max_cost", None) for teacher in config.caption.teachers]
    said = sum(map(len, found["captions"].values()))
    return contact_sheet.Projection(
        num_images=num_images,
        num_captions=round(said / num_tried * num_images),
        seconds=None if pace is None else pace * num_images,
        cost=spent.cost,
        currency=config.report.currency,
        spending_limit=limits[0] if len(limits) == 1 else None,
        num_tokens=spent.tokens,
        disk_bytes=round(found["bytes_per_image"] * num_images)
        + costs.targets_bytes(config, manifest),
    )


def _values(
    name: str,
    entries: list[contact_sheet.Entry],
    whole: contact_sheet.Projection,
    pace: float | None,
    path: Path,
) -> dict[str, Any]:
    return {
        "teacher": name,
        "page": str(path),
        "seconds_per_image": pace,
        "images": [
            {
                "path": entry.path,
                "captions": [
                    {"text": said.text, "temperature": said.temperature, "dropped": said.dropped}
                    for said in entry.captions
                ],
                "scores": list(entry.scores),
            }
            for entry in entries
        ],
        "whole": vars(whole),
    }
