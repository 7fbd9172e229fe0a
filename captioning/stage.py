"""Captioning: caption every image, filter the captions, make soft targets of what is left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from edgekd import targets_file
from edgekd.config import Section
from edgekd.machine import best_device
from edgekd.manifest import Manifest
from edgekd.metrics import softmax
from edgekd.names import spoken
from edgekd.progress import Progress, silent
from edgekd.records import Item, Preprocess, SoftTargets, Split
from edgekd.store import RunStore, atomic_path, digest, file_sha256

if TYPE_CHECKING:
    from captioning.teachers.backbone import Backbones
    from captioning.teachers.composed import ComposedHead, NamedHead
    from edgekd.weights import WeightsFile

CAPTION_SCHEMA = 3
FILTER_SCHEMA = 2
TARGETS_SCHEMA = 3


BackboneName = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


class ComposedTeacherConfig(Section):
    """The embedded teacher: ImageNet backbones, measured attributes, sampled sentences."""

    kind: Literal["composed"] = "composed"
    backbone: list[BackboneName] = pydantic.Field(
        ["efficientnet_lite2"], min_length=1, description="one or several that look together"
    )
    weights: Path | None = pydantic.Field(
        None, description="local file instead of the package's, for a single backbone"
    )
    image_size: int = pydantic.Field(224, ge=32, le=1024, description="pixels")
    inverted: bool = pydantic.Field(
        False, description="swap dark and light: for light objects on black"
    )
    names: bool = pydantic.Field(True, description="carry ImageNet names to the class names")
    names_temperature: float = pydantic.Field(0.07, gt=0, description="of cosine similarities")
    synonyms: bool = pydantic.Field(
        True, description="all the words for a name, WordNet's and yours; false: the first alone"
    )
    glosses: bool = pydantic.Field(
        True, description="names with their definitions (WordNet, as timm brings it)"
    )
    balance: bool = pydantic.Field(
        True, description="names only: assume the classes equally frequent"
    )
    prototypes: int = pydantic.Field(
        1, ge=0, description="rounds of soft k-means on the training images, seeded by the names"
    )
    prototype_temperature: float = pydantic.Field(0.05, gt=0, description="of cosine similarities")
    text_encoder: Path | None = pydantic.Field(
        None, description="local MiniLM folder or .zip instead of the package's"
    )

    @pydantic.field_validator("backbone", mode="before")
    @classmethod
    def _one_or_several(cls, backbone: object) -> object:
        return [backbone] if isinstance(backbone, str) else backbone

    @pydantic.model_validator(mode="after")
    def _weights_of_one(self) -> ComposedTeacherConfig:
        if self.weights is not None and len(self.backbone) > 1:
            raise ValueError("weights: one file for several backbones. Name one backbone")
        if len(set(self.backbone)) < len(self.backbone):
            raise ValueError("backbone: the same one twice")
        return self

    @property
    def name(self) -> str:
        """What captions and reports call it."""
        return f"{self.kind}/{'+'.join(self.backbone)}"


# Settings of the teacher that what it observes in an image depends on; the rest is what it says.
SEEN_WITH = ("backbone", "image_size", "inverted")


class CaptionConfig(Section):
    """Which teacher speaks, how often and at which temperatures."""

    teacher: ComposedTeacherConfig = ComposedTeacherConfig()
    captions_per_image: int = pydantic.Field(3, ge=1, le=64)
    temperatures: list[float] = pydantic.Field(
        [0.5, 1.0, 1.5], min_length=1, description="used in turn for an image's captions"
    )
    block_size: int = pydantic.Field(
        512, ge=1, description="images between two saves; a stopped run repeats one block at most"
    )

    @pydantic.field_validator("temperatures")
    @classmethod
    def _positive(cls, temperatures: list[float]) -> list[float]:
        if min(temperatures) <= 0:
            raise ValueError(f"expected temperatures above 0, found {min(temperatures)}")
        return temperatures


class FilterConfig(Section):
    """When a caption is dropped."""

    near_duplicate_jaccard: float = pydantic.Field(
        0.75, gt=0, le=1, description="of word pairs, captions of one image that name the same"
    )
    min_attribute: float = pydantic.Field(
        0.03, ge=0, le=1, description="an attribute word measured below this contradicts the image"
    )
    min_confidence: float = pydantic.Field(
        0.05, ge=0, le=1, description="the teacher's probability of the object it names"
    )


class TargetsConfig(Section):
    """How captions and scores become one probability."""

    evidence: Literal["both", "captions", "scores"] = "both"
    caption_share: float = pydantic.Field(
        0.3, ge=0, le=1, description="captions' share where no tune labels can fit it"
    )
    neighbours: int = pydantic.Field(
        0, ge=0, description="average each target with this many nearest training images (features)"
    )
    hard: bool = pydantic.Field(
        False, description="keep the most likely class alone, as pseudo-labels do: to compare"
    )


def caption(
    manifest: Manifest,
    folder: Path,
    config: CaptionConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes captions/raw.parquet, captions/observations.npz and the teacher's head.

    Returns the files and a summary for the report.
    """
    from captioning import captions as captions_io
    from captioning.teachers import composed, speak

    teacher = config.teacher
    backbone = _backbones(teacher).to(best_device())
    items = manifest.items
    settings = digest(
        [
            teacher.model_dump(mode="json", include=set(SEEN_WITH)),
            *(file.sha256 for file in backbone.weights),
        ]
    )
    blocks = store.path("captions", f"blocks-{settings[:8]}")
    observations = store.path("captions", "observations.npz")
    before = speak.observed_before(observations, settings)
    new_items = speak.unseen(items, before)
    new = speak.observe(
        new_items,
        folder,
        backbone,
        teacher_preprocess(teacher),
        blocks,
        config.block_size,
        progress,
    )
    observed = speak.joined(items, before, new_items, new)
    names, encoder_weights = None, []
    if teacher.names:
        names, file = _named_head(manifest, observed, teacher, backbone.sizes)
        encoder_weights = [file]
    head = composed.fit(
        observed["features"],
        observed["imagenet"],
        labelled_rows(items, "train"),
        labelled_rows(items, "tune"),
        names,
        manifest.task.num_classes,
        seed,
    )
    logits = _in_blocks(head, observed["features"], observed["imagenet"])
    ids = [item.id for item in items]
    with atomic_path(observations) as temporary:
        np.savez(temporary, ids=ids, logits=logits, settings=settings, **observed)  # type: ignore[arg-type]
    head_path = store.path("captions", "teacher_head.npz")
    save_head(head, head_path)
    raw = store.path("captions", "raw.parquet")
    sentences = speak.sentences(
        manifest,
        logits,
        observed["attributes"],
        config.captions_per_image,
        config.temperatures,
        teacher.name,
        seed,
    )
    count = captions_io.save(sentences, raw)
    store.scratch(blocks)
    summary = {
        "num_captions": count,
        "num_observed": len(new_items),
        "teacher": teacher.kind,
        "backbone": "+".join(teacher.backbone),
        "num_params": backbone.count_params(head.asks_imagenet) + head.num_params,
        "head": head.provenance,
        "weights": [_origin(file, used=True) for file in backbone.weights]
        + [_origin(file, used=head.asks_imagenet) for file in encoder_weights],
    }
    return [raw, observations, head_path], summary


