"""A sheet for people: what is drawn, what is read back, every way to spoil it, and the rates."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.sampling_sheet import (
    COLUMNS,
    WHOLE,
    Answer,
    Row,
    draw,
    key_path,
    rates,
    read,
    write,
)
from edgekd.errors import DataError, SchemaError, UsageError
from edgekd.metrics import wilson_interval
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "electric_guitar"))


def caption(item: str, index: int, text: str, temperature: float, dropped: str = "") -> Caption:
    return Caption(item, index, text, f"t{index}", temperature, 0, "teacher", 0.9, dropped or None)


def captions() -> list[Caption]:
    """20 images of cats and 2 of dogs with two captions each, and one that is dropped."""
    found = []
    for number in range(22):
        name = "cat" if number < 20 else "dog"
        found.append(caption(f"i{number}", 0, f"A red {name}, perhaps a guitar.", 0.5))
        found.append(caption(f"i{number}", 1, f"A blue {name}", 1.5))
    return [*found, caption("i0", 2, "A green cat", 1.5, dropped="short")]


IMAGES = {f"i{number}": f"photos/{number}.jpg" for number in range(22)}


def drawn(num_captions: int = 8, seed: int = 0) -> list[Row]:
    return draw(captions(), IMAGES, TASK, num_captions, seed)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    write(drawn(), tmp_path / "sheet.csv")
    return tmp_path / "sheet.csv"


def lines(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def rewrite(path: Path, table: list[list[str]], separator: str = ",") -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(table)
    path.write_text(text.getvalue(), encoding="utf-8-sig", newline="")


def answered(path: Path, answer: str = "yes") -> list[list[str]]:
    header, *rows = lines(path)
    return [header, *([*row[:-1], answer] for row in rows)]


def test_classes_and_temperatures_take_turns() -> None:
    """Of 44 captions, 4 are of dogs: 8 drawn are 2 of each class and temperature."""
    whole = [row for row in drawn() if row.about == "sentence"]
    kinds = Counter(("dog" in row.caption, row.temperature) for row in whole)
    assert kinds == {(False, 0.5): 2, (False, 1.5): 2, (True, 0.5): 2, (True, 1.5): 2}
    assert {row.weight for row in whole if "cat" in row.caption} == {10.0}  # 20 of each, 2 drawn
    assert {row.weight for row in whole if "dog" in row.caption} == {1.0}


def test_a_kind_that_runs_out_leaves_its_turns_to_the_others() -> None:
    whole = [row for row in drawn(20) if row.about == "sentence"]
    kinds = Counter(("dog" in row.caption, row.temperature) for row in whole)
    assert kinds == {(False, 0.5): 8, (False, 1.5): 8, (True, 0.5): 2, (True, 1.5): 2}
    assert len([row for row in drawn(500) if row.about == "sentence"]) == 44  # no dropped one


def test_the_seed_decides_and_not_the_order() -> None:
    assert drawn() == draw(reversed(captions()), IMAGES, TASK, 8, 0)
    assert drawn() != drawn(seed=1)


def test_what_a_caption_claims() -> None:
    """The second guess is no claim; the class is said as people say it."""
    spoken = caption("i0", 0, "A red electric-guitar, perhaps a cat, wide in shape", 1.0)
    rows = draw([spoken], IMAGES, TASK, 1, 0)
    assert [(row.about, row.claim) for row in rows] == [
        ("object", "electric guitar"),
        ("colour", "red"),
        ("shape", "wide"),
        ("sentence", WHOLE),
    ]
    assert len({row.id for row in rows}) == 4
    assert all(row.id.startswith("r") for row in rows)


def test_a_caption_that_names_nothing_can_be_judged_as_a_whole() -> None:
    (row,) = draw([caption("i0", 0, "Something odd", 1.0)], IMAGES, TASK, 3, 0)
    assert (row.about, row.image) == ("sentence", "photos/0.jpg")


def test_the_sheet_says_nothing_of_temperature_or_template(sheet: Path) -> None:
    header, *rows = lines(sheet)
    assert tuple(header) == COLUMNS
    assert len(rows) == len(drawn()) == 8 * 3
    assert {row[-1] for row in rows} == {""}
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbf")
    assert not any("0.5" in cell or cell == "t0" for row in rows for cell in row)
    assert [row[0] for row in rows] == [row.id for row in drawn()]


def test_a_sheet_is_not_written_over(sheet: Path) -> None:
    with pytest.raises(UsageError, match="is there already, perhaps with answers"):
        write(drawn(), sheet)


def test_answers_come_back_with_what_they_are_of(sheet: Path) -> None:
    rewrite(sheet, answered(sheet))
    assert read(sheet) == [Answer(row, "yes") for row in drawn()]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Yes", "yes"), (" y ", "yes"), ("TRUE", "yes"), ("1", "yes"), ("No", "no"), ("0", "no"),
     ("Unclear", "unclear"), ("?", "unclear")],
)  # fmt: skip
def test_ways_to_write_an_answer(sheet: Path, written: str, meant: str) -> None:
    rewrite(sheet, answered(sheet, written))
    assert {answer.answer for answer in read(sheet)} == {meant}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_as_spreadsheets_save_it(sheet: Path, separator: str) -> None:
    header, *rows = answered(sheet)
    header[0] = "ID"
    table = [[*row, "a note"] for row in [header, *reversed(rows)]]
    rewrite(sheet, [*table, [""] * 7], separator)
    assert len(read(sheet)) == 24


def test_utf_16_is_read(sheet: Path) -> None:
    text = "\n".join("\t".join(row) for row in answered(sheet))
    sheet.write_text(text, encoding="utf-16")
    assert len(read(sheet)) == 24


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: [t[0], *t[2:]], "missing: row {id} ({image}: {about} {claim})"),
        (lambda t: [*t[:-1], [*t[-1][:-1], "maybe"]],
         "row 25: answer 'maybe', expected yes, no or unclear."),
        (lambda t: [t[0], [*t[1][:-1], "yess"], *t[2:]],
         "row 2: answer 'yess', expected yes, no or unclear. Closest: 'yes'."),
        (lambda t: [t[0], [*t[1][:-1], ""], *t[2:]],
         "row 2: no answer, expected yes, no or unclear"),
        (lambda t: [t[0], t[1], *t[1:]], "row 3: id '{id}' stands there twice"),
        (lambda t: [t[0], ["r12", *t[1][1:]], *t[2:]], "row 2: id 'r12' is none of this sheet's."),
        (lambda t: [t[0], [t[1][0], "other.jpg", *t[1][2:]], *t[2:]],
         "row 2: image changed from '{image}' to 'other.jpg'. Put it back"),
        (lambda t: [t[0], [*t[1][:4], "zebra", "yes"], *t[2:]],
         "row 2: claim changed from '{claim}' to 'zebra'. Put it back"),
    ],
    ids=["row gone", "other value", "typing error", "no answer", "twice", "changed id",
         "changed image", "changed claim"],
)  # fmt: skip
def test_spoilt_sheets(
    sheet: Path, spoil: Callable[[list[list[str]]], list[list[str]]], says: str
) -> None:
    rewrite(sheet, spoil(answered(sheet)))
    with pytest.raises(DataError) as caught:
        read(sheet)
    row = drawn()[0]
    expected = says.format(id=row.id, image=row.image, about=row.about, claim=row.claim)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{sheet}: ")


def test_a_changed_id_is_a_strange_row_and_a_missing_one(sheet: Path) -> None:
    table = answered(sheet)
    table[1][0] = table[1][0][:-1]
    rewrite(sheet, table)
    with pytest.raises(DataError) as caught:
        read(sheet)
    first, *faults = str(caught.value).splitlines()
    assert first == f"{sheet}: 2 faults"
    assert faults[0].endswith(f"is none of this sheet's. Closest: '{drawn()[0].id}'.")
    assert faults[1].startswith(f"  missing: row {drawn()[0].id} ")


def test_many_faults_are_counted(sheet: Path) -> None:
    with pytest.raises(DataError) as caught:  # nothing was answered
        read(sheet)
    lines_of = str(caught.value).splitlines()
    assert lines_of[0] == f"{sheet}: 24 faults"
    assert (len(lines_of), lines_of[-1]) == (12, "  and 14 more")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column id, image, caption, about, claim, answer, found nothing"),
        (b"id,image,caption,about,claim\n", "no column answer, found id, image, caption, about"),
        (b"id,\xff\xe9\n", "not UTF-8. Save the sheet as CSV in UTF-8"),
    ],
)
def test_no_sheet_at_all(sheet: Path, content: bytes, says: str) -> None:
    sheet.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(sheet)
    assert says in str(caught.value)


def test_sheet_and_key_belong_together(sheet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: no such sheet"):
        read(tmp_path / "none.csv")
    key = key_path(sheet)
    key.write_text(key.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(SchemaError, match="schema 9, this edgekd reads schema 1"):
        read(sheet)
    key.unlink()
    with pytest.raises(UsageError, match="Expected the key that was written with the sheet"):
        read(sheet)


def test_a_caption_is_no_formula(tmp_path: Path) -> None:
    text = "=HYPERLINK(1), a cat\nin two lines"
    rows = draw([caption("i0", 0, text, 1.0)], IMAGES, TASK, 1, 0)
    path = tmp_path / "sheet.csv"
    write(rows, path)
    assert {row[2] for row in lines(path)[1:]} == {"'=HYPERLINK(1), a cat in two lines"}
    rewrite(path, answered(path))
    assert read(path)[0].row.caption == "=HYPERLINK(1), a cat in two lines"


def answer(about: str, said: str, temperature: float, template: str, weight: float = 1) -> Answer:
    return Answer(Row("r", "i", "c", about, "x", temperature, template, weight), said)


def test_rates() -> None:
    found = rates(
        [
            answer("object", "yes", 0.5, "plain", 10),
            answer("object", "no", 1.5, "plain", 2),
            answer("colour", "yes", 1.5, "form", 2),
            answer("colour", "unclear", 0.5, "form", 10),
            answer("sentence", "no", 0.5, "plain"),
        ]
    )
    low, high = wilson_interval(2, 3)
    assert found["overall"] == {
        "value": 2 / 3,
        "low": low,
        "high": high,
        "n": 3,
        "num_unclear": 1,
        "weighted": 12 / 14,
    }
    assert (low, high) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # Wilson, 2 of 3
    assert (found["sentences"]["value"], found["sentences"]["n"]) == (0, 1)
    assert {k: (v["value"], v["n"]) for k, v in found["by_temperature"].items()} == {
        "0.5": (1.0, 1),
        "1.5": (0.5, 2),
    }
    assert {k: (v["value"], v["n"]) for k, v in found["by_template"].items()} == {
        "form": (1.0, 1),
        "plain": (0.5, 2),
    }
    assert {k: (v["value"], v["n"]) for k, v in found["by_attribute"].items()} == {
        "colour": (1.0, 1),
        "object": (0.5, 2),
    }
