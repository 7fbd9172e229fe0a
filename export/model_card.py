"""MODEL_CARD.md: what the model is for, how well it answers, what it costs, how to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import jinja2

from edgekd import confidence
from edgekd.confidence_words import SCORES_IN_WORDS
from edgekd.errors import UsageError, closest
from edgekd.sizes import format_size

_TEMPLATES = Path(__file__).resolve().parent / "templates"
# In the card's program: `p` are the probabilities, `y` the logits before the temperature.
_SCORE_CALLS = {
    "probability": "p.max()",
    "max_logit": "y.max()",
    "energy": "np.log(np.exp(y - y.max()).sum()) + y.max()",
}
_INTEGER_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class ModelCard(TypedDict, total=False):
    """What a caller may say; all but `name` may be left out, and the card then says so.

    `metrics` are dicts {name, value, low, high, n}: with low and high the value is a share and
    printed in percent, without them it is a number. `latency` are BenchmarkResult dicts. `labels`
    says for each use (train, tune, val, test) how many {images, labels}. `data` is {name,
    licence}, `teacher` {name, licence, note}. `confidence` are sentences on how temperature and
    threshold were set and what was measured of them.
    """

    name: str
    intended_use: str
    architecture: str
    num_params: int
    num_macs: int
    metrics: list[dict[str, Any]]
    latency: list[dict[str, Any]]
    data: dict[str, Any]
    labels: dict[str, dict[str, int]]
    teacher: dict[str, Any]
    limits: list[str]
    confidence: list[str]


def render_model_card(
    card: dict[str, Any],
    *,
    labels: list[str],
    preprocess: dict[str, Any],
    sizes: dict[str, int],
    test_image: str,
    expected_class: str,
    licences: dict[str, str],
) -> str:
    """Returns the card as Markdown; its program runs in the unpacked bundle as it stands.

    Raises:
        UsageError: the card has no name or an unknown key.
    """
    _check_keys(card)
    entry, sure = preprocess["inputs"][0], confidence.from_json(preprocess)
    return (
        _environment()
        .get_template("MODEL_CARD.md.j2")
        .render(
            card=dict.fromkeys(ModelCard.__annotations__) | {"limits": [], "confidence": []} | card,
            labels=labels,
            sizes=sizes,
            input=entry,
            limits=_INTEGER_LIMITS.get(entry["dtype"]),
            resize=_resize_call(entry["resize"]),
            output=preprocess["outputs"][0],
            multilabel=preprocess["outputs"][0].get("kind") == "multilabel",
            sure=sure,
            score=SCORES_IN_WORDS[sure.reject_by],
            score_call=_SCORE_CALLS[sure.reject_by],
            test_image=test_image,
            expected_class=expected_class,
            licences=dict(sorted(licences.items())),
        )
    )


def _check_keys(card: dict[str, Any]) -> None:
    unknown = sorted(set(card) - set(ModelCard.__annotations__))
    if unknown:
        raise UsageError(
            f"model card: unknown key '{unknown[0]}'.{closest(unknown[0], ModelCard.__annotations__)}"
        )
    if not card.get("name"):
        raise UsageError("model card: 'name' is missing")


def _resize_call(resize: dict[str, Any]) -> str:
    size = f"({resize['width']}, {resize['height']})"
    resample = f"Image.Resampling.{resize['interpolation'].upper()}"
    if resize["mode"] == "stretch":
        return f"image.resize({size}, {resample})"
    if resize["mode"] == "shorter_side_crop":
        return f"ImageOps.fit(image, {size}, {resample})"
    return f"ImageOps.pad(image, {size}, {resample}, color=(0, 0, 0))"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; `cell` keeps names from breaking out
    )
    environment.filters |= {
        "cell": _cell,
        "count": lambda value: "-" if value is None else f"{value:,}",
        "size": format_size,
        "value": _value,
        "interval": _interval,
        "ms": _milliseconds,
        "mb": lambda value: "-" if value is None else f"{value:.1f} MB",
    }
    return environment


def _cell(value: Any) -> str:
    """One line that breaks neither a table nor the page."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} ms" if value >= 0.1 else f"{value:.2g} ms"


def _value(metric: dict[str, Any]) -> str:
    if metric.get("value") is None:
        return "not measured"
    return f"{metric['value']:.3f}" if metric.get("low") is None else f"{metric['value']:.1%}"


def _interval(metric: dict[str, Any]) -> str:
    if metric.get("low") is None or metric.get("high") is None:
        return "-"
    return f"{metric['low']:.1%} to {metric['high']:.1%}"