def filter_captions(
    manifest: Manifest, config: FilterConfig, store: RunStore, progress: Progress = silent
) -> tuple[list[Path], dict[str, Any]]:
    """Writes captions.parquet: every caption, kept or dropped, and why."""
    from collections import Counter

    from captioning import captions as captions_io
    from captioning.matching import Lexicon
    from captioning.quality import filter_captions as apply_rules

    observations = np.load(store.path("captions", "observations.npz"))
    measured = dict(zip(observations["ids"].tolist(), observations["attributes"], strict=True))
    raw = captions_io.load(store.path("captions", "raw.parquet"))
    reasons: Counter[str] = Counter()
    total = len(measured)

    def counted() -> Any:
        seen: set[str] = set()
        for caption in apply_rules(raw, measured, Lexicon(manifest.task), **config.model_dump()):
            reasons[(caption.dropped or "kept").split(":")[0]] += 1
            if caption.item_id not in seen:
                seen.add(caption.item_id)
                progress(len(seen), total, "images")
            yield caption

    path = store.path("captions.parquet")
    count = captions_io.save(counted(), path)
    kept = reasons.pop("kept", 0)
    return [path], {"num_made": count, "num_kept": kept, "dropped": dict(reasons)}


def soft_targets(
    manifest: Manifest,
    config: TargetsConfig,
    store: RunStore,
    text_encoder: Path | None = None,
    progress: Progress = silent,
) -> tuple[list[Path], SoftTargets]:
    """Writes targets/targets.npz from captions.parquet and the teacher's scores."""
    from captioning import captions as captions_io
    from captioning import soft_targets as st
    from captioning.matching import Lexicon

    ids = [item.id for item in manifest.items]
    num_classes = manifest.task.num_classes
    given, tune = labels_by_row(manifest.items, "train"), labels_by_row(manifest.items, "tune")
    statements = st.read_statements(
        captions_io.load(store.path("captions.parquet")),
        ids,
        Lexicon(manifest.task),
        _by_meaning(manifest, text_encoder),
    )
    progress(1, 3, "captions read")
    model = st.fit(statements, given, tune, num_classes)
    captions_NK, counts = st.caption_probs(statements, model, len(ids), num_classes)
    progress(2, 3, "captions matched")
    arrays = {
        "captions_only": captions_NK,
        "attributes": st.attribute_targets(statements, len(ids)),
    }
    share, mixed = 1.0, captions_NK
    if config.evidence != "captions":  # else the scores are not even read
        arrays["scores_only"] = scores_NK = _scores(store, ids)
        share = (
            0.0
            if config.evidence == "scores"
            else st.caption_share(captions_NK, scores_NK, tune, config.caption_share)
        )
        mixed = share * captions_NK + (1 - share) * scores_NK
    if config.neighbours:
        train = np.array([row for row, i in enumerate(manifest.items) if i.split == "train"])
        mixed = st.spread_over_neighbours(mixed, _features(store, ids), train, config.neighbours)
    if config.hard:
        mixed = np.eye(num_classes)[mixed.argmax(axis=1)]
    # An image whose captions were all dropped abstains, unless captions are not the evidence.
    weight = np.ones(len(ids)) if config.evidence == "scores" else counts > 0
    arrays |= {"probs": mixed, "weight": weight}
    path = store.path("targets", "targets.npz")
    with atomic_path(path) as temporary:
        floats = {name: values.astype(np.float32) for name, values in arrays.items()}
        np.savez(temporary, ids=ids, schema=targets_file.SCHEMA, **floats)  # type: ignore[arg-type]
    provenance = {
        "evidence": config.evidence,
        "caption_share": share,
        "reliability": {str(t): r for t, r in sorted(model.reliability.items())},
        "attribute_weight": model.attribute_weight,
        "neighbours": config.neighbours,
        "hard": config.hard,
        "num_abstained": int((weight == 0).sum()),
    }
    progress(3, 3, "targets written")
    name = path.relative_to(store.folder).as_posix()
    return [path], SoftTargets(name, file_sha256(path), len(ids), num_classes, provenance)


