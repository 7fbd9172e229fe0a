"""Captioning: caption every image, filter the captions, make soft targets of what is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from itertools import starmap
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captioning.label_review import write as write_review
from captioning.refine import MOST_NEIGHBOURS, balance, labels_to_review, refined
from captioning.rows import ByItem, Rows
from captioning.rules import rules_sha256
from captioning.settings import MOST_TEACHERS as MOST_TEACHERS
from captioning.settings import CaptionConfig as CaptionConfig
from captioning.settings import FilterConfig as FilterConfig
from captioning.settings import TargetsConfig as TargetsConfig
from captioning.teachers import catalogue
from captioning.teachers.protocol import Brief, Files, Teacher
from edgekd import mapped, targets_file
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import Manifest
from edgekd.mapped import Texts, by_rows, zeros_in
from edgekd.metrics import sigmoid, softmax, unit
from edgekd.names import spoken
from edgekd.progress import Progress, silent
from edgekd.records import Caption, SoftTargets
from edgekd.store import RunStore, file_sha256

if TYPE_CHECKING:
    from captioning.quality import Topics, Vote
    from captioning.teachers.looking import Hands

CAPTION_SCHEMA = 4
FILTER_SCHEMA = 3
TARGETS_SCHEMA = 5
_NONE: Mapping[str, tuple[str, ...]] = {}


def caption(
    manifest: Manifest,
    folder: Path,
    config: CaptionConfig,
    store: RunStore,
    seed: int,
    rules: Path | None = None,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes captions/raw.parquet, and of each teacher what it saw, said and fitted.

    `rules` is a folder of rules of the user's own. Returns the files and a summary for the report.
    """
    from captioning import captions as captions_io
    from captioning.privacy import Counted
    from captioning.teachers import looking

    raw = store.path("captions", "raw.parquet")
    files, sources, teachers = [raw], [], []
    told = brief(manifest, folder, config, store, seed)
    measured = None
    with _hands(config, told, rules) as hands:
        for number, (section, teacher) in enumerate(
            zip(config.teachers, built(config, told, rules), strict=True), start=1
        ):
            lies = teacher_files(store, number)
            left = looking.work(
                *(teacher, manifest, folder, lies, config.block_size, progress, hands(number)),
                measured,
            )
            measured = left.attributes
            files += left.files
            sources += left.captions
            teachers.append({"kind": section.kind} | left.summary)
            store.scratch(left.blocks)
    zeros = zeros_in(store.path("captions"))
    together = looking.in_item_order(manifest.ids, *sources, zeros=zeros)
    private = Counted()
    count = captions_io.save(private(together), raw)
    if config.domain is not None:
        private = Counted()
        count = captions_io.save(private(_in_the_field(manifest, config, raw, seed)), raw)
    store.scratch(store.path("captions", "notes"))
    for number in range(len(config.teachers) + 1, MOST_TEACHERS + 1):  # of an earlier config
        lies = teacher_files(store, number)
        store.scratch(*(path for path in (lies.arrays, lies.said, lies.head) if path.is_file()))
    observed = sum(teacher["num_observed"] for teacher in teachers)
    return files, {
        "num_captions": count,
        "num_observed": observed,
        "teachers": teachers,
        "private": None
        if config.private == "keep"
        else {
            "mode": config.private,
            "captions": private.captions,
            "by_kind": dict(sorted(private.kinds.items())),
        },
    }


def built(config: CaptionConfig, told: Brief, rules: Path | None) -> list[Teacher]:
    """Returns the teachers of a config, built; none has loaded anything yet.

    `rules` is a folder of rules of the user's own, of which those of private data count.
    """
    teachers = [catalogue.build(section, told) for section in config.teachers]
    mode = config.private
    if mode == "keep":
        return teachers
    from captioning.privacy import Detector, PrivacyFilter
    from captioning.rules import load_rules
    from captioning.teachers.discreet import DiscreetTeacher

    @cache
    def private() -> PrivacyFilter:  # slow to make, and --dry-run only asks for settings
        return PrivacyFilter(Detector(load_rules(rules).private, config.spacy_model), mode)

    how = f"{config.private} {config.spacy_model} {rules_sha256(rules)}"
    return [DiscreetTeacher(teacher, private, how) for teacher in teachers]


def filter_captions(
    manifest: Manifest,
    config: FilterConfig,
    store: RunStore,
    text_encoder: Path | None = None,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes captions.parquet: every caption, kept or dropped, and why."""
    from captioning import captions as captions_io
    from captioning.matching import Lexicon
    from captioning.quality import QualityFilter, logical_consistency
    from captioning.repeated import find_repeated
    from captioning.rules import load_rules

    def raw() -> Iterable[Caption]:
        return captions_io.load(store.path("captions", "raw.parquet"))

    rules = load_rules(config.rules).allowing(config.languages)
    duplicates = rules.limits.duplicates
    quality = QualityFilter(
        manifest.task,
        rules,
        near_duplicate_jaccard=config.near_duplicate_jaccard,
        min_attribute=config.min_attribute,
        min_confidence=config.min_confidence,
        one_class=config.one_class,
        repeated=find_repeated(raw(), Lexicon(manifest.task), duplicates)
        if config.repeated
        else None,
        topics=_topics(manifest, text_encoder) if config.off_topic else None,
        vote=_voter(manifest, store) if config.vote else None,
    )
    attributes = _observed(teacher_files(store), manifest)["attributes"]  # the first teacher's
    measured = ByItem(Rows(manifest.ids, zeros_in(store.path("captions"))), attributes)
    path = store.path("captions.parquet")
    count = captions_io.save(
        _counting_images(quality(raw(), measured), len(measured), progress), path
    )
    counts = quality.counts
    return [path], {
        "num_made": count,
        "num_kept": counts.kept,
        "dropped": dict(counts.dropped),
        "logic": logical_consistency(counts.violations, counts.judged),
        "rules_sha256": rules.sha256,
    }


def soft_targets(
    manifest: Manifest,
    config: TargetsConfig,
    store: RunStore,
    teachers: list[str],
    text_encoder: Path | None = None,
    descriptions: Mapping[str, tuple[str, ...]] = _NONE,
    progress: Progress = silent,
    deaf_to: Collection[float] = (),
) -> tuple[list[Path], SoftTargets]:
    """Writes targets/targets.npz from captions.parquet and the scores of the teachers, by name.

    Captions of the temperatures that it is `deaf_to` do not count.
    """
    from captioning import captions as captions_io
    from captioning import multilabel
    from captioning import soft_targets as st
    from captioning.matching import Lexicon

    of_task: Any = multilabel if manifest.task.multilabel else st
    zeros = zeros_in(store.path("targets"))
    row_of = Rows(manifest.ids, zeros)
    num_classes = manifest.task.num_classes
    given, tune = manifest.labels("train"), manifest.labels("tune")
    lexicon, by_meaning = Lexicon(manifest.task), _by_meaning(manifest, text_encoder, descriptions)

    def captions() -> Iterator[Caption]:
        return captions_io.load(store.path("captions.parquet"))

    def statements() -> Iterator[st.Statement]:  # read twice: they may be too many to hold
        return st.read_statements(captions(), row_of, lexicon, by_meaning)

    choose = config.temperatures == "best"
    hear = (lambda source: source[1] not in deaf_to) if deaf_to else None
    model = of_task.fit(statements(), given, tune, num_classes, choose, hear)
    progress(1, 3, "captions read")
    said: st.CaptionTargets = of_task.caption_targets(
        statements(), model, len(row_of), num_classes, zeros
    )
    captions_NK = said.probs_NK
    progress(2, 3, "captions matched")
    arrays = {"captions_only": captions_NK, "attributes": said.attributes_NA}
    share, mixed, weights = 1.0, captions_NK, {}
    seen = [_observed(teacher_files(store, n), manifest) for n in range(1, len(teachers) + 1)]
    scores = {
        name: each["logits"] for name, each in zip(teachers, seen, strict=True) if "logits" in each
    }
    if config.evidence == "captions":
        scores = {}
    if config.evidence == "scores" and not scores:
        raise ConfigError(["targets.evidence: scores, and no teacher gives any. Expected captions"])
    scores_alone = config.evidence == "scores" or (bool(scores) and next(captions(), None) is None)
    if scores:
        scores_NK, found = of_task.pooled_scores(
            list(scores.values()), tune, config.calibrate, zeros
        )
        weights = dict(zip(scores, found, strict=True))
        arrays["scores_only"] = scores_NK
        share = (
            0.0
            if scores_alone
            else st.caption_share(captions_NK, scores_NK, tune, config.caption_share)
        )
        mixed = by_rows(partial(_mixed, share), captions_NK, scores_NK, zeros=zeros)
    # An image whose captions were all dropped abstains, unless captions are not the evidence.
    weight = np.ones(len(row_of)) if scores_alone else said.counts_N > 0
    if not (weight * manifest.is_of("train")).any():
        raise DataError(
            "targets: no training image has a caption that was kept, so nothing teaches the student. "
            "captions.parquet says why each was dropped"
        )
    features = next((each["features"] for each in seen if "features" in each), None)
    if features is None and config.neighbours:
        raise ConfigError(["targets.neighbours: no teacher here has features. Expected 0"])
    reviewed = labels_to_review(mixed, features, manifest)
    final = refined(mixed, weight, manifest, config, captions, features, zeros)
    measured = seen[0].get("attributes")
    arrays |= {"probs": final.probs_NK, "weight": final.weight_N}
    if config.views:
        fitted = st.is_pool_fitted(len(weights), tune, config.calibrate)
        arrays |= {
            "caption_share": np.array(share),
            "teacher_weights": np.array(list(weights.values())),
            "weights_lent": np.array(not fitted),
        }
    path = store.path("targets", "targets.npz")
    targets_file.save(path, manifest.ids, arrays, config.top_k, zeros)
    provenance = {
        "evidence": config.evidence,
        "caption_share": share,
        "reliability": _by_source(model.reliability),
        "teacher_weights": weights,
        "attribute_weight": model.attribute_weight,
        "heard": None if model.heard is None else _by_source(dict.fromkeys(model.heard, 1.0)),
        "num_abstained": int((weight == 0).sum()),
        "labels_to_review": None
        if reviewed is None
        else {"suspects": len(reviewed.suspects), "wrong_share": reviewed.wrong_share},
        "balance": None
        if measured is None
        else balance(final.probs_NK, final.weight_N, said.attributes_NA, measured, manifest),
    } | final.provenance
    files = [path]
    if reviewed is not None and reviewed.suspects:
        files.append(write_review(reviewed.suspects, store.path("targets", "label_review.csv")))
    progress(3, 3, "targets written")
    name = path.relative_to(store.folder).as_posix()
    return files, SoftTargets(name, file_sha256(path), len(row_of), num_classes, provenance)


def temperatures_said(manifest: Manifest, store: RunStore) -> set[float]:
    """Returns the temperatures of the captions that were kept of training images."""
    from captioning import captions as captions_io

    row_of = Rows(manifest.ids, zeros_in(store.path("targets")))
    is_train = manifest.is_of("train")
    captions = captions_io.load(store.path("captions.parquet"))
    kept = ((c, row_of.get(c.item_id)) for c in captions if c.dropped is None)
    return {c.temperature for c, row in kept if row is not None and is_train[row]}


def described(
    manifest: Manifest, store: RunStore, text_encoder: Path | None = None
) -> dict[str, Any]:
    """Returns how varied the captions of captions.parquet are, and how often right on tune."""
    from captioning import captions as captions_io
    from captioning.caption_summary import embedder, summarize

    captions = captions_io.load(store.path("captions.parquet"))
    return summarize(captions, manifest, embedder(text_encoder))


def teacher_files(store: RunStore, number: int = 1) -> Files:
    """Returns where the observations of a teacher lie; they count from 1."""
    return Files(store.path("captions"), number)


def brief(
    manifest: Manifest, folder: Path, config: CaptionConfig, store: RunStore, seed: int
) -> Brief:
    """Returns what every teacher of a run is told."""
    return Brief(
        manifest.task,
        config.captions_per_image,
        tuple(config.temperatures),
        seed,
        store.path("captions", "notes"),
        config.text_encoder,
        folder,
        class_descriptions(config),
    )


def class_descriptions(config: CaptionConfig) -> dict[str, tuple[str, ...]]:
    """Returns what the classes look like, those that are described."""
    from captioning.descriptions import load

    return load(config.descriptions.expanduser()).texts if config.descriptions is not None else {}


@contextmanager
def _hands(
    config: CaptionConfig, told: Brief, rules: Path | None
) -> Iterator[Callable[[int], Hands | None]]:
    """Who looks at the images for a teacher, by its number from 1; None is this process."""
    if config.workers == 1 and config.ray_address is None:
        yield lambda number: None
        return
    from captioning.teachers.distributed import Workers

    with Workers(config.workers, config.ray_address) as workers:

        def hands(number: int) -> Hands | None:
            if not catalogue.shared_out(config.teachers[number - 1]):
                return None
            return workers.hands(partial(_one_built, config, told, rules, number))

        yield hands


def _one_built(config: CaptionConfig, told: Brief, rules: Path | None, number: int) -> Teacher:
    return built(config, told, rules)[number - 1]


def _in_the_field(
    manifest: Manifest, config: CaptionConfig, raw: Path, seed: int
) -> Iterator[Caption]:
    """The captions of a file and behind those of an image their variants in the words of a field."""
    from captioning import captions as captions_io
    from captioning import domain

    assert config.domain is not None
    field = domain.Domain(
        domain.load_domain(config.domain),
        manifest.task,
        descriptions=class_descriptions(config),
    )
    asked: dict[str, list[domain.Variant]] = {}
    if config.reword and config.text_model is not None:
        from captioning.text_models import text_model

        texts = sorted({c.text for c in captions_io.load(raw) if c.dropped is None})
        model = text_model(config.text_model)
        for index, found in domain.paraphrases(field, texts, model, count=config.reword, seed=seed):
            asked[texts[index]] = found
    return domain.with_variants(captions_io.load(raw), field, asked)


def _counting_images(
    captions: Iterable[Caption], total: int, progress: Progress
) -> Iterator[Caption]:
    """The captions as they come, telling how many images they were of so far."""
    last, number = "", 0
    for caption in captions:
        if caption.item_id != last:
            last, number = caption.item_id, number + 1
            progress(min(number, total), total, "images")
        yield caption


def _topics(manifest: Manifest, text_encoder: Path | None) -> Topics:
    from captioning.quality import Topics
    from captioning.sentences import SentenceEncoder

    return Topics(SentenceEncoder(text_encoder).encode, _class_sentences(manifest))


def _voter(manifest: Manifest, store: RunStore) -> Vote:
    from captioning.matching import Lexicon
    from captioning.votes import by_neighbours

    zeros, seen = zeros_in(store.path("captions")), _observed(teacher_files(store), manifest)
    if not {"logits", "features"} <= set(seen):
        raise ConfigError(["filter.vote: the first teacher has no scores and features to vote by"])
    probability = sigmoid if manifest.task.multilabel else softmax
    scores = by_rows(probability, seen["logits"], zeros=zeros)
    bank, rows = manifest.rows("train", MOST_NEIGHBOURS), Rows(manifest.ids, zeros)
    return by_neighbours(scores, seen["features"], bank, rows, Lexicon(manifest.task), zeros)


def _class_sentences(manifest: Manifest) -> list[str]:
    return [f"a photo of a {spoken(name)}" for name in manifest.task.classes]


def _observed(files: Files, manifest: Manifest) -> dict[str, np.ndarray]:
    """What a teacher saw by name, none of it read; nothing where it left nothing."""
    if not files.arrays.is_file():
        return {}
    seen = mapped.arrays(files.arrays)
    assert all(starmap(eq, zip(Texts(seen["ids"]), manifest.ids, strict=True)))
    return seen


def _mixed(share: float, captions_nK: np.ndarray, scores_nK: np.ndarray) -> np.ndarray:
    return share * captions_nK + (1 - share) * scores_nK


def _by_source(reliability: dict[tuple[str, float], float]) -> dict[str, float]:
    """By temperature, and where several teachers spoke by these too."""
    several = len({teacher for teacher, _ in reliability}) > 1
    return {
        f"{teacher} {temperature}" if several else str(temperature): value
        for (teacher, temperature), value in sorted(reliability.items())
    }


def _by_meaning(
    manifest: Manifest, text_encoder: Path | None, descriptions: Mapping[str, tuple[str, ...]]
) -> Any:
    """A function from a sentence that names no class to class weights; loads MiniLM when asked."""
    state: dict[str, Any] = {}

    def weights(text: str) -> np.ndarray:
        from captioning.sentences import SentenceEncoder

        if not state:
            state["encoder"] = encoder = SentenceEncoder(text_encoder)
            classes = encoder.encode(_class_sentences(manifest))
            for row, name in enumerate(manifest.task.classes):
                looks = [f"{spoken(name)}, {text}" for text in descriptions.get(name, ())]
                if looks:
                    classes[row] = (classes[row] + encoder.encode(looks).mean(axis=0)) / 2
            state["classes"] = unit(classes)
        similarity = state["encoder"].encode([text]) @ state["classes"].T
        return softmax(similarity, temperature=0.05)[0]

    return weights
