"""One whole run on 120 images, shared by the tests of this folder that ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import small_runs
from tests.e2e.small_runs import Finished


@pytest.fixture(scope="session", autouse=True)
def _one_core() -> None:
    """As the commands of `small_runs` have: sums of another number of threads round otherwise."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 demo images: 40 of the 60 training ones labelled, 20 each to tune, validate, test."""
    return small_runs.unpack(tmp_path_factory.mktemp("images") / "fashion")


@pytest.fixture(scope="session")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The whole line, run once through the command line."""
    base = tmp_path_factory.mktemp("finished")
    strange = small_runs.strange_images(base / "strange")
    config = small_runs.write_config(
        base / "small.yaml", images, base / "run", reject={"outliers": str(strange)}
    )
    done = small_runs.edgekd("run", config)
    return Finished(images, config, base / "run", done.returncode, done.stdout, done.stderr)
