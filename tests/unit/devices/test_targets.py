"""The devices at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.targets import DeviceTarget, find_target, list_targets
from edgekd.errors import UsageError
from edgekd.machine import cpu_name


def test_the_local_device_says_what_it_is() -> None:
    target = list_targets()[0]
    assert target.name == "local"
    assert target.cpu
    assert target.cores >= 1
    assert target.memory_gb > 0
    assert target.system
    assert find_target("local") == target


def test_an_unknown_device_names_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown 'lokal'.*Closest: 'local'.*edgekd list devices"):
        find_target("lokal")


@pytest.mark.parametrize(
    ("cores", "description"), [(1, "Cortex-A76, 1 core"), (4, "Cortex-A76, 4 cores")]
)
def test_the_description(cores: int, description: str) -> None:
    assert DeviceTarget("local", "Cortex-A76", cores, 4.0, "Linux").description == description


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmodel name\t: second\n", "AMD EPYC 7B13"),
        ("processor\t: 0\nHardware\t: BCM2835\nModel\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
    ],
)
def test_the_cpu_name_in_proc(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_a_silent_proc_still_gives_a_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n")
    assert cpu_name(tmp_path / "cpuinfo")
    assert cpu_name(tmp_path / "none")
