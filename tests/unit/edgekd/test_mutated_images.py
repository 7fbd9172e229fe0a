"""Damaged image files of every kind: each is read or refused in one line, in bounded time.

The files are opened in another process, so that a hang, a crash of a decoder or a line on stderr
is seen for what it is.
"""

from __future__ import annotations

import io
import json
import select
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekd import manifest

SECONDS_A_FILE = 10  # tens of milliseconds as a rule; the rest is for a busy machine
_WORKER = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from edgekd.errors import DataError
from edgekd.preprocess import open_image
for line in sys.stdin:
    path = Path(json.loads(line))
    try:
        image = open_image(path)
        answer = {"size": image.size, "mode": image.mode}
    except DataError as error:
        answer = {"reason": str(error).removeprefix(f"{path}: ")}
    print(json.dumps(answer), flush=True)
"""


def _photo(side: int = 24) -> Image.Image:
    rows, columns = np.mgrid[0:side, 0:side]
    noise = np.random.default_rng(0).integers(0, 60, (side, side, 3))
    pixels = np.stack([rows * 6, columns * 6, (rows + columns) * 3], axis=-1) + noise
    return Image.fromarray(pixels.astype(np.uint8))


def _saved(kind: str, image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _seeds() -> dict[str, bytes]:
    """Small sound files by name; every format that this Pillow both writes and reads, and more."""
    photo = _photo()
    deep = Image.fromarray((np.arange(576, dtype=np.uint16) * 113).reshape(24, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = {
        "png": _saved("PNG", photo),
        "palette.png": _saved("PNG", photo.quantize(16), transparency=3),
        "deep.png": _saved("PNG", deep),
        "alpha.png": _saved("PNG", photo.convert("RGBA"), exif=exif),
        "jpeg": _saved("JPEG", photo, exif=exif),
        "progressive.jpeg": _saved("JPEG", photo, progressive=True),
        "cmyk.jpeg": _saved("JPEG", photo.convert("CMYK")),
        "gif": _saved("GIF", photo.quantize(32)),
        "animated.gif": _saved(
            "GIF", photo, save_all=True, append_images=[photo.rotate(90)], duration=50
        ),
        "bmp": _saved("BMP", photo),
        "palette.bmp": _saved("BMP", photo.quantize(16)),
        "tiff": _saved("TIFF", photo),
        "deflate.tiff": _saved("TIFF", photo, compression="tiff_adobe_deflate"),
        "lzw.tiff": _saved("TIFF", deep, compression="tiff_lzw"),
        "ico": _saved("ICO", photo),
        "tga": _saved("TGA", photo, compression="tga_rle"),
        "ppm": _saved("PPM", photo),
        "pgm": _saved("PPM", deep),
        "pcx": _saved("PCX", photo),
        "sgi": _saved("SGI", photo),
        "dds": _saved("DDS", photo),
        "msp": _saved("MSP", photo.convert("1")),
        "xbm": _saved("XBM", photo.convert("1")),
        "spider": _saved("SPIDER", photo.convert("F")),
        "blp": _saved("BLP", photo.quantize(16)),
        "xpm": (
            b'/* XPM */\nstatic char *x[] = {\n"4 2 2 1",\n"a c #ff0000",\n"b c #0000ff",\n'
            b'"abab",\n"baba"\n};\n'
        ),
        "fits": _fits(),
    }
    ico = _saved("ICO", photo, bitmap_format="bmp")
    seeds["cur"] = bytes(ico[:2] + b"\x02" + ico[3:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some will go with a later Pillow
        for kind in ("WEBP", "JPEG2000", "AVIF", "QOI", "ICNS", "IM"):
            if kind in Image.SAVE and kind in Image.OPEN:
                seeds[kind.lower()] = _saved(kind, photo)
    return seeds


def _fits() -> bytes:
    cards = ("SIMPLE  =                    T", "BITPIX  =                    8",
             "NAXIS   =                    2", "NAXIS1  =                    4",
             "NAXIS2  =                    2", "END")  # fmt: skip
    header = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    return header + bytes(range(8)).ljust(2880, b"\0")


Image.init()
SEEDS = _seeds()
NAMES = sorted(SEEDS)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sound file's name and its bytes after one to four changes."""
    name = draw(st.sampled_from(NAMES))
    content = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short and matter most.
        end = draw(st.sampled_from([32, 128, len(content)]))
        at = draw(st.integers(0, max(0, min(end, len(content)) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "drop", "header", "number"]))
        if kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=64))
        elif kind == "drop":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "header":
            other = SEEDS[draw(st.sampled_from(NAMES))]
            length = draw(st.integers(2, 64))
            content[:length] = other[:length]
        else:
            number = draw(
                st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\1\0\0"])
            )
            content[at : at + 4] = number
    return name, bytes(content)


