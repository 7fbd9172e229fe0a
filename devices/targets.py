"""The devices a file can be timed on. So far: the machine edgekd runs on."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgekd.errors import UsageError, closest
from edgekd.machine import cpu_name


@dataclass(frozen=True)
class DeviceTarget:
    """One device. `cores` counts logical cores, `memory_gb` is 10^9 bytes."""

    name: str
    cpu: str
    cores: int
    memory_gb: float
    system: str

    @property
    def description(self) -> str:
        """What a benchmark record names as its device, for example "Cortex-A76, 4 cores"."""
        return f"{self.cpu}, {self.cores} core{'s' if self.cores != 1 else ''}"


def list_targets() -> list[DeviceTarget]:
    """Returns the devices at hand, the local one first."""
    return [local_target()]


def find_target(name: str) -> DeviceTarget:
    """Returns the device of that name.

    Raises:
        UsageError: there is none; names the closest.
    """
    targets = {target.name: target for target in list_targets()}
    if name not in targets:
        raise UsageError(
            f"device: unknown '{name}', expected one of {', '.join(targets)}."
            f"{closest(name, targets)} See: edgekd list devices"
        )
    return targets[name]


def local_target() -> DeviceTarget:
    """Returns the machine edgekd runs on."""
    import psutil

    return DeviceTarget(
        name="local",
        cpu=cpu_name(),
        cores=psutil.cpu_count(logical=True) or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )
