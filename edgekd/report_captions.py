"""What the report says of how varied and how right the captions are: rows and sentences."""

from __future__ import annotations

from typing import Any

from edgekd.report_format import DASH, interval, percent, plural, share

VARIETY_COLUMNS = [
    "Temperature",
    "Kept",
    "Right class\non tune",
    "Distinct-2",
    "Self-BLEU",
    "Dispersion",
    "Words",
    "Without logical faults",
]
SWEEP_COLUMNS = ["Temperatures", "Right on tune", "-log likelihood on tune", ""]
ANSWER_COLUMNS = ["About", "True", "95% interval", "Judged", "Unclear"]
AUDIT_COLUMNS = ["Captions", "Their class is\nits first", "Among its\nfirst few", "Judged"]
TERMS = [
    (
        "Right class",
        "share of kept captions of labelled tune images whose first class is the label (where an image "
        "may show several: that name some of these and no other); labels of test are not looked at.",
    ),
    (
        "Distinct-2",
        "share of word pairs that are not repeats, among as many captions of each temperature.",
    ),
    (
        "Self-BLEU",
        "how much of a caption the others say too, 0 to 1; lower is more varied.",
    ),
    ("Dispersion", "mean cosine distance between captions' embeddings; higher is more varied."),
    (
        "Its first",
        "the class an independent checker finds likeliest. It sees otherwise than the teacher and knows "
        "the same labels. Captions of one image are not independent, so intervals are a little narrow.",
    ),
    (
        "Without logical faults",
        "share of the captions that were checked for contradictions and have none.",
    ),
]
_MOST_NAMED = 12


def swept(sweep: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each sweep of temperatures that a short training was tried on."""
    return [
        [
            ", ".join(f"{temperature:g}" for temperature in tried["temperatures"]),
            percent(tried["accuracy"]),
            f"{tried['nll']:.3f}",
            "chosen" if tried["temperatures"] == sweep["chosen"] else "",
        ]
        for tried in sweep["candidates"]
    ]


def variety(metrics: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each temperature, and one for all where there are several."""
    parts = [(f"{part['temperature']:g}", part) for part in metrics["by_temperature"]]
    if len(parts) != 1:
        parts.append(("all", metrics["overall"]))
    return [_varied(name, part) for name, part in parts]


def coverage(metrics: dict[str, Any]) -> list[str]:
    """Returns sentences on the classes and attribute words that captions say rarely or never."""
    found = metrics["coverage"]
    missing, rare = found["missing_classes"], found["rare_classes"]
    total = len(found["classes"])
    lines = [f"Kept captions name {total - len(missing):,} of {total:,} classes."]
    if missing:
        lines[0] += f" Never: {_named(missing)}."
    if rare:
        counts = found["classes"]
        said = [f"{name} ({counts[name]['captions']:,})" for name in rare]
        lines[0] += f" Rarely: {_named(said)}."
    for what, key in (("never said", "missing_words"), ("rarely said", "rare_words")):
        words = [f"{attribute}: {_named(said)}" for attribute, said in found[key].items()]
        if words:
            lines.append(f"Attribute words {what}: {'; '.join(words)}.")
    return lines


def audited(found: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each teacher and temperature, and one for all; none without a checker."""
    if found["note"] is not None or found["overall"]["top_1"] is None:
        return []
    several = len({part["teacher"] for part in found["by_source"]}) > 1
    parts = [
        (
            f"{part['teacher']} {part['temperature']:g}" if several else f"{part['temperature']:g}",
            part,
        )
        for part in found["by_source"]
    ]
    if len(parts) > 1:
        parts.append(("all", found["overall"]))
    return [
        [name, share(part["top_1"]), share(part["among_first"]), f"{part['top_1']['n']:,}"]
        for name, part in parts
    ]


def audit_lines(found: dict[str, Any]) -> list[str]:
    """Returns sentences on what the independent checker found, and what it is worth itself."""
    if found["note"] is not None:
        return [f"No independent checker: {found['note']}."]
    return [_agreed(found), *_own(found)]


def answers(found: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each part of what people answered on the sampling sheet."""
    parts = [
        ("class and attributes", found["overall"]),
        ("whole sentences", found["sentences"]),
        *((f"at temperature {name}", rate) for name, rate in found["by_temperature"].items()),
        *((name, rate) for name, rate in found["by_attribute"].items()),
    ]
    return [
        [
            name,
            percent(rate["value"]),
            DASH if rate["value"] is None else interval(rate),
            f"{rate['n']:,}",
            f"{rate['num_unclear']:,}",
        ]
        for name, rate in parts
    ]


def answers_note(found: dict[str, Any]) -> str:
    """Returns a sentence on where the answers come from."""
    note = f"People judged claims of kept captions on {found['sheet']}."
    if found["of_earlier_captions"]:
        note += " The captions have changed since: draw a new sheet."
    return note


def _agreed(found: dict[str, Any]) -> str:
    part = found["overall"]
    if part["top_1"] is None:
        return "An independent checker found no caption that names a class to judge."
    return (
        f"An independent checker (nearest class mean on {found['backbone']}, "
        f"{plural(found['num_learned'], 'given label')}) agrees with the class in "
        f"{_share_of(part['top_1'], 'kept caption')} of "
        f"{plural(found['num_images'], 'training image')}{_among(part, found['first'])}."
    )


def _own(found: dict[str, Any]) -> list[str]:
    """What the checker's word is worth."""
    part, tuned = found["right_on_tune"], found["captions_right_on_tune"]
    if part["top_1"] is None:
        return ["How often it is right itself is not known: no label on tune."]
    share_right = _share_of(part["top_1"], "labelled tune image")
    lines = [f"Itself it is right on {share_right}{_among(part, found['first'])}."]
    parts = [
        f"of the {rate['n']:,} {words} {percent(rate['value'])} are right"
        for words, rate in (
            ("it agrees with", tuned["agreed"]),
            ("it does not agree with", tuned["not_agreed"]),
        )
        if rate is not None
    ]
    return [*lines, f"Captions there: {', '.join(parts)}."] if parts else lines


def _share_of(rate: dict[str, Any], what: str) -> str:
    return f"{percent(rate['value'])} ({interval(rate)}) of {plural(rate['n'], what)}"


def _among(part: dict[str, Any], first: int) -> str:
    rate = part["among_first"]
    return "" if rate is None else f" (among its first {first}: {percent(rate['value'])})"


def _varied(name: str, part: dict[str, Any]) -> list[str]:
    sample, right = part["sample"], part["right"]
    return [
        name,
        f"{part['num_kept']:,} of {part['num_made']:,}",
        DASH if right is None else f"{percent(right['value'])}\n{interval(right)}",
        _two_digits(sample["distinct"]["2"]),
        _two_digits(sample["self_bleu"]),
        _two_digits(sample["dispersion"]),
        DASH if part["words"]["mean"] is None else f"{part['words']['mean']:.1f}",
        percent(part["consistency"]["value"]),
    ]


def _two_digits(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
