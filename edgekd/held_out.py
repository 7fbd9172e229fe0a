"""Images that no student learns from, to see how sure it is of new ones.

Tune images where there are some. Else some unlabelled training images are kept from the students:
of images it has learned from, a student is surer than it will be of any other.
"""

from __future__ import annotations

from edgekd.manifest import Manifest
from edgekd.records import Item

MIN_IMAGES = 20
_SHARE, _MAX_IMAGES = 0.05, 200
_LARGEST_SHARE = 0.2


def held_out(manifest: Manifest) -> list[Item]:
    """Returns the tune images, or the training images kept from the students; may be empty."""
    tune = manifest.of("tune")
    return tune if len(tune) >= MIN_IMAGES else _kept(manifest)


def students_images(manifest: Manifest) -> list[Item]:
    """Returns the training images that students learn from, in manifest order."""
    if len(manifest.of("tune")) >= MIN_IMAGES:
        return manifest.of("train")
    kept = {item.id for item in _kept(manifest)}
    return [item for item in manifest.of("train") if item.id not in kept]


def _kept(manifest: Manifest) -> list[Item]:
    """5% of the unlabelled training images, 20 to 200 of them, the first by digest.

    None where these would be more than a fifth: then every image is needed to learn from.
    """
    unlabelled = [item for item in manifest.of("train") if item.label is None]
    number = min(max(MIN_IMAGES, round(_SHARE * len(unlabelled))), _MAX_IMAGES)
    if number > _LARGEST_SHARE * len(unlabelled):
        return []
    return sorted(unlabelled, key=lambda item: item.id)[:number]
