"""The words of the report on captions: rows by temperature, what is hardly said, what people say."""

from __future__ import annotations

import math
from typing import Any

from edgekd import report_captions, report_sections
from edgekd.report_format import without_nan


def part(right: float | None, dispersion: float | None = 0.5) -> dict[str, Any]:
    share = None if right is None else {"value": right, "low": 0.25, "high": 0.875, "n": 8}
    return {
        "num_made": 2000,
        "num_kept": 1500,
        "right": share,
        "words": {"mean": 9.04},
        "consistency": {"value": 0.99, "low": 0.98, "high": 1.0, "n": 1500, "faults": {}},
        "sample": {"distinct": {"2": 0.125}, "self_bleu": 0.456, "dispersion": dispersion},
    }


def metrics(*parts: dict[str, Any], **coverage: Any) -> dict[str, Any]:
    none = {"missing_classes": [], "rare_classes": [], "missing_words": {}, "rare_words": {}}
    classes = {name: {"captions": n, "images": n} for name, n in (("cat", 9), ("dog", 1_000))}
    by_temperature = [{"temperature": 0.5 * n, **each} for n, each in enumerate(parts, 1)]
    return {
        "overall": part(0.75),
        "by_temperature": by_temperature,
        "coverage": {"classes": classes} | none | coverage,
    }


def test_a_row_a_temperature_and_one_for_all_where_there_are_several() -> None:
    rows = report_captions.variety(metrics(part(0.5), part(None, None)))
    assert [row[0] for row in rows] == ["0.5", "1", "all"]
    assert rows[0] == [
        "0.5", "1,500 of 2,000", "50.0%\n25.0 to 87.5%", "0.12", "0.46", "0.50", "9.0", "99.0%",
    ]  # fmt: skip
    assert [rows[1][2], rows[1][5]] == ["–", "–"]
    assert [row[0] for row in report_captions.variety(metrics(part(0.5)))] == ["0.5"]
    assert all(len(row) == len(report_captions.VARIETY_COLUMNS) for row in rows)


def test_the_rare_ones_are_named() -> None:
    assert report_captions.coverage(metrics()) == ["Kept captions name 2 of 2 classes."]
    found = report_captions.coverage(
        metrics(
            missing_classes=["dog"],
            rare_classes=["cat"],
            missing_words={"colour": ["pink", "red"]},
            rare_words={"size": ["tiny"]},
        )
    )
    assert found == [
        "Kept captions name 1 of 2 classes. Never: dog. Rarely: cat (9).",
        "Attribute words never said: colour: pink, red.",
        "Attribute words rarely said: size: tiny.",
    ]


def rate(value: float, n: int, num_unclear: int = 0) -> dict[str, Any]:
    return {"value": value, "low": 0.5, "high": 0.9, "n": n, "num_unclear": num_unclear}


def answers(of_earlier_captions: bool = False) -> dict[str, Any]:
    return without_nan(
        {
            "sheet": "judge.csv",
            "of_earlier_captions": of_earlier_captions,
            "overall": rate(0.75, 1_200, 3),
            "sentences": rate(math.nan, 0, 9),
            "by_temperature": {"0.5": rate(0.8, 10)},
            "by_attribute": {"colour": rate(0.7, 10)},
        }
    )


def test_what_people_say_has_its_interval_and_says_what_is_stale() -> None:
    rows = report_captions.answers(answers())
    assert rows[0] == ["class and attributes", "75.0%", "50.0 to 90.0%", "1,200", "3"]
    assert rows[1] == ["whole sentences", "–", "–", "0", "9"]
    assert [row[0] for row in rows[2:]] == ["at temperature 0.5", "colour"]
    assert "draw a new sheet" not in report_captions.answers_note(answers())
    assert "draw a new sheet" in report_captions.answers_note(answers(True))


