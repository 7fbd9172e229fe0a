"""The stages of a run, in order: what each depends on, and the act that it is.

`edgekd.pipeline` runs them. With it, the only place where the four stage packages meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from captioning import audit as auditing
from captioning import captions, faces, views
from captioning import stage as captioning
from captioning.borrowed import borrowed
from captioning.soft_targets import MIN_LABELS_TO_FIT
from captioning.teachers import catalogue
from captioning.teachers.protocol import Files
from devices import stage as devices
from edgekd import assemble, keys, machine, search
from edgekd import manifest as manifests
from edgekd.costs import targets_note
from edgekd.errors import DataError
from edgekd.held_out import students_images
from edgekd.machine import native_output_to
from edgekd.manifest import Manifest
from edgekd.preprocess import preprocess_from
from edgekd.progress import Progress, silent
from edgekd.records import ExportedModel, Preprocess, SoftTargets, TensorSpec, to_dict
from edgekd.report_captions import audit_lines
from edgekd.report_private import faces_line
from edgekd.run_config import RunConfig
from edgekd.running import Run, Stage, costs
from edgekd.sizes import parse_size
from edgekd.store import RunStore, digest, file_sha256, write_text
from edgekd.views_file import SCORES, save_scores
from export import stage as exporting
from export.stage import Format
from students import stage as students

SWEEP_SCHEMA = VIEWS_SCHEMA = CHECK_SCHEMA = BENCH_SCHEMA = 1
BUNDLE_SCHEMA = 2


# The acts, in order; what each depends on stands in `edgekd.keys`.


def read_data(config: RunConfig, progress: Progress = silent) -> Manifest:
    """Returns the manifest of a config's folder, with names that captions can be matched to.

    Raises:
        DataError: what is wrong with the images, the labels or the class names.
    """
    from captioning.matching import Lexicon, name_notes
    from export import reject

    built = manifests.build(
        config.data, config.name, config.seed, lambda done, all_: progress(done, all_, "images")
    )
    Lexicon(built.task)
    reject.check(config.reject, built)
    _check_sweep(config, built)
    return replace(built, notes=[*built.notes, *name_notes(built.task)])


def _check_sweep(config: RunConfig, manifest: Manifest) -> None:
    found = len(manifest.labels("tune"))
    if config.targets.temperatures == "student" and found < MIN_LABELS_TO_FIT:
        raise DataError(
            f"targets.temperatures: student compares students on tune, and {found} of its images carry "
            f"a label. Expected {MIN_LABELS_TO_FIT}, or temperatures: all"
        )


def _validate(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    built = read_data(current.config, progress)
    path = current.store.path("manifest.parquet")
    manifests.save(built, path)
    current.use(manifests.load(path))  # which holds no items
    skipped = current.store.path("skipped.csv")
    skipped.unlink(missing_ok=True)  # an earlier run's
    if built.skipped:
        write_text(skipped, manifests.skipped_csv(built))
    for line in [*manifests.skipped_lines(built, skipped), *built.notes]:
        current.listener.message(line)
    return [path, skipped] if built.skipped else [path], {
        "counts": built.counts(),
        "skipped": len(built.skipped),
        "num_duplicates": built.num_duplicates,
        "near_copies": built.near_copies(),
    }


def _faces(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config.caption
    files, found = faces.count_faces(
        current.manifest, current.data_folder, config, current.store, progress
    )
    current.listener.message(faces_line(found["by_split"]))
    return files, found


def _caption(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    note = targets_note(config, current.manifest)
    if note is not None:
        current.listener.message(note)
    return captioning.caption(
        current.manifest,
        current.data_folder,
        config.caption,
        current.store,
        config.seed,
        config.filter.rules,
        progress,
    )


def _filter(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    return captioning.filter_captions(
        current.manifest, config.filter, current.store, config.caption.text_encoder, progress
    )


def _audit(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config, manifest, store = current.config, current.manifest, current.store
    files, found = auditing.audit(
        manifest,
        current.data_folder,
        captions.load(store.path("captions.parquet")),
        config.caption.teachers,
        config.report.audit_images,
        store,
        progress,
    )
    for line in audit_lines(found):
        current.listener.message(line)
    return files, found


def _sweep(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    """Which temperatures' captions serve the student best: a short training on the targets of each."""
    config, manifest, store = current.config, current.manifest, current.store
    steps = config.targets.sweep_steps
    one_way = {"lr": config.distill.lr[:1], "augment": config.distill.augment[:1]}
    short = config.distill.model_copy(update={"steps": steps, "evaluations": 1, **one_way})
    said = captioning.temperatures_said(manifest, store)
    heard = [temperature for temperature in config.caption.temperatures if temperature in said]

    def train(sweep: search.Sweep) -> dict[str, float]:
        with borrowed(store, "cache") as copy:
            _make_targets(current, copy, _left_out(config, sweep))
            _, made = students.distill(
                manifest, current.data_folder, short, copy, config.seed, progress
            )
        (point,) = made["history"]
        return {"accuracy": point["tune_accuracy"], "nll": point["tune_nll"]}

    schemas = [SWEEP_SCHEMA, captioning.TARGETS_SCHEMA, students.DISTILL_SCHEMA]
    tried = search.try_sweeps(
        heard,
        train,
        store.path("cache", "sweep"),
        digest([keys.sweep(current), schemas]),
        lambda done, total: current.listener.message(f"temperatures: {done} of {total} tried"),
    )
    return [], search.summary(tried, steps)


