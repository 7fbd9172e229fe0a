"""Write the demo archive from the four Fashion-MNIST files: 7,500 PNG images and labels.csv.

Usage:
    python configs/demo_data/make_demo_data.py [--source FOLDER] [--out ARCHIVE]

Where to get the four files (MIT licence, 31 MB):
    Debian, Ubuntu:  apt-get install dataset-fashion-mnist
    elsewhere:       python -c "import torchvision; torchvision.datasets.FashionMNIST('data', download=True)"
                     and then --source data/FashionMNIST/raw

Needs numpy and the standard library. The same files give the same tar, byte for byte;
the xz around it can differ between releases of liblzma.
"""

import argparse
import gzip
import hashlib
import io
import lzma
import struct
import sys
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
# Images a class.
NUM_TRAIN, NUM_LABELLED, NUM_TUNE, NUM_VAL, NUM_TEST = 500, 20, 25, 25, 200
SEED = 2017
ROOT = "fashion_mnist"
DEFAULT_SOURCE = Path("/usr/share/datasets/fashion-mnist")
DEFAULT_OUT = Path(__file__).parent / "fashion_mnist_7500.tar.xz"
# Of the unpacked files: distributions pack them anew.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

LICENSE = """\
The MIT License (MIT) Copyright © 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software \
and associated documentation files (the “Software”), to deal in the Software without restriction, \
including without limitation the rights to use, copy, modify, merge, publish, distribute, \
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is \
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or \
substantial portions of the Software.

THE SOFTWARE IS PROVIDED “AS IS”, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT \
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND \
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, \
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, \
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

README = f"""\
# Fashion-MNIST, 7,500 images

Product photographs of ten kinds of clothing, 28 x 28 pixels, grey (0 is the background).

Source: Fashion-MNIST, Zalando SE, https://github.com/zalandoresearch/fashion-mnist
(Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747). Licence: MIT, see LICENSE.

| split | images | with a label | drawn from |
|---|---|---|---|
| train | {10 * NUM_TRAIN:,} | {10 * NUM_LABELLED} ({NUM_LABELLED} a class) | the 60,000 training images |
| tune | {10 * NUM_TUNE} | all | the 60,000 training images |
| val | {10 * NUM_VAL} | all | the 60,000 training images |
| test | {10 * NUM_TEST:,} | all | the 10,000 test images |

Every class has the same share of every split, the unlabelled training images included.
Images whose pixels occur more than once in the training file were left out, and so were
test images that occur in the training file or twice in the test file.

`labels.csv` has one row an image (`path,label,split`); the label of an unlabelled training
image is empty. `classes.txt` names the classes in the order of the original label numbers.
File names are numbers in shuffled order and say neither class nor split.

Made by `configs/demo_data/make_demo_data.py` of edgekd, seed {SEED}.
"""


class Chosen(NamedTuple):
    """One image of the archive; the label is empty where it is withheld."""

    image: np.ndarray
    label: str
    split: str


def main(argv: list[str] | None = None) -> int:
    args = _parse_args(argv)
    try:
        train_images, train_labels = read_fashion_mnist(args.source, "train")
        test_images, test_labels = read_fashion_mnist(args.source, "t10k")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        print((__doc__ or "").split("\n\n")[2], file=sys.stderr)
        return 1
    chosen = choose(train_images, train_labels, test_images, test_labels)
    archive = lzma.compress(tar_bytes(chosen), preset=9 | lzma.PRESET_EXTREME)
    args.out.write_bytes(archive)
    print(f"{args.out}: {len(chosen)} images, {len(archive)} bytes")
    return 0


def read_fashion_mnist(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8, [N, 28, 28]) and labels (uint8, [N]) of "train" or "t10k".

    Raises:
        OSError: a file is missing.
        ValueError: a file is not the one expected.
    """
    images = np.frombuffer(_read(source / f"{part}-images-idx3-ubyte.gz"), np.uint8, offset=16)
    labels = np.frombuffer(_read(source / f"{part}-labels-idx1-ubyte.gz"), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels


def choose(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> list[Chosen]:
    """The images of all four splits in one shuffled order."""
    train_digests = [image.tobytes() for image in train_images]
    test_digests = [image.tobytes() for image in test_images]
    train_pool = _once_only(train_digests, exclude=set())
    test_pool = _once_only(test_digests, exclude=set(train_digests))

    rng = np.random.default_rng(SEED)
    chosen: list[Chosen] = []
    for number, name in enumerate(CLASSES):
        order = rng.permutation(train_pool[train_labels[train_pool] == number])
        for place, index in enumerate(order[: NUM_TRAIN + NUM_TUNE + NUM_VAL]):
            if place < NUM_TRAIN:
                label, split = (name if place < NUM_LABELLED else ""), "train"
            else:
                label, split = name, ("tune" if place < NUM_TRAIN + NUM_TUNE else "val")
            chosen.append(Chosen(train_images[index], label, split))
        order = rng.permutation(test_pool[test_labels[test_pool] == number])
        chosen += [Chosen(test_images[index], name, "test") for index in order[:NUM_TEST]]
    return [chosen[index] for index in rng.permutation(len(chosen))]


def tar_bytes(chosen: list[Chosen]) -> bytes:
    """An uncompressed tar without times or owners, names in sorted order."""
    paths = [f"images/{number:05d}.png" for number in range(1, len(chosen) + 1)]
    rows = [f"{path},{item.label},{item.split}" for path, item in zip(paths, chosen, strict=True)]
    files = {path: png_bytes(item.image) for path, item in zip(paths, chosen, strict=True)}
    files["labels.csv"] = ("\n".join(["path,label,split", *rows]) + "\n").encode()
    files["classes.txt"] = ("\n".join(CLASSES) + "\n").encode()
    files["LICENSE"] = LICENSE.encode()
    files["README.md"] = README.encode()

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(f"{ROOT}/{path}")
            entry.size = len(files[path])
            archive.addfile(entry, io.BytesIO(files[path]))
    return buffer.getvalue()


def png_bytes(image: np.ndarray) -> bytes:
    """A grey 8-bit PNG of a uint8 [H, W] image whose pixels are stored, not compressed.

    xz finds more to share between 7,500 stored images than deflate saves in each (2.96 MB against
    3.49 MB), and writing the chunks by hand keeps the bytes free of the zlib release in use.
    """
    height, width = image.shape
    raw = b"".join(b"\0" + row.tobytes() for row in image)
    deflate = b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", deflate + struct.pack(">I", zlib.adler32(raw)))
        + _png_chunk(b"IEND", b"")
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _once_only(digests: list[bytes], exclude: set[bytes]) -> np.ndarray:
    """Indices of the entries that occur exactly once and are not in `exclude`."""
    counts: dict[bytes, int] = {}
    for digest in digests:
        counts[digest] = counts.get(digest, 0) + 1
    return np.array([i for i, d in enumerate(digests) if counts[d] == 1 and d not in exclude])


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found")
    content = gzip.decompress(path.read_bytes())
    if hashlib.sha256(content).hexdigest() != SHA256[path.name]:
        raise ValueError(f"{path}: not the Fashion-MNIST file expected (its sha256 differs)")
    return content


def _parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=DEFAULT_SOURCE, help="folder of the files")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="archive to write")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