def test_the_section_holds_what_is_there_and_nothing_else() -> None:
    bare = {"num_made": 4, "num_kept": 4, "dropped": {}, "samples": []}
    section = report_sections._captions(bare)
    assert [section.tables, section.terms] == [[], []]
    full = bare | {"metrics": metrics(part(0.5)), "answers": answers(), "dropped": {"short": 1}}
    section = report_sections._captions(full)
    assert [table.caption for table in section.tables] == [
        "Diversity against accuracy, by temperature",
        "What people say of them",
        "Why captions were dropped",
    ]
    assert section.paragraphs[1:] == [
        "Kept captions name 2 of 2 classes.",
        "People judged claims of kept captions on judge.csv.",
    ]


def test_targets_say_the_warnings_of_their_balance() -> None:
    targets = dict.fromkeys(("captions_only", "scores_only", "both")) | {
        "split": "test",
        "note": "n",
    }
    assert report_sections._targets(targets, multilabel=False).paragraphs == ["n"]
    balance = {"warnings": ["dog: twice as often as on tune"], "classes": {"ratios": []}}
    section = report_sections._targets(targets | {"balance": balance}, multilabel=False)
    assert section.paragraphs == ["n", "dog: twice as often as on tune"]


def audited(few: bool = True, **more: Any) -> dict[str, Any]:
    def rate(value: float, n: int) -> dict[str, Any]:
        return {"value": value, "low": value - 0.125, "high": value + 0.125, "n": n}

    def both(n: int) -> dict[str, Any]:
        return {"top_1": rate(0.75, n), "among_first": rate(0.875, n) if few else None}

    return {
        "note": None,
        "backbone": "efficientnet_lite0",
        "num_learned": 200,
        "num_images": 500,
        "first": 3 if few else 0,
        "right_on_tune": both(100),
        "overall": both(1400),
        "by_source": [
            {"teacher": "a", "temperature": 0.5} | both(700),
            {"teacher": "a", "temperature": 1.5} | both(700),
        ],
        "captions_right_on_tune": {"agreed": rate(0.875, 80), "not_agreed": rate(0.25, 20)},
    } | more


def test_what_the_checker_says_and_what_it_is_worth() -> None:
    assert report_captions.audit_lines(audited()) == [
        "An independent checker (nearest class mean on efficientnet_lite0, 200 given labels) agrees "
        "with the class in 75.0% (62.5 to 87.5%) of 1,400 kept captions of 500 training images (among "
        "its first 3: 87.5%).",
        "Itself it is right on 75.0% (62.5 to 87.5%) of 100 labelled tune images (among its "
        "first 3: 87.5%).",
        "Captions there: of the 80 it agrees with 87.5% are right, of the 20 it does not agree with "
        "25.0% are right.",
    ]
    rows = report_captions.audited(audited())
    assert [row[0] for row in rows] == ["0.5", "1.5", "all"]
    assert rows[2][1:] == ["75.0%\n62.5 to 87.5%", "87.5%\n75.0 to 100.0%", "1,400"]
    assert report_captions.audited(audited(few=False))[0][2] == "–"


def test_several_teachers_are_named() -> None:
    found = audited()
    found["by_source"][1]["teacher"] = "b"
    assert [row[0] for row in report_captions.audited(found)] == ["a 0.5", "b 1.5", "all"]


def test_without_a_checker_or_its_worth_that_is_said() -> None:
    nothing = {"top_1": None, "among_first": None}
    assert report_captions.audit_lines({"note": "no labels"}) == [
        "No independent checker: no labels."
    ]
    assert report_captions.audited({"note": "no labels"}) == []
    unknown = audited(right_on_tune=nothing, overall=nothing, by_source=[])
    assert report_captions.audit_lines(unknown) == [
        "An independent checker found no caption that names a class to judge.",
        "How often it is right itself is not known: no label on tune.",
    ]
    assert report_captions.audited(unknown) == []


def test_the_section_shows_the_checker() -> None:
    captions = {"num_made": 9, "num_kept": 9, "dropped": {}, "audit": audited()}
    section = report_sections._captions(captions)
    assert "Whether an independent checker agrees" in [table.caption for table in section.tables]
    assert section.paragraphs[1].startswith("An independent checker (")
