"""Workers on a cluster of two Ray nodes, of which one is lost on the way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioning.teachers import looking
from captioning.teachers.distributed import Workers
from captioning.teachers.protocol import Files, Look
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec
from tests.unit.captioning.test_distributed import BLOCK_SIZE, Speaker, contents, seen, work

pytest.importorskip("ray.data")
pytestmark = pytest.mark.slow

_STORE_BYTES = 128 << 20


class SlowSpeaker(Speaker):
    """Leaves time to lose a node."""

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        time.sleep(2)
        return super().look(items, images)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One core on each node, so that each has one worker."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    for module in (sys.modules[__name__], sys.modules[Speaker.__module__]):
        cloudpickle.register_pickle_by_value(module)
    settings = {"num_cpus": 1, "object_store_memory": _STORE_BYTES}
    two = Cluster(initialize_head=True, head_node_args=settings | {"include_dashboard": False})
    yield two
    two.shutdown()


def test_with_a_node_lost_no_caption_is_lost_and_none_is_there_twice(
    cluster: Any, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
    items = [Item(f"id{n:02d}", f"{n}.png", "train", n % 2) for n in range(50)]
    for n, item in enumerate(items):
        Image.new("RGB", (6, 6), (n, 0, 0)).save(tmp_path / item.path)
    manifest = Manifest(TaskSpec("test", ("cat", "dog")), items)
    alone = work(manifest, tmp_path, partial(Speaker, tmp_path / "alone"), None, "run-alone")
    losing = threading.Thread(target=lambda: cluster.remove_node(node, allow_graceful=False))

    def lose_a_node(done: int, total: int, what: str) -> None:
        if done >= BLOCK_SIZE and losing.ident is None:
            losing.start()

    teacher = partial(SlowSpeaker, tmp_path / "shared")
    with Workers(2, cluster.address) as workers:
        shared = looking.work(
            teacher(), manifest, tmp_path, Files(tmp_path / "run"), BLOCK_SIZE, lose_a_node,
            workers.hands(teacher),
        )  # fmt: skip
    losing.join()
    assert contents(shared) == contents(alone)
    looked = seen(tmp_path / "shared")
    assert len(looked) == len(items)
    assert max(looked.values()) <= 2
    assert sum(looked.values()) <= len(items) + BLOCK_SIZE
