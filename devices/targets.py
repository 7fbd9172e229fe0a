"""The devices a file can be timed on. So far: the machine edgekd runs on."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import UsageError, closest


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
        cpu=_cpu_name(),
        cores=psutil.cpu_count(logical=True) or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def _cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name; py-cpuinfo is asked last, since it takes about a second."""
    return _from_proc(cpuinfo) or _from_py_cpuinfo() or platform.processor() or platform.machine()


def _from_proc(cpuinfo: Path) -> str:
    """x86 says "model name", many ARM boards "Model" or "Hardware", others say nothing."""
    if not cpuinfo.is_file():
        return ""
    values: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    names = (values.get(key, "") for key in ("model name", "Model", "Hardware"))
    return next((name for name in names if name), "")


def _from_py_cpuinfo() -> str:
    try:
        from cpuinfo import get_cpu_info
    except ModuleNotFoundError:  # comes with the extra `devices`
        return ""
    return str(get_cpu_info().get("brand_raw", ""))
