"""Captions that the user already has: which image each is of, and what is wrong with a table."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioning.teachers.caption_rows import BadRow, Columns, Row, key, read
from captioning.teachers.captions_file import CaptionsFileConfig, CaptionsFileTeacher
from captioning.teachers.protocol import Brief, Conclusion
from edgekd.config import parse
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec

TASK = TaskSpec("t", ("cat", "dog"))
PATHS = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "café.png")


def item(row: int, path: str) -> Item:
    return Item(f"{row:064x}", path, "train")


MANIFEST = Manifest(TASK, [item(row, path) for row, path in enumerate(PATHS)])


def concluded(
    tmp_path: Path, path: Path, manifest: Manifest = MANIFEST, **settings: Any
) -> Conclusion:
    brief = Brief(TASK, 1, (1.0,), 0, tmp_path / "notes")
    teacher = CaptionsFileTeacher(CaptionsFileConfig(path=path, **settings), brief)
    look = teacher.look(manifest.items, [])
    assert look.arrays == {}
    return teacher.conclude(manifest, look.arrays)


def said(captions: Iterable[Caption]) -> list[tuple[int, int, str]]:
    return [(int(c.item_id, 16), c.index, c.text) for c in captions]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


ROWS = [
    ("dog/1.jpg", "a dog"),
    ("cat/1.jpg", "a cat; it sleeps,\n  curled up"),
    ("2.jpg", "by its file name"),
    ("./cat\\1.jpg", 'says "miau"'),
    ("cafe\u0301.png", "two letters for one"),
    ("dog/1.jpg", "a second dog"),
]
SAID = [
    (0, 0, "a cat; it sleeps, curled up"),
    (0, 1, 'says "miau"'),
    (1, 0, "by its file name"),
    (2, 0, "a dog"),
    (2, 1, "a second dog"),
    (3, 0, "two letters for one"),
]


def as_csv(path: Path, delimiter: str = ",", encoding: str = "utf-8", end: str = "\n") -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
        writer.writerows([("path", "text"), *ROWS])
    return path


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("c.csv", {}),
        ("c.csv", {"delimiter": ";", "encoding": "utf-8-sig", "end": "\r\n"}),
        ("c.tsv", {"delimiter": "\t", "encoding": "utf-16"}),
        ("c.txt", {"delimiter": "|"}),
        ("c.jsonl", {}),
        ("c.parquet", {}),
    ],
)
def test_captions_come_in_the_order_of_the_images(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "c.jsonl":
        write(path, "\n".join(json.dumps({"path": p, "text": t}) for p, t in ROWS))
    elif name == "c.parquet":
        columns = dict(zip(("path", "text"), zip(*ROWS, strict=True), strict=True))
        pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    else:
        as_csv(path, **settings)
    found = concluded(tmp_path, path)
    assert said(found.captions) == SAID
    assert said(found.captions) == SAID  # and once more
    assert found.logits_NK is None
    first = next(iter(found.captions))
    assert (first.temperature, first.confidence, first.teacher) == (1, 1, f"file/{name}")
    assert first.template == "given"
    summary = found.summary
    assert summary["num_captions"] == 6
    assert summary["images_without_captions"] == 0
    assert summary["weights"] == []
    assert summary["file"]["size_bytes"] == path.stat().st_size


def test_other_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        "sha,caption,t,sure,model,lang\n"
        f"{1:064X},a cat,0.7,0.25,blip base,en\n"
        f"sha256:{0:064x},ein Hund,,,,\n",
    )
    found = concluded(
        tmp_path,
        path,
        id_column="sha",
        text_column="caption",
        temperature_column="t",
        confidence_column="sure",
        teacher_column="model",
        language_column="lang",
    )
    assert list(found.captions) == [
        Caption(f"{0:064x}", 0, "ein Hund", "given", 1.0, 0, "file/c.csv", 1.0),
        Caption(f"{1:064x}", 0, "a cat", "given.en", 0.7, 0, "file/c.csv/blip base", 0.25),
    ]
    assert found.summary["images_without_captions"] == 2


def test_what_names_no_image_or_several_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        "path,text\ncat/1.jpg,right\n1.jpg,cat or dog?\ncat/3.jpg,who?\nfoal/2.jpg,who?\n2.jpg,\n",
    )
    found = concluded(tmp_path, path)
    assert said(found.captions) == [(0, 0, "right")]
    summary = found.summary
    assert summary["captions_of_ambiguous_names"] == 1
    assert summary["ambiguous_first"] == ["row 3: 1.jpg"]
    assert summary["captions_of_unknown_images"] == 2
    assert summary["unknown_first"] == ["row 4: cat/3.jpg", "row 5: foal/2.jpg"]
    assert (summary["skipped_captions"], summary["skipped_first"]) == (1, ["row 6: no text"])
    assert summary["images_without_captions"] == 3


def test_a_path_is_a_path_before_it_is_a_file_name(tmp_path: Path) -> None:
    manifest = Manifest(TASK, [item(0, "1.jpg"), item(1, "more/1.jpg")])
    path = write(tmp_path / "c.csv", "path,text\n1.jpg,the first\n")
    found = concluded(tmp_path, path, manifest)
    assert said(found.captions) == [(0, 0, "the first")]
    assert found.summary["captions_of_ambiguous_names"] == 0


def test_a_second_conclusion_starts_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "path,text\ncat/1.jpg,one\ncat/2.jpg,two\n")
    assert concluded(tmp_path, path).summary["num_captions"] == 2
    write(path, "path,text\ncat/1.jpg,three\n")
    found = concluded(tmp_path, path)
    assert said(found.captions) == [(0, 0, "three")]


def test_two_files_are_read_side_by_side(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "c.csv", "path,text\ncat/1.jpg,one\n")
    other = write(tmp_path / "b" / "c.csv", "path,text\ncat/1.jpg,other\n")
    first, second = concluded(tmp_path, one), concluded(tmp_path, other)
    assert said(first.captions) == [(0, 0, "one")]
    assert said(second.captions) == [(0, 0, "other")]


BAD_ROWS = [
    ({"path": "a", "text": ""}, "no text"),
    ({"path": "a"}, "no text"),
    ({"path": " ", "text": "x"}, "no path"),
    ({"path": "a", "text": ["x", "y"]}, "text is a list, expected a text"),
    ({"path": "a", "text": 3}, "text is a number, expected a text"),
    ({"path": "a", "text": "x", "t": "hot"}, "t is 'hot', expected a number, 0 or more"),
    ({"path": "a", "text": "x", "t": -1}, "t is '-1', expected a number, 0 or more"),
    ({"path": "a", "text": "x", "t": True}, "t is 'True', expected a number, 0 or more"),
    ({"path": "a", "text": "x", "c": 1.5}, "c is '1.5', expected a number, 0 to 1"),
    ({"path": "a", "text": "x \ud800"}, "half a character (a lone surrogate) in it"),
]


def test_bad_rows_are_left_out_with_their_reason(tmp_path: Path) -> None:
    good = {"path": "cat/1.jpg", "text": "good", "t": "0.5", "c": 0}
    lines = [json.dumps(values) for values in (good, *(bad for bad, _ in BAD_ROWS))]
    path = write(tmp_path / "c.jsonl", "\n".join([*lines, "{broken", "[1]", "", lines[0]]))
    columns = Columns("path", "text", temperature="t", confidence="c")
    first, *found, last = read(path, columns)
    assert isinstance(first, Row)
    assert (first.temperature, first.confidence) == (0.5, 0)
    assert [row.reason for row in found[:-2] if isinstance(row, BadRow)] == [r for _, r in BAD_ROWS]
    broken, no_object = found[-2:]
    assert isinstance(broken, BadRow)
    assert broken.reason.startswith("not JSON (Expecting property name")
    assert no_object == BadRow(13, "no JSON object: [1]")
    assert last.number == 15
    found_all = concluded(tmp_path, path, temperature_column="t", confidence_column="c")
    assert found_all.summary["skipped_captions"] == 12
    assert found_all.summary["skipped_first"][0] == "row 2: no text"
    assert len(found_all.summary["skipped_first"]) == 5


def test_bad_cells_of_a_csv(tmp_path: Path) -> None:
    text = 'path,text\na,"two\nlines"\nb\nc,unquoted, comma\nd,spreadsheet,,\n\ne,5" disk\n'
    found = list(read(write(tmp_path / "c.csv", text), Columns("path", "text")))
    assert found == [
        Row(2, "a", "two lines"),
        BadRow(4, "1 cells, expected 2"),
        BadRow(5, "3 cells, expected 2"),
        Row(6, "d", "spreadsheet"),
        Row(8, "e", '5" disk'),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", b"", ", line 1: empty. Expected the columns path, text"),
        (
            "c.csv",
            b"path,caption\na,b\n",
            ", line 1: no column 'text', found path, caption. Expected the columns path, text; "
            "name yours in the config",
        ),
        ("c.csv", b"Path,text\n", ", line 1: no column 'path', found Path, text. Closest: 'Path'."),
        (
            "c.csv",
            b"path,text\na,b\nc,caf\xe9\n",
            ", line 3: byte 0xe9 is not UTF-8. Expected UTF-8 or UTF-16; save the file anew",
        ),
        (
            "c.csv",
            b'path,text\na,b\nc,"never closed\nd,e\n',
            ", line 3: not readable as CSV (unexpected end of data). Expected cells between ','",
        ),
        ("c.csv", b'path\ttext\na\t"x"y\n', ", line 2: not readable as CSV ('tab' expected after"),
        ("c.tsv", "path\ttext\na\tb".encode("utf-16")[:-1], ", line 2 or after: not UTF-16 ("),
        ("c.jsonl", b"\n", ": empty. Expected a JSON object a line"),
        ("c.jsonl", b'[{"path": 1}]', ', line 1: no JSON object: [{"path": 1}]. Expected a JSON'),
        ("c.jsonl", b"path,text\n", ", line 1: not JSON (Expecting value"),
        (
            "c.jsonl",
            b'{"path": "a", "caption": "b"}',
            ", line 1: no column 'text', found path, cap",
        ),
        ("c.jsonl", b'{"path": "a", "text": "\xff"}', ", line 1: byte 0xff is not UTF-8."),
        ("c.parquet", b"PAR1", ": not readable as parquet ("),
        ("c.xlsx", b"PK", ": unknown suffix '.xlsx', expected one of .csv, .tsv, .txt, .jsonl, "),
        ("c.csv", b"path,text\n", ": it has no rows"),
        ("c.csv", b"path,text\na,\n", ": none of its rows can be used (row 2: no text)"),
        (
            "c.csv",
            b"path,text\nx/1.jpg,a\n",
            ": none of its captions is of an image of the data (row 2: x/1.jpg). Expected in "
            "'path' a path relative to data.folder or a file name, like cat/1.jpg",
        ),
        (
            "c.csv",
            b"path,text\n1.jpg,a\n",
            ": its file names are those of several images (row 2: 1.jpg). Expected paths relative "
            "to data.folder, like cat/1.jpg",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        concluded(tmp_path, path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_parquet_without_a_column(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"path": ["a"], "texts": ["b"]}), path)
    with pytest.raises(DataError, match=r"no column 'text', found path, texts\. Closest: 'texts'"):
        concluded(tmp_path, path)


def test_faults_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"path_column and id_column are both set\. Set one"):
        parse(CaptionsFileConfig, {"path": "c.csv", "path_column": "a", "id_column": "b"})
    with pytest.raises(DataError, match="no such file"):
        concluded(tmp_path, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("written", "expected"),
    [(" a.jpg ", "a.jpg"), ("./b/../a.jpg", "a.jpg"), ("b\\a.jpg", "b/a.jpg"), ("e\u0301", "é")],
)
def test_paths_are_compared_as_people_write_them(written: str, expected: str) -> None:
    assert key(written) == expected


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for num_rows in (2_000, 20_000):
        path = tmp_path / f"{num_rows}.csv"
        with path.open("w") as stream:
            stream.write("path,text\n")
            order = np.random.default_rng(0).permutation(num_rows)
            stream.writelines(f"images/{row % 1000:04d}.jpg,caption {row}\n" for row in order)
        items = [item(row, f"images/{row:04d}.jpg") for row in range(1000)]
        tracemalloc.start()
        found = concluded(tmp_path, path, Manifest(TASK, items))
        count = sum(1 for _ in found.captions)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == num_rows
    assert peaks[1] < peaks[0] + 300_000  # 18,000 captions more would take several MB