def labels_by_row(items: list[Item], split: Split) -> dict[int, int]:
    """Returns {row: label} of the labelled items of a split."""
    return {
        row: item.label
        for row, item in enumerate(items)
        if item.split == split and item.label is not None
    }


def labelled_rows(items: list[Item], split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns (rows, labels) of the labelled items of a split, int64."""
    labels = labels_by_row(items, split)
    return np.array(list(labels), dtype=np.int64), np.array(list(labels.values()), dtype=np.int64)


def save_head(head: ComposedHead, path: Path) -> None:
    """Writes the fitted head's arrays, enough to rebuild the teacher for export."""
    arrays: dict[str, Any] = {
        "probe_weight": head.probe_weight,
        "names_weight": head.names_weight,
    }
    if head.probe_coef_DK is not None:
        arrays |= {"probe_coef": head.probe_coef_DK, "probe_intercept": head.probe_intercept_K}
    if head.names is not None:
        arrays |= head.names.arrays()
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def teacher_preprocess(config: ComposedTeacherConfig) -> Preprocess:
    """Returns how the teacher's images are prepared.

    Trained on (pixel - 127) / 128. Inversion is (255 - pixel), the same as a negative std.
    """
    mean, std = 127 / 255, 128 / 255
    if config.inverted:
        mean, std = 1 - mean, -std
    size = config.image_size
    return Preprocess(size, size, (mean,) * 3, (std,) * 3, "stretch", "bicubic")


def load_teacher(config: ComposedTeacherConfig, store: RunStore) -> tuple[Any, Any]:
    """Returns (torch module [B, 3, H, W] -> class logits [B, K], its Preprocess) for export."""
    from captioning.teachers.module import TeacherModule

    arrays = dict(np.load(store.path("captions", "teacher_head.npz")))
    module = TeacherModule(_backbones(config), arrays)
    return module.eval(), teacher_preprocess(config)


def _in_blocks(
    head: ComposedHead, features_ND: np.ndarray, imagenet_N1000: np.ndarray, block: int = 8192
) -> np.ndarray:
    """Returns class logits [N, K], float32; only a block of the float16 inputs is widened at a time.

    Computed in float64, so that another number of threads rounds to the same.
    """
    parts = [
        head.logits(
            features_ND[start : start + block].astype(np.float64),
            imagenet_N1000[start : start + block].astype(np.float64),
        ).astype(np.float32)
        for start in range(0, len(features_ND), block)
    ]
    return np.concatenate(parts)


def _backbones(config: ComposedTeacherConfig) -> Backbones:
    from captioning.teachers.backbone import Backbone, Backbones

    return Backbones([Backbone(name, config.weights) for name in config.backbone])


def _named_head(
    manifest: Manifest,
    observed: dict[str, np.ndarray],
    config: ComposedTeacherConfig,
    sizes: tuple[int, ...],
) -> tuple[NamedHead, WeightsFile]:
    """Returns what the class names and the unlabelled training images say, and the encoder's file."""
    from captioning.teachers import speak
    from captioning.teachers.prototypes import fit_prototypes

    names, weights = speak.names_head(
        manifest,
        observed["imagenet"],
        config.text_encoder,
        config.names_temperature,
        config.balance,
        config.synonyms,
        config.glosses,
    )
    train = speak.training_rows(manifest)
    if config.prototypes == 0 or len(train) < manifest.task.num_classes:
        return names, weights
    features = observed["features"][train].astype(np.float32)
    probs = softmax(names.logits(features, observed["imagenet"][train].astype(np.float32)))
    head = fit_prototypes(features, probs, sizes, config.prototypes, config.prototype_temperature)
    return head, weights


def _origin(file: WeightsFile, used: bool) -> dict[str, Any]:
    """A weights file for the report; `used` where the teacher needs it to answer."""
    return {
        "name": file.name,
        "source": file.source,
        "sha256": file.sha256,
        "licence": file.licence,
        "size_bytes": file.path.stat().st_size,
        "used": used,
    }


def _scores(store: RunStore, ids: list[str]) -> np.ndarray:
    return softmax(_observation(store, ids, "logits"))


def _features(store: RunStore, ids: list[str]) -> np.ndarray:
    return _observation(store, ids, "features").astype(np.float32)


def _observation(store: RunStore, ids: list[str], name: str) -> np.ndarray:
    observations = np.load(store.path("captions", "observations.npz"))
    assert observations["ids"].tolist() == ids
    return observations[name]


def _by_meaning(manifest: Manifest, text_encoder: Path | None) -> Any:
    """A function from a sentence that names no class to class weights; loads MiniLM when asked."""
    state: dict[str, Any] = {}

    def weights(text: str) -> np.ndarray:
        from captioning.sentences import SentenceEncoder

        if not state:
            state["encoder"] = SentenceEncoder(text_encoder)
            prompts = [f"a photo of a {spoken(name)}" for name in manifest.task.classes]
            state["classes"] = state["encoder"].encode(prompts)
        similarity = state["encoder"].encode([text]) @ state["classes"].T
        return softmax(similarity, temperature=0.05)[0]

    return weights
