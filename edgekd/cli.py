"""The command line: parse, call one function, print. Data to stdout, progress to stderr."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from edgekd.errors import DiskError, EdgeKDError, GateError, UsageError

if TYPE_CHECKING:
    from edgekd.run_config import RunConfig

app = typer.Typer(
    name="edgekd",
    help="From a folder of images and class names to a checked mobile model bundle.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
bundle_app = typer.Typer(
    help="Look into a bundle.zip, or verify it.", no_args_is_help=True, rich_markup_mode="markdown"
)
app.add_typer(bundle_app, name="bundle")
prompts_app = typer.Typer(
    help="Look at task definitions and prompt templates.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(prompts_app, name="prompts")

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
RunOrConfig = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="YAML file (see `edgekd init`), or the folder of a run."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would run, why and at what cost.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Set a config key, as in distill.steps=500.")
]
Until = Annotated[str | None, typer.Option(help="Stop after this stage; see `edgekd list stages`.")]
Out = Annotated[Path | None, typer.Option(help="Run folder instead of the config's.")]


def main() -> NoReturn:
    """Runs the command line; every known error becomes one message and its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    # torchao, which transformers imports, makes torch warn of its own enums.
    logging.getLogger("torch.utils._pytree").addFilter(lambda record: "Enum" not in record.msg)
    try:
        result = app(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except EdgeKDError as error:
        print(f"edgekd: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("edgekd: stopped", file=sys.stderr)
        code = 130
    except Exception as error:
        code = _from_outside(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _from_outside(error)
    sys.exit(code)


def _from_outside(error: Exception) -> int:
    """Says in one line what a reader, a disk or click is to blame for; anything else is ours to fix."""
    from edgekd.store import disk_cause

    cause = disk_cause(error)
    if cause is not None:
        where = f"{cause.filename}: " if cause.filename else ""
        print(
            f"edgekd: {where}cannot be written ({cause.strerror}). Free some space, then start again",
            file=sys.stderr,
        )
    elif not isinstance(error, BrokenPipeError):
        return _from_click(error)
    try:
        sys.stdout.flush()
    except OSError:  # what is left goes nowhere, else the interpreter's own last flush fails too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _from_click(error: Exception) -> int:
    """Prints a usage error as typer does and returns its code; anything else is ours to fix."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is None or code is None:
        if type(error).__name__ == "Abort":  # what click makes of Ctrl-C
            print("edgekd: stopped", file=sys.stderr)
            return 130
        raise error
    show()
    return int(code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("edgekd.yaml"),
    classes: Annotated[
        str | None, typer.Option(help="Comma-separated class names, where the folder gives none.")
    ] = None,
    multilabel: Annotated[
        bool, typer.Option("--multilabel", help="An image shows any number of the classes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a short config for a folder of images.

    Example: `edgekd init photos --classes "cat,dog" -o photos.yaml`
    """
    from edgekd import initial

    named = [name.strip() for name in classes.split(",")] if classes else None
    text = initial.config_text(folder, named, multilabel)
    initial.write_new(out, text)
    _say({"config": str(out)}, as_json, f"Wrote {out}. Next: edgekd validate {out}")


@app.command()
def validate(config: RunOrConfig, set_: Set = None, as_json: Json = False) -> None:
    """Check a config and its images, and show what a run would use.

    Example: `edgekd validate edgekd.yaml`
    """
    from edgekd import manifest, pipeline
    from edgekd.stages import read_data

    parsed = _read(config, set_)
    built = read_data(parsed)
    counts = built.counts()
    shown = {
        "name": parsed.name,
        "classes": list(built.task.classes),
        "counts": counts,
        "skipped": [{"path": path, "reason": reason} for path, reason in built.skipped],
        "num_duplicates": built.num_duplicates,
        "near_copies": built.near_copies(),
        "notes": built.notes,
        "stages": [stage.name for stage in pipeline.planned(parsed)],
    }
    lines = [f"{config}: fine. {len(built.items)} images, {len(built.task.classes)} classes"]
    lines += [
        f"  {split:5} {count['images']:6,} images, {count['labels']:6,} labels"
        for split, count in counts.items()
    ]
    lines += [f"  {line}" for line in manifest.skipped_lines(built, "--json")]
    lines += [f"  {built.num_duplicates} duplicates"] if built.num_duplicates else []
    lines += [f"  {line}" for line in built.notes]
    lines += [f"Next: edgekd run {config}"]
    _say(shown, as_json, "\n".join(lines))


@app.command()
def run(
    config: RunOrConfig,
    set_: Set = None,
    until: Until = None,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run the whole line: captions to bundle and report. Finished stages are reused.

    Example: `edgekd run edgekd.yaml --set distill.steps=3000`
    """
    _run(_read(config, set_, out), until, dry_run, as_json)


@app.command()
def caption(
    config: RunOrConfig,
    set_: Set = None,
    out: Out = None,
    dry_run: DryRun = False,
    trial: Annotated[
        bool, typer.Option("--trial", help="Only caption nine images, and say what all would take.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(help="Page of the trial; by default trial.html in the run folder."),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="CSV to write, for people to judge a run's captions on.")
    ] = None,
    sheet_captions: Annotated[int, typer.Option(min=1, help="Captions on the sheet.")] = 100,
    answers: Annotated[
        Path | None, typer.Option(help="Such a sheet with answers, to read back.")
    ] = None,
    check: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only look again at this many images: is what is stored still so?"
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Caption the images, filter the captions and make soft targets of them.

    Example: `edgekd caption edgekd.yaml --set caption.captions_per_image=5`

    Example: `edgekd caption edgekd.yaml --trial`

    Example: `edgekd caption runs/photos --sheet judge.csv`

    Example: `edgekd caption runs/photos --check 20`
    """
    asked = {"--trial": trial, "--sheet": sheet, "--answers": answers, "--dry-run": dry_run}
    asked["--check"] = check is not None
    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: expected one of them at a time")
    if trial:
        _try_captions(config, set_, out, page, as_json)
        return 0
    if check is not None:
        return _check_targets(config, set_, out, check, as_json)
    if sheet or answers:
        _judge_captions(config, set_, out, sheet, sheet_captions, answers, as_json)
        return 0
    _run_up_to("caption", config, set_, out, dry_run, as_json)
    return 0


@app.command()
def distill(
    config: RunOrConfig,
    set_: Set = None,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train the student on the soft targets; what it needs and is missing is made first.

    Example: `edgekd distill runs/demo --set distill.steps=3000`
    """
    _run_up_to("distill", config, set_, out, dry_run, as_json)


@app.command()
def prune(
    config: RunOrConfig,
    set_: Set = None,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Prune the trained student and let it recover; what is missing is made first.

    Example: `edgekd prune runs/demo --set prune.macs_ratio=0.5`
    """
    _run_up_to("prune", config, set_, out, dry_run, as_json)


@app.command()
def export(
    config: RunOrConfig,
    set_: Set = None,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Export all models, fp32 and int8, and measure them as files.

    Example: `edgekd export runs/demo`
    """
    _run_up_to("export", config, set_, out, dry_run, as_json)


@app.command()
def quantize(
    config: RunOrConfig,
    set_: Set = None,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make the int8 files anew, calibrated on training images.

    Example: `edgekd quantize runs/demo --set export.calibration_images=500`
    """
    _run_up_to("quantize", config, set_, out, dry_run, as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    data: Annotated[
        Path | None, typer.Option(help="Where to unpack the images; by default beside the run.")
    ] = None,
    set_: Set = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Unpack the demo images and run configs/demo.yaml on them, as on any folder.

    Example: `edgekd demo --out runs/demo`
    """
    from edgekd import assets, initial
    from edgekd import config as configs

    folder = initial.unpack_demo(data or out.parent / f"{out.name}-data")
    source = assets.configs_dir() / "demo.yaml"
    values = configs.read_yaml(source)
    values["data"]["folder"] = str(folder)
    parsed = _parsed(configs.apply_overrides(values, set_ or []), str(source), out)
    _run(parsed, until, False, as_json)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Model file, bundle.zip or run folder.")],
    budget: Annotated[
        str, typer.Option(help="Size limit: 2MB is 10^6 bytes, 2MiB 2^20.")
    ] = "100MB",
    zipped: Annotated[bool, typer.Option(help="Compare the zipped size.")] = False,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Floor on the run's test accuracy, 0 to 1.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Hold a model against a size budget; exit 3 when it is over, with the largest tensors.

    Example: `edgekd check runs/demo --budget 2MB`
    """
    from edgekd import printing
    from export.budget import check_path

    result = check_path(path, budget, zipped=zipped, min_accuracy=min_accuracy)
    if as_json:
        print(json.dumps(printing.check_values(result), indent=1))
    else:
        print(printing.check_text(result))
    return 0 if result.passed else GateError.exit_code


@app.command()
def bench(
    file: Annotated[Path, typer.Argument(help=".tflite or .onnx file.")],
    runs: Annotated[int, typer.Option(help="Timed runs.")] = 50,
    warmup: Annotated[int, typer.Option(help="Runs before that.")] = 5,
    threads: Annotated[int, typer.Option()] = 1,
    as_json: Json = False,
) -> None:
    """Time an exported file on this machine.

    Example: `edgekd bench runs/demo/exports/student.int8.tflite --runs 100`
    """
    from devices.bench import bench_file
    from edgekd import printing
    from edgekd.records import to_dict

    result = bench_file(file, runs=runs, warmup=warmup, threads=threads)
    _say(to_dict(result), as_json, printing.bench_text(result))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folder; several are compared.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write, instead of those in the run folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a run's report and write its HTML and Markdown anew, or compare several runs.

    Example: `edgekd report runs/demo`

    Example: `edgekd report runs/demo runs/photos --out compare.html`
    """
    if len(folders) > 1:
        _compare(folders, out, as_json)
        return
    from edgekd import report as reports
    from edgekd import store

    (folder,) = folders
    content = reports.load(folder)
    if out is not None:
        store.write_text(out, reports.render_html(content))
    if as_json:
        print(json.dumps(content, ensure_ascii=False, indent=1))
        return
    if out is None:
        try:
            reports.write(content, folder)
        except DiskError as error:  # another person's folder need not be ours to write
            print(f"edgekd: not written anew: {error}", file=sys.stderr)
    _print_summary(content, folder, out)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="students, teachers, devices, stages, configs or runs.")
    ] = "students",
    folder: Annotated[Path, typer.Option(help="Where `list runs` looks.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List what there is: students, teachers, devices, stages, configs or runs.

    Example: `edgekd list students`
    """
    from edgekd import printing

    rows = printing.listing(what, folder)
    if what == "runs" and rows and not as_json:
        printing.print_runs(rows)
        return
    text = "\n".join("  ".join(str(value) for value in row.values()) for row in rows)
    _say(rows, as_json, text or f"no {what}" + (f" in {folder}" if what == "runs" else ""))


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="bundle.zip or its unzipped folder.")],
    images: Annotated[list[Path], typer.Argument(help="Images or folders of images.")],
    top: Annotated[int, typer.Option(help="Classes to name.")] = 3,
    as_json: Json = False,
) -> int:
    """Run images through a bundle.

    Example: `edgekd predict runs/demo/bundle.zip photo.jpg`
    """
    from edgekd import printing
    from edgekd.predictor import open_bundle

    failed = False
    for prediction in open_bundle(bundle).predict(printing.image_files(images), top=top):
        failed = failed or prediction.error is not None
        print(printing.prediction_line(prediction, as_json))
    return 1 if failed else 0


@app.command()
def clean(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    yes: Annotated[bool, typer.Option("--yes", help="Free what can be made again.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a run takes on disk; with --yes, free caches, logs and saved training states.

    Example: `edgekd clean runs/demo --yes`
    """
    from edgekd import printing

    values = printing.disk_use(folder, free=yes)
    _say(values, as_json, printing.disk_text(values, freed=yes))


@bundle_app.command("show")
def bundle_show(
    path: Annotated[Path, typer.Argument(help="bundle.zip or its folder.")], as_json: Json = False
) -> None:
    """List what is in a bundle.

    Example: `edgekd bundle show runs/demo/bundle.zip`
    """
    from edgekd.bundle_files import BundleFiles
    from edgekd.sizes import format_size

    manifest = BundleFiles(path).manifest()
    lines = [
        f"{name:18} {format_size(entry['size_bytes']):>10}  sha256 {entry['sha256'][:12]}"
        for name, entry in manifest["files"].items()
    ]
    _say(manifest, as_json, "\n".join(lines))


@bundle_app.command("verify")
def bundle_verify(
    path: Annotated[Path, typer.Argument(help="bundle.zip or its folder.")], as_json: Json = False
) -> int:
    """Hash everything in a bundle, run its model on its test image, compare.

    Example: `edgekd bundle verify runs/demo/bundle.zip`
    """
    from export.bundle import verify_bundle

    problems = verify_bundle(path)
    _say({"problems": problems}, as_json, "\n".join(problems) or f"{path}: all is well")
    return 1 if problems else 0


@app.command()
def describe(
    config: RunOrConfig,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option(help="YAML file; by default caption.descriptions.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Ask a language model (caption.text_model) what the classes look like, into a file to edit.

    Classes that the file describes already are not asked about. Exit 1 where one stays undescribed.

    Example: `edgekd describe photos.yaml --out looks.yaml`
    """
    from captioning import descriptions
    from captioning.text_models import text_model
    from edgekd import manifest as manifests
    from edgekd.display import Display

    parsed = _read(config, set_)
    target = out or parsed.caption.descriptions
    if parsed.caption.text_model is None or target is None:
        missing = "caption.text_model in the config" if target is not None else "--out FILE"
        raise UsageError(f"describe: needs {missing}; docs/configuration.md says what goes there")
    classes = manifests.build(parsed.data, parsed.name, parsed.seed).task.classes
    with Display() as display:
        display.stage_started("describe", 1, 1)
        found = descriptions.describe(
            classes,
            text_model(parsed.caption.text_model),
            target,
            seed=parsed.seed,
            progress=display.stage_progress,
        )
    counts = {name: len(found.descriptions.texts.get(name, ())) for name in classes}
    lines = [f"{target}: {sum(n > 0 for n in counts.values())} of {len(classes)} classes described"]
    lines += [f"{name}: {why}" for name, why in found.failed.items()]
    _say({"file": str(target), "texts": counts, "failed": found.failed}, as_json, "\n".join(lines))
    return 1 if found.failed else 0


@app.command()
def thin(
    model: Annotated[Path, typer.Argument(help="Folder of an image classifier (transformers).")],
    images: Annotated[Path, typer.Argument(help="Folder of images; no labels are needed.")],
    out: Annotated[Path, typer.Option(help="Folder for the smaller copy.")],
    drop: Annotated[int, typer.Option(min=1, help="Blocks to take out.")] = 1,
    measure: Annotated[str, typer.Option(help="cka or angular.")] = "cka",
    way: Annotated[str, typer.Option(help="greedy or contiguous.")] = "greedy",
    most: Annotated[int, typer.Option(min=32, help="Images to look at.")] = 256,
    as_json: Json = False,
) -> None:
    """Take the blocks out of a teacher that change least, and say what that costs and saves.

    Example: `edgekd thin teachers/vit photos --drop 2 --out teachers/vit-thin`
    """
    from typing import get_args

    from captioning.teachers.thin_folder import Measure, Way, thin_folder
    from edgekd import printing

    for name, value, known in (("measure", measure, Measure), ("way", way, Way)):
        if value not in get_args(known):
            raise UsageError(f"--{name} {value}: expected one of {', '.join(get_args(known))}")
    found = thin_folder(model, images, drop, out, way, measure, most)  # type: ignore[arg-type]
    _say(found, as_json, printing.thinned_text(found, out))


@app.command("private-labels")
def private_labels(
    config: RunOrConfig,
    out: Annotated[Path, typer.Option(help="Table of labels to write; a .json goes beside it.")],
    epsilon: Annotated[float, typer.Option(min=0.01, help="For all answers together.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Below 1 / number of labelled images.")] = 1e-5,
    parts: Annotated[int, typer.Option(min=2, help="Disjoint parts of the labelled images.")] = 100,
    max_answers: Annotated[int | None, typer.Option(min=1, help="Then it abstains.")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Answer for the unlabelled images with differential privacy for the labelled ones.

    The table may leave the house; features, votes and the given labels are not written.

    Example: `edgekd private-labels ward.yaml --epsilon 8 --out private.csv`
    """
    from captioning.private_labels import PrivateLabelsConfig
    from captioning.private_run import answer_privately
    from captioning.teachers.configs import ComposedTeacherConfig
    from edgekd import config as configs
    from edgekd import manifest as manifests
    from edgekd.display import Display

    parsed = _read(config, set_)
    teacher = parsed.caption.teacher
    if not isinstance(teacher, ComposedTeacherConfig):
        raise UsageError(
            f"private-labels: caption.teacher.kind is '{teacher.kind}', expected 'composed': a "
            "network that never saw the labels"
        )
    wanted = {"epsilon": epsilon, "delta": delta, "parts": parts, "max_answers": max_answers}
    private = configs.parse(PrivateLabelsConfig, wanted, "private-labels")
    manifest = manifests.build(parsed.data, parsed.name, parsed.seed)
    with Display() as display:
        display.stage_started("private labels", 1, 1)
        said = answer_privately(
            manifest, parsed.data.folder, teacher, private, out, display.stage_progress
        )
    lines = [f"{out}: written", *(f"{key}: {value}" for key, value in said.items())]
    _say(said, as_json, "\n".join(lines))


@prompts_app.command("show")
def prompts_show(
    name: Annotated[
        str | None, typer.Argument(help="Definition, or a YAML file of yours; all without one.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="One language, as in zh.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Fill in a variable, as in object=cat or classes=cat,dog."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is asked of a teacher and what classes are compared with, filled in.

    Example: `edgekd prompts show classification --language zh --set object=猫`
    """
    from captioning.templates import showing

    values = showing.shown(name, language, set_ or [])
    _say(values, as_json, showing.text(values))


def _run(config: RunConfig, until: str | None, dry_run: bool, as_json: bool) -> None:
    from edgekd import pipeline
    from edgekd.display import Display

    if dry_run:
        _print_plan(config, until, (), as_json)
        return
    with Display() as display:
        try:
            content = pipeline.run(config, until, display)
        except GateError:
            _print_run(_written_report(config.folder), config.folder, until, as_json)
            raise
    _print_run(content, config.folder, until, as_json)


def _run_up_to(
    verb: str,
    path: Path,
    set_: list[str] | None,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """One stage command: what is missing up to its last stage, and no stage that it does not need."""
    from edgekd import pipeline, printing
    from edgekd.display import Display

    config = _read(path, set_, out)
    until, skip = pipeline.VERBS[verb]
    if dry_run:
        _print_plan(config, until, skip, as_json)
        return
    with Display() as display:
        content = pipeline.run(config, until, display, skip)
    content |= {"next": printing.next_command(verb, config)}
    _say(content, as_json, printing.done_text(content))


def _try_captions(
    path: Path, set_: list[str] | None, out: Path | None, page: Path | None, as_json: bool
) -> None:
    from edgekd import trial
    from edgekd.display import Display

    config = _read(path, set_, out)
    with Display() as display:
        display.stage_started("trial", 1, 1)
        values = trial.run(config, page, display.stage_progress)
    _say(values, as_json, trial.text(values))


def _check_targets(
    path: Path, set_: list[str] | None, out: Path | None, num_images: int, as_json: bool
) -> int:
    from captioning import live_check
    from edgekd import extras, manifest, printing
    from edgekd.display import Display
    from edgekd.stages import temperatures_left_out
    from edgekd.store import RunStore

    config = _read(path, set_, out)
    store = RunStore(config.folder)
    if not store.path("targets", "targets.npz").is_file():
        raise UsageError(f"{config.folder}: no targets yet. First: edgekd caption {path}")
    extras.ensure(*config.caption.extras)
    with Display() as display:
        display.stage_started("check", 1, 1)
        found = live_check.check(
            manifest.load(store.path("manifest.parquet")),
            config.data.folder.expanduser(),
            config.caption,
            config.targets,
            store,
            config.seed,
            num_images,
            config.filter.rules,
            display.stage_progress,
            temperatures_left_out(config, store),
        )
    _say(printing.live_check_values(found), as_json, printing.live_check_text(found))
    return 0 if found.fault is None else EdgeKDError.exit_code


def _judge_captions(
    path: Path,
    set_: list[str] | None,
    out: Path | None,
    sheet: Path | None,
    num_captions: int,
    answers: Path | None,
    as_json: bool,
) -> None:
    from edgekd import sheets

    config = _read(path, set_, out)
    if sheet is not None:
        values = sheets.draw(config, sheet, num_captions)
        _say(values, as_json, sheets.drawn_text(values, config.folder))
    elif answers is not None:
        values = sheets.read(config, answers)
        _say(values, as_json, sheets.answers_text(values, config.folder))


def _read(path: Path, set_: list[str] | None, out: Path | None = None) -> RunConfig:
    """The config in a file, or of a run folder, with what `--set` and `--out` say."""
    from edgekd import config as configs

    return _parsed(configs.apply_overrides(configs.read_run(path), set_ or []), str(path), out)


def _parsed(values: dict[str, Any], source: str, out: Path | None) -> RunConfig:
    from edgekd import config as configs
    from edgekd.run_config import RunConfig

    return configs.parse(RunConfig, values | ({"out": str(out)} if out else {}), source)


def _print_plan(config: RunConfig, until: str | None, skip: tuple[str, ...], as_json: bool) -> None:
    from edgekd import printing
    from edgekd.plan import plan

    values = plan(config, until, skip)
    _say(values, as_json, printing.plan_text(values))


def _written_report(folder: Path) -> dict[str, Any]:
    from edgekd import report as reports

    return reports.load(folder)


def _print_run(content: dict[str, Any], folder: Path, until: str | None, as_json: bool) -> None:
    if as_json:
        print(json.dumps(content, ensure_ascii=False, indent=1))
    elif "headline" in content:
        _print_summary(content, folder)
    else:
        print(f"{folder}: done up to '{until}'")


def _compare(folders: list[Path], out: Path | None, as_json: bool) -> None:
    from edgekd import compare, compare_page, store
    from edgekd.printing import console

    comparison = compare.compare(folders)
    if out is not None:
        store.write_text(out, compare_page.render_html(comparison))
    if as_json:
        print(json.dumps(comparison, ensure_ascii=False, indent=1))
        return
    compare_page.print_comparison(comparison, console())
    if out is not None:
        print(f"Comparison: {out}")


def _print_summary(content: dict[str, Any], folder: Path, html: Path | None = None) -> None:
    from rich.console import Console

    from edgekd import report as reports

    reports.print_summary(content, Console())
    bundle = folder / "bundle.zip"
    found = f"   Bundle: {bundle}" if bundle.is_file() else ""
    print(f"Report: {html or folder / 'report.html'}{found}")


def _say(values: Any, as_json: bool, text: str) -> None:
    print(json.dumps(values, ensure_ascii=False, indent=1) if as_json else text)
