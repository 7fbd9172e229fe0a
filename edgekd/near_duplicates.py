"""Near copies of images: resized, encoded again, slightly brighter or darker.

A perceptual hash proposes pairs, a thumbnail decides: one can be had from the other by a change of
brightness and contrast, up to a small rest. A hash alone takes every 28-pixel trouser for the same.
The work grows with the number of images, not with their pairs.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator

import numpy as np
from PIL import Image

from edgekd.store import room_for_temporary_files

_SIDE = 16
_SIZE = _SIDE * _SIDE * 3
# Of re-encoded, resized and brightened copies of photographs these lose 6% or fewer.
_MAX_REST = 6.0  # grey levels of 256, root mean square
_MIN_CORRELATION = 0.98
_MAX_GAIN = 4 / 3
_MAX_OFFSET = 40.0  # grey levels
_MAX_LOG_ASPECT = 0.06
_MIN_SPREAD = 4.0  # grey levels; a plainer image is like any other plain one
_MAX_FLIPPED = 10  # bits of 64; such copies flip 8 at most
_BANDS = 4
_WINDOW = 48
_CHUNK = 512
_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Fingerprints:
    """Hash, aspect and thumbnail of each image added; thumbnails lie in a temporary file.

    Raises:
        DiskError: from any of its methods; the disk of temporary files is full.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._aspects = array("f")
        self._plain = array("b")
        with room_for_temporary_files():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, image: Image.Image) -> None:
        """Takes an RGB image; its number is how many were added before it."""
        small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
        pixels = np.asarray(small)
        self._hashes.append(_hash(pixels))
        self._aspects.append(float(np.log(image.width / image.height)))
        self._plain.append(bool(pixels.std() < _MIN_SPREAD))
        with room_for_temporary_files():
            self._file.write(pixels.tobytes())

    def pairs(self) -> list[tuple[int, int]]:
        """Returns pairs of near copies, enough to join every group of them."""
        if len(self) < 2:
            return []
        with room_for_temporary_files():
            self._file.flush()
        thumbs = np.memmap(self._file, dtype=np.uint8, mode="r", shape=(len(self), _SIZE))
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        found: list[tuple[int, int]] = []
        for first, second in self._candidates(hashes):
            for start in range(0, len(first), _CHUNK):
                a, b = first[start : start + _CHUNK], second[start : start + _CHUNK]
                alike = _alike(thumbs[a], thumbs[b])
                found += zip(a[alike].tolist(), b[alike].tolist(), strict=True)
        return found

    def _candidates(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs that share a band of the hash and stand near each other in its order.

        Within a band's bucket each image is compared with the next 48, so buckets up to that size
        are compared in full and the work stays linear in larger ones.
        """
        aspects = np.frombuffer(self._aspects, dtype=np.float32)
        kept = np.flatnonzero(np.frombuffer(self._plain, dtype=np.int8) == 0)
        for band in range(_BANDS):
            bits = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
            order = kept[np.lexsort((hashes[kept], bits[kept]))]
            for step in range(1, min(_WINDOW, len(order) - 1) + 1):
                first, second = order[:-step], order[step:]
                same = bits[first] == bits[second]
                if not same.any():
                    break
                first, second = first[same], second[same]
                near = _flipped(hashes[first] ^ hashes[second]) <= _MAX_FLIPPED
                near &= np.abs(aspects[first] - aspects[second]) <= _MAX_LOG_ASPECT
                yield first[near], second[near]


def _hash(pixels: np.ndarray) -> int:
    """Which of the 64 lowest frequencies lie above their median; the lowest are the first bits.

    The usual perceptual hash (DCT). Bits that one change flips together share a band.
    """
    grey = pixels.astype(np.float32) @ _WEIGHTS
    frequencies = (_DCT @ grey @ _DCT.T)[:8, :8].ravel()[_BY_FREQUENCY]
    above = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(above, bitorder="little").tobytes(), "little")


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which pairs of thumbnails [P, 768] are one picture but for brightness and contrast, bool [P]."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    a -= mean_a[:, None]
    b -= mean_b[:, None]
    spread_a = np.sqrt(np.einsum("ij,ij->i", a, a) / _SIZE)
    spread_b = np.sqrt(np.einsum("ij,ij->i", b, b) / _SIZE)
    correlation = np.einsum("ij,ij->i", a, b) / _SIZE / (spread_a * spread_b)
    # What is left of the flatter one after the best change of brightness and contrast.
    rest = np.minimum(spread_a, spread_b) * np.sqrt(np.clip(1 - correlation**2, 0, 1))
    gain = np.maximum(spread_a, spread_b) / np.minimum(spread_a, spread_b)
    return (
        (correlation >= _MIN_CORRELATION)
        & (rest <= _MAX_REST)
        & (gain <= _MAX_GAIN)
        & (np.abs(mean_a - mean_b) <= _MAX_OFFSET)
    )


def _flipped(bits: np.ndarray) -> np.ndarray:
    return _ONES[np.ascontiguousarray(bits).view(np.uint8).reshape(-1, 8)].sum(axis=1)


def _dct() -> np.ndarray:
    at = np.arange(_SIDE)
    matrix = np.cos(np.pi / _SIDE * (at[None] + 0.5) * at[:, None]) * np.sqrt(2 / _SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct()
_BY_FREQUENCY = np.argsort([row + column for row in range(8) for column in range(8)], kind="stable")
_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
