"""What the report says of private data: what captions were freed of, and how many faces images show."""

from __future__ import annotations

from typing import Any

from edgekd.report_format import plural

TERMS = [
    (
        "Faces",
        "those turned to the camera that scikit-image's cascade finds; it misses others and takes "
        "some things for faces, so no count says that an image shows nobody. Only counts are kept.",
    ),
]


def sentences(found: dict[str, Any]) -> list[str]:
    """Returns sentences on both; `found` is the report's "private"."""
    captions, faces = found["captions"], found["faces"]
    said = _of_captions(captions) if captions else ["Captions were not looked through for it."]
    if faces is None:
        return [*said, "Faces were not counted: caption.count_faces is off."]
    return [*said, f"{faces_line(faces['by_split'])} faces/faces.csv names the images."]


def faces_line(by_split: dict[str, dict[str, int]]) -> str:
    """Returns "3 of 120 images show 4 faces (train 2 of 60 images, test 1 of 20)."."""
    images, showing, faces = (
        sum(counts[key] for counts in by_split.values())
        for key in ("images", "with_faces", "faces")
    )
    if not showing:
        return f"No face was found in {plural(images, 'image')}."
    each = ", ".join(
        f"{split} {counts['with_faces']:,} of {counts['images']:,}"
        for split, counts in by_split.items()
        if counts["with_faces"]
    )
    verb = "shows" if showing == 1 else "show"
    return f"{showing:,} of {plural(images, 'image')} {verb} {plural(faces, 'face')} ({each})."


def _of_captions(found: dict[str, Any]) -> list[str]:
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in found["by_kind"].items())
    what = f"{plural(found['captions'], 'caption')} had private data"
    done = "" if found["mode"] == "redact" else " and dropped"
    said = f"{what}{f' ({kinds})' if kinds else ''}, redacted{done} before any was kept."
    if not found["captions"]:
        said = "No caption had private data that is looked for."
    left = found["not_looked_for"]
    return [said, *([f"Not looked for in captions: {'; '.join(left)}."] if left else [])]
