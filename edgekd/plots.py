"""The report's plots as SVG text that takes its colours from the page around it (light or dark).

matplotlib draws with stand-in colours; each becomes a CSS variable of the page afterwards.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

MAX_CONFUSION_CLASSES = 20

_INK, _MUTED, _LINE, _PAPER = "#010101", "#020202", "#030303", "#040404"
_STUDENT, _LABELS_ALONE, _TEACHER, _ON_ACCENT = "#050505", "#060606", "#070707", "#080808"
_CSS = {
    _INK: "currentColor",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _PAPER: "var(--paper)",
    _STUDENT: "var(--student)",
    _LABELS_ALONE: "var(--labels-alone)",
    _TEACHER: "var(--teacher)",
    _ON_ACCENT: "var(--on-accent)",
}
_ROLE_COLOURS = {
    "student": _STUDENT,
    "student_pruned": _TEACHER,  # drawn only in the training curves, where no teacher is
    "labels_alone": _LABELS_ALONE,
    "teacher": _TEACHER,
}
_ROLE_NAMES = {
    "student": "student",
    "student_pruned": "recovery after pruning",
    "labels_alone": "labels alone",
    "teacher": "teacher",
}
_FORMAT_MARKERS = {"tflite": "o", "onnx": "s"}
_FORMAT_NAMES = {"tflite": "TFLite", "onnx": "ONNX"}
_FILL_ALPHA = {"fp32": 0.0, "fp16": 0.4, "int8": 1.0}
_WIDTH_INCHES = 5.0  # 360 units: on a phone the text keeps its 9 to 10 px
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


@dataclass(frozen=True)
class Plot:
    """An inline SVG; `alt` says in words what it shows."""

    svg: str
    alt: str
    caption: str


def size_accuracy_latency(rows: list[dict[str, Any]]) -> Plot | None:
    """Returns size against accuracy, dots grow with latency; None with no accuracy at all."""
    shown = [row for row in rows if row["accuracy"] is not None]
    if not shown:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for index, row in enumerate(shown):
            _draw_file(axes, row, f"point-{index}")
        _size_axis(axes, [row["size_bytes"] / 1e6 for row in shown])
        axes.set_ylabel("accuracy on the test images, %")
        axes.margins(x=0.12, y=0.16)
        for row in shown:
            if row["chosen"]:
                _mark_chosen(axes, row)
        figure.legend(
            handles=_file_legend(shown), loc="outside lower center", ncols=3, fontsize=8.5
        )

    titles = {f"point-{index}": _file_words(row) for index, row in enumerate(shown)}
    return Plot(
        _render("files-plot", draw, height=4.0, titles=titles),
        alt="Scatter plot of size against accuracy. " + "; ".join(titles.values()) + ".",
        caption="Up and to the left is better. Vertical bars are 95% intervals; a larger dot "
        "answers more slowly; filled dots are int8, hollow ones fp32; the ring marks the "
        "chosen file.",
    )


def confusion(counts: list[list[int]], classes: list[str]) -> Plot | None:
    """Returns the confusion matrix as a heat map; with many classes, the most confused ones."""
    counts_KK = np.asarray(counts, dtype=np.int64)
    if counts_KK.sum() == 0:
        return None
    picked = most_confused(counts_KK, MAX_CONFUSION_CLASSES)
    totals = np.maximum(counts_KK.sum(axis=1), 1)[picked]
    shares = counts_KK[np.ix_(picked, picked)] / totals[:, None]
    names = [_short(classes[index]) for index in picked]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        _draw_cells(axes, shares)
        ticks = np.arange(len(names)) + 0.5
        axes.set_xticks(ticks, names, rotation=60, ha="right", parse_math=False)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
        axes.set_yticks(ticks, names, parse_math=False)
        axes.set_xlabel("what the file answered")
        axes.set_ylabel("the label")
        axes.tick_params(length=0, labelsize=8.5)
        axes.grid(False)

    size = min(3.2 + 0.27 * len(names), 8.0)
    part = len(picked) < len(classes)
    return Plot(
        _render("confusion-plot", draw, height=size, width=max(size, _WIDTH_INCHES)),
        alt=f"Confusion matrix of {len(picked)} of {len(classes)} classes; the largest "
        "confusions are listed in the table beside it.",
        caption=(f"The {len(picked)} most confused of {len(classes):,} classes. " if part else "")
        + "Each row shares out the images of one label in percent; the diagonal is right.",
    )


def coverage(found: dict[str, Any]) -> Plot | None:
    """Returns coverage against accuracy, and against outliers rejected; None without test images.

    Coverages that fewer than ten images make are left out: their accuracy is chance.
    """
    test = found["test"]
    if test is None:
        return None
    floor = 10 / test["coverage"]["n"]
    points = [point for point in test["curve"] if point["coverage"] >= min(floor, 1)]
    curves: dict[str, tuple[str, str, Any]] = {
        "right among the answered": ("accuracy", _STUDENT, "-")
    }
    if all("outliers_rejected" in point for point in points):
        curves["outliers rejected"] = ("outliers_rejected", _TEACHER, (0, (5, 2)))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        across = [point["coverage"] * 100 for point in points]
        for label, (key, colour, style) in curves.items():
            shares = [point[key] * 100 for point in points]
            axes.plot(across, shares, color=colour, linestyle=style, linewidth=1.8, label=label)
        _mark_threshold(axes, found)
        axes.set_xlabel("test images answered, %")
        axes.set_ylabel("%")
        axes.legend(fontsize=9)

    at = test["coverage"]["value"]
    right = test["accuracy_answered"]
    words = "no answer" if right is None else f"{right['value']:.1%} of them right"
    return Plot(
        _render("coverage-plot", draw, height=3.2),
        alt=f"Line chart of the share of right answers over the share of test images answered. At "
        f"the threshold {at:.1%} are answered, {words}; with all answered "
        f"{test['accuracy']['value']:.1%} are right.",
        caption="From the surest answers alone, left, to all, right. The upright line is the "
        "threshold.",
    )


def training(history: dict[str, list[dict[str, Any]]]) -> list[Plot]:
    """Returns the loss and the tune accuracy over the steps, each where there are figures."""
    plots = []
    for key, label, factor in (
        ("loss", "loss", 1.0),
        ("tune_accuracy", "accuracy on the tune split, %", 100.0),
    ):
        curves = {
            role: [
                (point["step"], point[key] * factor) for point in points if point[key] is not None
            ]
            for role, points in history.items()
        }
        curves = {role: points for role, points in curves.items() if points}
        if curves:
            plots.append(_curves_plot(key.replace("_", "-"), label, curves))
    return plots


def stage_seconds(stages: list[dict[str, Any]]) -> Plot | None:
    """Returns a bar for each stage, in running order from the top; None for no stages."""
    if not stages:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places = np.arange(len(stages))[::-1]
        for place, stage in zip(places, stages, strict=True):
            alpha = 0.35 if stage["reused"] else 1.0
            axes.barh(place, stage["seconds"], height=0.62, color=_STUDENT, alpha=alpha)
            axes.annotate(
                f"{stage['seconds']:,.0f} s",
                (stage["seconds"], place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks(places, [stage["stage"] for stage in stages], parse_math=False)
        axes.set_xlabel("seconds")
        axes.margins(x=0.16)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)

    reused = any(stage["reused"] for stage in stages)
    words = "; ".join(f"{stage['stage']} {stage['seconds']:,.0f} seconds" for stage in stages)
    return Plot(
        _render("stages-plot", draw, height=1.1 + 0.3 * len(stages)),
        alt=f"Bar chart of the seconds of every stage: {words}.",
        caption="Seconds of every stage, in running order."
        + (
            " Pale bars were reused from an earlier run; their time is from then." if reused else ""
        ),
    )


def most_confused(counts_KK: np.ndarray, limit: int) -> list[int]:
    """Returns at most `limit` class indices, those with most errors given or taken, in order."""
    errors = counts_KK - np.diag(np.diag(counts_KK))
    weight_K = errors.sum(axis=0) + errors.sum(axis=1)
    picked = np.argsort(-weight_K, kind="stable")[:limit]
    return sorted(int(index) for index in picked)


def _draw_file(axes: Any, row: dict[str, Any], gid: str) -> None:
    from matplotlib.colors import to_rgba

    accuracy, colour = row["accuracy"], _ROLE_COLOURS[row["role"]]
    place = (row["size_bytes"] / 1e6, accuracy["value"] * 100)
    reach = [[place[1] - accuracy["low"] * 100], [accuracy["high"] * 100 - place[1]]]
    axes.errorbar(*place, yerr=reach, fmt="none", ecolor=colour, elinewidth=1, alpha=0.55)
    axes.scatter(
        *place,
        s=_area(row),
        marker=_FORMAT_MARKERS[row["format"]],
        zorder=3,
        gid=gid,
        facecolor=to_rgba(colour, _FILL_ALPHA[row["precision"]]),
        edgecolor=colour,
        linewidth=1.4,
    )


def _area(row: dict[str, Any]) -> float:
    median = _median_ms(row)
    return 40.0 if median is None else float(np.clip(18 + 14 * np.sqrt(median) * 2, 24, 260))


def _median_ms(row: dict[str, Any]) -> float | None:
    return row["latency"]["latency_ms"].get("median") if row["latency"] else None


def _size_axis(axes: Any, sizes_mb: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    wide = max(sizes_mb) / min(sizes_mb) > 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("size, MB (log scale)")


def _mark_chosen(axes: Any, row: dict[str, Any]) -> None:
    place = (row["size_bytes"] / 1e6, row["accuracy"]["value"] * 100)
    axes.scatter(*place, s=_area(row) + 130, facecolor="none", edgecolor=_INK, linewidth=1.2)
    low, high = np.log(axes.get_xlim())
    left = np.log(place[0]) < (low + high) / 2
    axes.annotate(
        f"{_short(row['model'], 28)}, {row['precision']}",
        place,
        xytext=(10 if left else -10, 12),
        textcoords="offset points",
        ha="left" if left else "right",
        fontsize=9,
        weight="bold",
        parse_math=False,
        zorder=4,
    )


def _mark_threshold(axes: Any, found: dict[str, Any]) -> None:
    if found["reject_below"] is not None:
        place = found["test"]["coverage"]["value"] * 100
        axes.axvline(place, color=_INK, linewidth=1, linestyle=":")


def _file_legend(rows: list[dict[str, Any]]) -> list[Any]:
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    def handle(label: str, marker: str, colour: str, alpha: float) -> Any:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            label=label,
            markersize=6,
            markerfacecolor=to_rgba(colour, alpha),
            markeredgecolor=colour,
        )

    roles = [role for role in _ROLE_COLOURS if any(row["role"] == role for row in rows)]
    formats = [kind for kind in _FORMAT_MARKERS if any(row["format"] == kind for row in rows)]
    fills = [kind for kind in _FILL_ALPHA if any(row["precision"] == kind for row in rows)]
    return (
        [handle(_ROLE_NAMES[role], "D", _ROLE_COLOURS[role], 1.0) for role in roles]
        + [handle(_FORMAT_NAMES[kind], _FORMAT_MARKERS[kind], _MUTED, 1.0) for kind in formats]
        + [handle(kind, "o", _MUTED, _FILL_ALPHA[kind]) for kind in fills]
    )


def _file_words(row: dict[str, Any]) -> str:
    median = _median_ms(row)
    latency = "latency not measured" if median is None else f"{median:.2f} ms"
    return (
        f"{row['model']} {_FORMAT_NAMES[row['format']]} {row['precision']}: "
        f"{row['size_bytes'] / 1e6:.2f} MB, {row['accuracy']['value']:.1%}, {latency}"
    )


def _draw_cells(axes: Any, shares_KK: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    rows, columns = np.nonzero(shares_KK)
    squares = [
        [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y, x in zip(rows, columns, strict=True)
    ]
    values = shares_KK[rows, columns]
    colours = [to_rgba(_STUDENT, 0.08 + 0.92 * value) for value in values]
    axes.add_collection(PolyCollection(squares, facecolors=colours, edgecolors="none"))
    for y, x, value in zip(rows, columns, values, strict=True):
        if round(value * 100) >= 1:
            axes.text(
                x + 0.5,
                y + 0.5,
                f"{value * 100:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color=_ON_ACCENT if value > 0.5 else _INK,
            )
    axes.set_xlim(0, len(shares_KK))
    axes.set_ylim(len(shares_KK), 0)
    axes.set_aspect("equal")


def _curves_plot(name: str, label: str, curves: dict[str, list[tuple[int, float]]]) -> Plot:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for role, points in curves.items():
            steps, values = zip(*points, strict=True)
            axes.plot(
                steps,
                values,
                color=_ROLE_COLOURS[role],
                label=_ROLE_NAMES[role],
                linewidth=1.8,
                linestyle="-" if role == "student" else (0, (5, 2)),
                marker="o" if len(points) < 25 else None,
                markersize=3,
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.legend(fontsize=9)

    words = "; ".join(
        f"{_ROLE_NAMES[role]} from {points[0][1]:.2f} to {points[-1][1]:.2f} "
        f"in {points[-1][0]:,} steps"
        for role, points in curves.items()
    )
    note = "The two losses are not on one scale: one includes the soft targets."
    return Plot(
        _render(f"{name}-plot", draw, height=3.2),
        alt=f"Line chart of {label} over the training steps: {words}.",
        caption=note if name == "loss" and len(curves) > 1 else "",
    )


def _short(name: str, limit: int = 20) -> str:
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _render(
    name: str,
    draw: Callable[[Any], None],
    height: float,
    width: float = _WIDTH_INCHES,
    titles: dict[str, str] | None = None,
) -> str:
    """Returns the SVG element; ids start with `name`, so that plots on one page do not clash."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style(name)):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _page_svg(stream.getvalue(), name, titles or {})


def _style(name: str) -> Any:
    return {
        "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
        "svg.hashsalt": name,  # the same report gives the same bytes
        "font.size": 10,
        "text.color": _INK,
        "axes.edgecolor": _LINE,
        "axes.labelcolor": _MUTED,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": _LINE,
        "grid.linewidth": 0.6,
        "xtick.color": _LINE,
        "ytick.color": _LINE,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "legend.frameon": False,
    }


def _page_svg(text: str, name: str, titles: dict[str, str]) -> str:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(text)
    for element in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(element)
    for element in root.iter():
        title = titles.get(element.get("id", ""))
        for key, value in element.attrib.items():
            element.set(key, _page_value(key, value, name))
        if title is not None:
            node = ElementTree.Element(f"{{{_SVG}}}title")
            node.text = title
            element.insert(0, node)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.set("style", f"--natural-width: {width:.0f}")
    root.set("aria-hidden", "true")  # the words are on the figure around it
    return ElementTree.tostring(root, encoding="unicode")


def _page_value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{_XLINK}}}href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key in ("style", "clip-path", "fill", "stroke"):
        value = value.replace("url(#", f"url(#{name}-")
        value = re.sub(r"#0[1-8]0[1-8]0[1-8]", lambda m: _CSS.get(m.group(), m.group()), value)
        value = re.sub(r"(font: [^;]*?px )[^;]*", r"\1system-ui, sans-serif", value)
        value = re.sub(r"font-family: [^;]*", "font-family: system-ui, sans-serif", value)
    return value