class Opener:
    """Opens files in a process of its own and watches it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.count = 0
        self.stderr = (folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
        )  # fmt: skip

    def open(self, name: str, content: bytes) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        path = self.folder / f"{self.count:05}.{name}"
        self.count += 1
        path.write_bytes(content)
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        # The first answer waits for the imports too.
        limit = SECONDS_A_FILE if self.count > 1 else 60
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        assert ready, f"{path.name}: no answer after {limit} seconds"
        line = self.process.stdout.readline()
        self.stderr.seek(0)
        said = self.stderr.read()
        assert line, f"{path.name}: the process ended: {said}"
        assert not said, f"{path.name}: on stderr: {said}"
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def opener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    made = Opener(tmp_path_factory.mktemp("mutated"))
    yield made
    made.close()


def _check(opener: Opener, name: str, content: bytes) -> None:
    answer = opener.open(name, content)
    if "reason" in answer:
        assert answer["reason"].strip()
        assert "\n" not in answer["reason"]
    else:
        assert answer["mode"] == "RGB"


@pytest.mark.parametrize("name", NAMES)
def test_the_sound_files_are_read(name: str, opener: Opener) -> None:
    """Without this the mutations could all be refused for another reason."""
    answer = opener.open(name, SEEDS[name])
    assert answer.get("mode") == "RGB", answer
    assert answer["size"] == {"xpm": [4, 2], "fits": [4, 2], "icns": [1024, 1024]}.get(
        name, [24, 24]
    )


_SETTINGS = {
    "derandomize": True,
    "deadline": None,  # Opener has its own, in the other process
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=60, **_SETTINGS)  # type: ignore[arg-type]
@given(damaged())
def test_a_damaged_file_is_read_or_refused(opener: Opener, file: tuple[str, bytes]) -> None:
    _check(opener, *file)


@pytest.mark.slow
@settings(max_examples=1000, **_SETTINGS)  # type: ignore[arg-type]
@given(damaged())
def test_a_thousand_damaged_files(opener: Opener, file: tuple[str, bytes]) -> None:
    _check(opener, *file)


@pytest.mark.slow
def test_a_folder_of_a_thousand_damaged_files(tmp_path: Path) -> None:
    """Every file is an item, a copy of one, or listed with its reason."""
    files: list[tuple[str, bytes]] = []

    @settings(max_examples=1000, **_SETTINGS)  # type: ignore[arg-type]
    @given(damaged())
    def collect(file: tuple[str, bytes]) -> None:
        files.append(file)

    collect()
    assert len(files) >= 1000
    for index, (_, content) in enumerate(files):
        (tmp_path / f"{index:05}.png").write_bytes(content)  # the name does not matter
    config = manifest.DataConfig(folder=tmp_path, classes=["cat", "dog"])
    built = manifest.build(config, "test", seed=0)
    assert len(built.items) + len(built.skipped) + built.num_duplicates == len(files)
    assert all(reason and "\n" not in reason for _, reason in built.skipped)
    assert len(built.items) > 50
    assert len(built.skipped) > 50
