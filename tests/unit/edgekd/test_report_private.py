"""The words of the report on private data: what was found, and what was not looked for."""

from __future__ import annotations

from typing import Any

import pytest

from edgekd import report_private, report_sections

NONE = {"images": 0, "with_faces": 0, "faces": 0}
FACES = {
    "train": {"images": 60, "with_faces": 2, "faces": 3},
    "tune": {"images": 1_000, "with_faces": 0, "faces": 0},
    "val": NONE,
    "test": {"images": 20, "with_faces": 1, "faces": 1},
}


@pytest.mark.parametrize(
    ("by_split", "line"),
    [
        (FACES, "3 of 1,080 images show 4 faces (train 2 of 60, test 1 of 20)."),
        (
            {"train": {"images": 1, "with_faces": 1, "faces": 1}},
            "1 of 1 image shows 1 face (train 1 of 1).",
        ),
        ({"train": NONE | {"images": 7}}, "No face was found in 7 images."),
    ],
)
def test_how_many_images_show_how_many_faces(by_split: dict[str, Any], line: str) -> None:
    assert report_private.faces_line(by_split) == line


def freed(mode: str, **kinds: int) -> dict[str, Any]:
    left = ["names in running text: no spaCy model"]
    return {"mode": mode, "captions": sum(kinds.values()), "by_kind": kinds, "not_looked_for": left}


def test_what_captions_were_freed_of() -> None:
    said = report_private.sentences({"captions": freed("refuse", name=2, phone=1), "faces": None})
    assert said == [
        "3 captions had private data (name 2, phone 1), redacted and dropped before any was kept.",
        "Not looked for in captions: names in running text: no spaCy model.",
        "Faces were not counted: caption.count_faces is off.",
    ]
    assert report_private.sentences({"captions": freed("redact"), "faces": None})[0] == (
        "No caption had private data that is looked for."
    )


def test_the_section_is_there_where_it_was_asked_for() -> None:
    assert report_sections._private(None) is None
    section = report_sections._private({"captions": None, "faces": {"by_split": FACES}})
    assert section is not None
    assert section.paragraphs == [
        "Captions were not looked through for it.",
        "3 of 1,080 images show 4 faces (train 2 of 60, test 1 of 20). faces/faces.csv names the "
        "images.",
    ]
    assert section.terms[0][0] == "Faces"
