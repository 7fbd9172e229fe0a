"""Every kind of pixel and every kind of bad file, with values worked out by hand."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from edgekd import preprocess
from edgekd.errors import DataError


def read(path: Path) -> list[tuple[int, int, int]]:
    return [tuple(pixel) for pixel in np.asarray(preprocess.open_image(path)).reshape(-1, 3)]


def greys(path: Path) -> list[int]:
    pixels = read(path)
    assert all(red == green == blue for red, green, blue in pixels)
    return [red for red, _, _ in pixels]


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        preprocess.open_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_in_either_byte_order(order: str, tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=f"{order}u2")
    mode = {"<": "I;16", ">": "I;16B"}[order]
    Image.frombytes(mode, (3, 1), values.tobytes()).save(tmp_path / "deep.tiff")
    with Image.open(tmp_path / "deep.tiff") as opened:
        assert opened.mode == mode
    assert greys(tmp_path / "deep.tiff") == [0, 100, 255]


def test_sixteen_bits_of_three_colours(tmp_path: Path) -> None:
    """Pillow has no such mode; it takes the high bytes."""
    row = b"\0" + struct.pack(">6H", 0xFFFF, 0x8000, 0, 0x0100, 0x00FF, 0xFE00)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    (tmp_path / "deep.png").write_bytes(_png(header, row))
    assert read(tmp_path / "deep.png") == [(255, 128, 0), (1, 0, 254)]


def test_a_transparent_value_of_sixteen_bits_becomes_white(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">2H", 257 * 7, 257 * 9)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0)
    (tmp_path / "deep.png").write_bytes(_png(header, row, tRNS=struct.pack(">H", 257 * 7)))
    assert greys(tmp_path / "deep.png") == [255, 9]


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("F", [0.0, 0.2, 1.0], [0, 51, 255]),  # 0 to 1
        ("F", [0.0, 100.0, 255.0], [0, 100, 255]),  # 0 to 255
        ("F", [0.0, 25700.0, 65535.0], [0, 100, 255]),  # 16 bits
        ("F", [-1.0, 0.0, 1.0], [0, 128, 255]),  # no meaning of their own: least to most
        ("F", [float("nan"), 0.2, float("inf")], [0, 51, 0]),
        ("F", [-3.0, -3.0, -3.0], [0, 0, 0]),
        ("I", [0, 25700, 65535], [0, 100, 255]),
        ("I", [0, 100_000, 200_000], [0, 128, 255]),
    ],
)
def test_floats_and_long_integers(
    mode: str, values: list[float], expected: list[int], tmp_path: Path
) -> None:
    kind = np.float32 if mode == "F" else np.int32
    Image.fromarray(np.array([values], dtype=kind)).save(tmp_path / "x.tiff")
    with Image.open(tmp_path / "x.tiff") as opened:
        assert opened.mode == mode
    assert greys(tmp_path / "x.tiff") == expected


def test_cmyk_of_a_jpeg_and_of_a_tiff(tmp_path: Path) -> None:
    # (1 - c)(1 - k): no ink is white, full key is black, cyan alone takes the red away.
    for ink, colour in (
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
    ):
        for name in ("x.jpg", "x.tiff"):  # Adobe's JPEGs, as Pillow writes them, are inverted
            Image.new("CMYK", (16, 16), ink).save(tmp_path / name)
            assert np.abs(np.array(read(tmp_path / name)) - colour).max() <= 2, (name, ink)


def test_other_colour_spaces(tmp_path: Path) -> None:
    Image.new("LAB", (2, 2), (255, 128, 128)).save(tmp_path / "white.tiff")
    assert np.asarray(read(tmp_path / "white.tiff")).min() >= 250
    Image.new("YCbCr", (8, 8), (76, 85, 255)).save(tmp_path / "red.jpg")  # 0.299 * 255 = 76
    assert np.abs(np.asarray(read(tmp_path / "red.jpg")) - (254, 0, 0)).max() <= 3


def test_a_palette_with_alpha(tmp_path: Path) -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([(0, 255), (1, 0)])
    read = np.asarray(preprocess.upright_rgb(image))
    assert read.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_premultiplied_alpha() -> None:
    image = Image.new("RGBA", (1, 1), (0, 100, 200, 51)).convert("RGBa")
    red, green, blue = preprocess.upright_rgb(image).getpixel((0, 0))  # type: ignore[misc]
    assert (red, green, blue) == pytest.approx((204, 224, 244), abs=2)  # 51 of 255, rounded twice


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (255, 0)]
    for name in ("x.gif", "x.webp", "x.png", "x.tiff"):
        options = {"lossless": True} if name == "x.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert set(read(tmp_path / name)) == {(255, 0, 0)}


def test_a_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (0, 0, 255))
    image.save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert preprocess.open_image(tmp_path / "x.jpg").size == (8, 8)


def test_the_name_does_not_matter_the_content_does(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert set(read(tmp_path / "x.jpg")) == {(9, 8, 7)}
    (tmp_path / "text.jpg").write_text("not an image")
    assert refused(tmp_path / "text.jpg") == "not an image that Pillow can read"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript and PDF are programs"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read by Pillow alone: convert it"),
        (b"GRIB" + bytes(60), "not an image that Pillow can read"),
    ],
)
def test_what_is_not_decoded_here(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert refused(tmp_path / "x.png").startswith(reason)


def test_truncated_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) // 2])
    assert "truncated" in refused(tmp_path / "x.jpg")


@pytest.mark.parametrize(
    ("width", "height", "found"),
    [
        (12_000, 12_000, "12000 x 12000 is 144,000,000 pixels"),  # Pillow would only warn
        (60_000, 60_000, "3,600,000,000 pixels"),  # Pillow refuses by itself
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(
    width: int, height: int, found: str, tmp_path: Path
) -> None:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(_png(header, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refused(tmp_path / "bomb.png")
    assert message == f"too large: {found}, the limit is 128,000,000. Make it smaller first"


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == "cannot be read (Is a directory)"
    assert refused(tmp_path / "none.png") == "cannot be read (No such file or directory)"


def test_nothing_is_printed_about_odd_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """libtiff prints from C, and Pillow logs an error before it raises it."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = tmp_path / "x.tiff"
    Image.fromarray(noise).save(path, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    content[40:80] = b"\xff" * 40
    path.write_bytes(content)
    assert refused(path)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[277] = 200  # samples a pixel
    Image.new("L", (4, 4)).save(tmp_path / "many.tiff", tiffinfo=tags)
    assert refused(tmp_path / "many.tiff")
    assert capfd.readouterr() == ("", "")


def _png(header: bytes, row: bytes, **chunks: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    others = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    parts = chunk(b"IHDR", header) + others + chunk(b"IDAT", zlib.compress(row))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")
