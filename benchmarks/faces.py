"""Are faces counted right? `python -m benchmarks.faces`: on photographs, with and without faces.

Caltech-101's `Faces` shows one person each, turned to the camera; the other 99 classes and
`BACKGROUND_Google` are taken for photographs without a face, though some do show one. Four photographs
of `Faces` in one picture have four faces of half the size. Each folder is halved by the content
digest of its files: settings are chosen on the one half (of the other folders on a few files), the
figures are those of the other.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import arguments, caltech, results_file
from captioning.faces import Detection, FaceCounter
from edgekd.preprocess import open_image
from edgekd.store import digest, file_sha256

CLAIM = "Caltech-101: faces turned to the camera are counted, and nothing else is taken for one."
NOTES = (
    "Chosen: the highest mean of the shares of photographs with one face counted as one, of four in "
    "one counted as four, and of other photographs without any. `found_in_others` lists the other "
    "photographs in which a face was found: some do show one, so the share is an upper bound. The "
    "Faces are portraits; nothing is said of profiles, covered or very small faces. scikit-image's "
    "cascade of frontal faces is the only one in its wheel."
)
FACES = "Faces"
_MOST_OUTLIERS = 300
_TO_CHOOSE = 2  # files of each other class that settings are chosen on
_OUTLIERS_TO_CHOOSE = 40
GRID = [
    Detection(side, scale_factor, step_ratio, neighbours)
    for side, (scale_factor, step_ratio), neighbours in itertools.product(
        (160, 240, 320), ((1.2, 1.0), (1.2, 1.5), (1.1, 1.0)), (4, 7, 10, 14)
    )
]


def main() -> int:
    parser = arguments.parser(
        __doc__,
        photos="Caltech-101, a folder a class; or downloaded",
        out="folder of the download",
        screen="do not choose again: the settings as they are",
    )
    words = parser.parse_args()
    photos = words.photos or caltech.download(words.out / "caltech101")
    faces = _halves(photos, FACES)
    others = [_halves(photos, name) for name in _others(photos)]
    chosen, tried = Detection(), {}
    if not words.screen:
        few = [
            half[: _OUTLIERS_TO_CHOOSE if half is others[-1][0] else _TO_CHOOSE]
            for half, _ in others
        ]
        tried = _tried([*faces[0]], [path for half in few for path in half])
        chosen = max(GRID, key=lambda how: tried[_name(how)])
        print(*(f"{value:.3f} {name}" for name, value in tried.items()), sep="\n", file=sys.stderr)
        if chosen != Detection():
            print(f"chosen: {chosen}, and captioning.faces has {Detection()}", file=sys.stderr)
    rest = {name: half for name, (_, half) in zip(_others(photos), others, strict=True)}
    figures, found = _figures(chosen, faces[1], rest)
    if words.screen:
        arguments.show(figures)
        return 0
    path = results_file.write(
        "faces",
        claim=CLAIM,
        command="python -m benchmarks.faces",
        seeds=[],
        data={
            "name": "Caltech-101",
            "digest": digest([file_sha256(p) for half in (faces[1], *rest.values()) for p in half]),
            "counts": {"faces": len(faces[1]), "others": sum(map(len, rest.values()))},
        },
        figures=figures,
        notes=NOTES,
        extra={"settings": asdict(chosen), "tried": tried, "found_in_others": found},
    )
    print(path.read_text())
    return 0


def _others(photos: Path) -> list[str]:
    """The other classes, and the photographs of none at the end."""
    return [*(n for n in caltech.class_names(photos, "all") if n != FACES), caltech.OUTLIERS]


def _halves(photos: Path, name: str) -> tuple[list[Path], list[Path]]:
    most = _MOST_OUTLIERS if name == caltech.OUTLIERS else caltech.MOST_OF_A_CLASS
    files = sorted(sorted(photos.joinpath(name).glob("*.jpg"))[:most], key=file_sha256)
    return files[: len(files) // 2], files[len(files) // 2 :]


def _tried(faces: list[Path], others: list[Path]) -> dict[str, float]:
    """What is chosen by, for each setting."""
    alone, plain = [open_image(path) for path in faces], [open_image(path) for path in others]
    four = list(_fours(faces))
    found = {}
    for how in GRID:
        counter = FaceCounter(how)
        shares = [
            _share(counter.count(image) == wanted for image in images)
            for images, wanted in ((alone, 1), (four, 4), (plain, 0))
        ]
        found[_name(how)] = sum(shares) / len(shares)
    return found


def _figures(
    how: Detection, faces: list[Path], others: dict[str, list[Path]]
) -> tuple[dict[str, Any], list[str]]:
    counter = FaceCounter(how)
    alone = [counter.count(open_image(path)) for path in faces]
    four = [counter.count(image) for image in _fours(faces)]
    plain = {
        f"{name}/{path.name}": counter.count(open_image(path))
        for name, paths in others.items()
        for path in paths
    }
    outliers = [n for name, n in plain.items() if name.startswith(caltech.OUTLIERS)]
    figures = {
        "faces_found": results_file.share(n > 0 for n in alone),
        "faces_counted_as_one": results_file.share(n == 1 for n in alone),
        "four_counted_as_four": results_file.share(n == 4 for n in four),
        "others_with_a_face": results_file.share(n > 0 for n in plain.values()),
        "background_with_a_face": results_file.share(n > 0 for n in outliers),
    }
    return figures, sorted(name for name, n in plain.items() if n)


def _fours(paths: list[Path]) -> Iterable[Image.Image]:
    """Four photographs each in one picture, as large as the first."""
    for start in range(0, len(paths) - 3, 4):
        images = [open_image(path) for path in paths[start : start + 4]]
        width, height = images[0].size
        picture = Image.new("RGB", (2 * width, 2 * height))
        for index, image in enumerate(images):
            place = (index % 2 * width, index // 2 * height)
            picture.paste(image.resize((width, height), Image.Resampling.BICUBIC), place)
        yield picture


def _share(hits: Iterable[bool]) -> float:
    known = list(hits)
    return sum(known) / len(known)


def _name(how: Detection) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in asdict(how).items())


if __name__ == "__main__":
    sys.exit(main())