def temperatures_left_out(config: RunConfig, store: RunStore) -> set[float]:
    """Returns the temperatures whose captions a search left out of a run's targets."""
    record = store.stage_record("sweep") if config.targets.temperatures == "student" else None
    chosen = None if record is None else record["result"]["chosen"]
    return set() if chosen is None else _left_out(config, chosen)


def _left_out(config: RunConfig, sweep: Iterable[float]) -> set[float]:
    return set(config.caption.temperatures) - set(sweep)


def _make_targets(
    current: Run, store: RunStore, deaf_to: set[float], progress: Progress = silent
) -> tuple[list[Path], SoftTargets]:
    config = current.config
    return captioning.soft_targets(
        current.manifest,
        config.targets,
        store,
        [teacher.name for teacher in config.caption.teachers],
        config.caption.text_encoder,
        captioning.class_descriptions(config.caption),
        progress,
        deaf_to,
    )


def _targets(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    deaf_to = temperatures_left_out(config, current.store)
    files, record = _make_targets(current, current.store, deaf_to, progress)
    for line in (record.provenance["balance"] or {}).get("warnings", []):
        current.listener.message(line)
    described = captioning.described(current.manifest, current.store, config.caption.text_encoder)
    return files, to_dict(record) | {"captions": described}


def _views(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config, store, teachers = current.config, current.store, current.config.caption.teachers
    replays, layout = students.draw_views(
        current.manifest, config.distill, config.targets.views, store, config.seed
    )
    drawn = file_sha256(replays)
    probs = {
        number: views.look(
            layout,
            students_images(current.manifest),
            current.data_folder,
            teachers[number - 1],
            captioning.teacher_files(store, number),
            students.view_maker(config.distill, store),
            drawn,
            store,
            progress,
        )
        for number in views.scoring(teachers)
    }
    scores = store.path("targets", SCORES)
    save_scores(scores, layout, probs, config.targets.top_k)
    return [replays, scores], {"num_views": len(layout), "per_image": layout.num_views}


def _distill(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    return students.distill(
        current.manifest,
        current.data_folder,
        config.distill,
        current.store,
        config.seed,
        progress,
        with_views=config.targets.views > 0,
    )


def _baseline(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    if not any(item.label is not None for item in current.manifest.of("train")):
        current.listener.message(
            "no training image carries a label: there is no labels-alone baseline"
        )
        return [], None
    return students.labels_alone(
        current.manifest,
        current.data_folder,
        config.distill,
        config.prune.recovery_steps if config.prune.enabled else 0,
        current.store,
        config.seed,
        progress,
    )


def _prune(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config
    return students.prune(
        current.manifest,
        current.data_folder,
        config.prune,
        config.distill,
        students.AugmentConfig(**current.result("distill")["chosen"]["augment"]),
        current.store,
        config.seed,
        progress,
        with_views=config.targets.views > 0,
    )


# Which stage makes which network.
_MAKER = {"student": "distill", "student_pruned": "prune", "labels_alone": "baseline"}


def _export(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    for path in current.store.path("exports").glob("*"):
        if path.is_file() and ".edited." not in path.name:  # what a person made is kept
            path.unlink()
    with native_output_to(current.store.path("logs", "export.log")):
        return exporting.export(list(_models_to_export(current)), current.store, progress)


def _quantize(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    config = current.config.export
    exported = _records(current.result("export"))
    if "int8" not in config.precisions:
        exported = [record for record in exported if record.model == "teacher"]
    with native_output_to(current.store.path("logs", "quantize.log")):
        return exporting.quantize(
            exported,
            _preprocess(current),
            current.manifest,
            current.data_folder,
            config,
            current.store,
            progress,
        )


def _models_to_export(current: Run) -> Iterator[exporting.ToExport]:
    config = current.config
    for name in keys.networks(current):
        network, record = students.load_student(current.store, name)
        # The baseline stands beside the chosen file, so it is made in that format.
        alone: list[Format] = [config.choose.format]
        formats = alone if name == "labels_alone" else config.export.formats
        yield exporting.ToExport(
            name,
            network,
            record.preprocess,
            record.num_params,
            record.num_macs,
            tuple(formats),
        )
    if config.exported_teacher is None:
        return
    from students.models import num_macs, num_params

    head = captioning.teacher_files(current.store).head
    loaded = catalogue.load_module(config.exported_teacher, head)
    if loaded is not None:
        network, preprocess = loaded
        macs = num_macs(network, preprocess.height)
        yield exporting.ToExport(
            "teacher", network, preprocess, num_params(network), macs, ("tflite",)
        )


def _preprocess(current: Run) -> dict[str, Preprocess]:
    """How each exported model's images are prepared."""
    prepared = {
        name: preprocess_from(current.result(_MAKER[name])["checkpoint"]["preprocess"])
        for name in keys.networks(current)
    }
    if current.config.exported_teacher is not None:
        head = captioning.teacher_files(current.store).head
        of_teacher = catalogue.preprocess(current.config.exported_teacher, head)
        prepared |= {"teacher": of_teacher} if of_teacher is not None else {}
    return prepared


def _exported(current: Run) -> list[ExportedModel]:
    """The files the config asks for, fp32 beside int8; of the teacher int8 alone."""
    fp32 = _records(current.result("export"))
    int8 = _records(current.result("quantize")) if "quantize" in current.records else []
    of = {(record.model, record.format): record for record in int8}
    wanted = current.config.export.precisions
    pairs = [
        (record if "fp32" in wanted and record.model != "teacher" else None,
         of.get((record.model, record.format)))
        for record in fp32
    ]  # fmt: skip
    return [record for pair in pairs for record in pair if record is not None]


def _evaluated(current: Run) -> list[ExportedModel]:
    return _records(current.result("evaluate"))


def _records(result: list[dict[str, Any]]) -> list[ExportedModel]:
    return [_exported_from(values) for values in result]


def _exported_from(values: dict[str, Any]) -> ExportedModel:
    specs = {
        key: TensorSpec(**values[key] | {"shape": tuple(values[key]["shape"])})
        for key in ("input", "output")
    }
    return ExportedModel(**values | specs)


def _evaluate(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    return exporting.evaluate(
        _exported(current),
        _preprocess(current),
        current.manifest,
        current.data_folder,
        current.store,
        current.config.reject,
        current.config.choose,
        progress,
    )


def _chosen(current: Run) -> ExportedModel:
    candidates = [r for r in _evaluated(current) if r.model.startswith("student")]
    return exporting.choose(
        candidates, current.config.choose, parse_size(current.config.check.budget)
    )


def _check(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    from export.budget import check_path

    config, chosen = current.config.check, _chosen(current)
    checked = check_path(current.store.path(chosen.path), config.budget)
    gates = [dict(item) for item in checked.items]
    if config.min_accuracy is not None:
        test = chosen.metrics.get("test")
        value = test["accuracy"]["value"] if test else None
        passed = value is not None and value >= config.min_accuracy
        gates.append(
            {
                "name": "accuracy",
                "passed": passed,
                "size": value,
                "sizeLimit": config.min_accuracy,
                "unit": "accuracy",
            }
        )
    progress(1, 1, chosen.path)
    return [], {"chosen": chosen.path, "gates": gates}


def _bench(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    paths = [current.store.path(record.path) for record in _exported(current)]
    results = devices.run(
        paths,
        current.config.bench,
        lambda done, total: progress(done, total, "files"),
        current.listener.message,
    )
    return [], [to_dict(result) for result in results]


def _bundle(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    from edgekd import confidence
    from edgekd import preprocess as preprocessing
    from export.bundle import expected_output, verify_bundle, write_bundle

    chosen = _chosen(current)
    prepared = _preprocess(current)[chosen.model]
    values = preprocessing.to_json(
        prepared,
        chosen.input,
        chosen.output,
        confidence.from_metrics(chosen.metrics),
        current.manifest.task.multilabel,
    )
    labels = list(current.manifest.task.classes)
    exported = _evaluated(current)
    files = {
        f"model.{record.format}": current.store.path(record.path)
        for record in exported
        if record.model == chosen.model and record.precision == chosen.precision
    }
    image = current.data_folder / assemble.test_image(current.manifest).path
    facts = _facts(current)
    bundle = write_bundle(
        current.store.path("bundle.zip"),
        files=files,
        labels=labels,
        preprocess=values,
        model_card=assemble.model_card(facts, chosen),
        test_image=image,
        expected=expected_output(files[f"model.{chosen.format}"], labels, values, image),
        licences=assemble.licences(facts),
        versions=machine.versions(),
        parents={record.path: record.sha256 for record in exported if record.model == chosen.model},
    )
    problems = verify_bundle(Path(bundle.path))
    assert not problems, problems
    progress(1, 1, "bundle.zip")
    return [current.store.path("bundle.zip")], bundle


def _report(current: Run, progress: Progress) -> tuple[list[Path], Any]:
    from edgekd import report as reports

    content = assemble.report(_facts(current), _chosen(current), costs(current))
    reports.write(content, current.store.folder)
    progress(1, 1, "report")
    return [current.store.path(f"report.{kind}") for kind in ("html", "md", "json")], None


def _facts(current: Run) -> assemble.Facts:
    return assemble.Facts(
        config=current.config.model_dump(mode="json"),
        folder=current.store.folder,
        data_folder=current.data_folder,
        manifest=current.manifest,
        results={name: record["result"] for name, record in current.records.items()},
        exported=_evaluated(current),
    )


def _needing(*extras: str) -> Callable[[RunConfig], tuple[str, ...]]:
    return lambda config: extras


STAGES: tuple[Stage, ...] = (
    Stage("validate", manifests.SCHEMA, keys.validate, _validate, leaves=("manifest.parquet",)),
    Stage(
        "faces",
        faces.FACES_SCHEMA,
        keys.faces,
        _faces,
        lambda config: config.caption.count_faces,
        extras=_needing("privacy"),
    ),
    Stage(
        "caption",
        captioning.CAPTION_SCHEMA,
        keys.caption,
        _caption,
        extras=lambda config: config.caption.extras,
        leaves=(
            "captions/raw.parquet",
            *(
                f"captions/{name}"
                for n in range(1, captioning.MOST_TEACHERS + 1)
                for name in (Files(Path(), n).arrays, Files(Path(), n).head)
            ),
        ),
    ),
    Stage("filter", captioning.FILTER_SCHEMA, keys.filter_, _filter, leaves=("captions.parquet",)),
    Stage(
        "audit",
        auditing.AUDIT_SCHEMA,
        keys.audit,
        _audit,
        lambda config: config.report.audit_images > 0,
        extras=_needing("captioning"),
    ),
    Stage(
        "sweep",
        SWEEP_SCHEMA,
        keys.sweep,
        _sweep,
        lambda config: config.targets.temperatures == "student",
        extras=_needing("students"),
    ),
    Stage(
        "targets",
        captioning.TARGETS_SCHEMA,
        keys.targets,
        _targets,
        leaves=("targets/targets.npz",),
    ),
    Stage(
        "views",
        VIEWS_SCHEMA,
        keys.views,
        _views,
        lambda config: config.targets.views > 0,
        extras=_needing("students"),
        leaves=("targets/views.parquet", "targets/views.npz"),
    ),
    Stage(
        "distill",
        students.DISTILL_SCHEMA,
        keys.distill,
        _distill,
        extras=_needing("students"),
        leaves=("checkpoints/student.safetensors",),
    ),
    Stage(
        "baseline",
        students.BASELINE_SCHEMA,
        keys.baseline,
        _baseline,
        lambda config: config.baseline.enabled,
        extras=_needing("students"),
        leaves=("checkpoints/labels_alone.safetensors",),
    ),
    Stage(
        "prune",
        students.PRUNE_SCHEMA,
        keys.prune,
        _prune,
        lambda config: config.prune.enabled,
        extras=_needing("students"),
        leaves=("checkpoints/student_pruned.safetensors",),
    ),
    Stage("export", exporting.EXPORT_SCHEMA, keys.export, _export, extras=_needing("export")),
    Stage(
        "quantize",
        exporting.QUANTIZE_SCHEMA,
        keys.quantize,
        _quantize,
        lambda config: "int8" in config.export.precisions or config.exported_teacher is not None,
        extras=_needing("export"),
    ),
    Stage("evaluate", exporting.EVALUATE_SCHEMA, keys.evaluate, _evaluate),
    Stage("check", CHECK_SCHEMA, keys.check, _check),
    Stage("bench", BENCH_SCHEMA, keys.bench, _bench, lambda config: config.bench.enabled),
    Stage("bundle", BUNDLE_SCHEMA, keys.bundle, _bundle),
    Stage("report", 1, keys.report, _report),
)
