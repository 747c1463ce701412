"""How much of the machine is in use: of the container that this process runs in, where there is one
with a limit."""

import math
import os
import shutil
from pathlib import Path

from django.conf import settings

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def cpu_used() -> float:
    """0 to 1: the load of the last minute on all cores."""
    return min(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)


def memory_used() -> float:
    """0 to 1, caches that can be dropped left out; NaN where it is not known."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # "max" without a limit
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(used - int(stat.get("inactive_file", 0)), 0) / limit
    except (OSError, ValueError):
        return _memory_of_the_host()


def _memory_of_the_host() -> float:
    if not _MEMINFO.exists():  # no Linux
        return math.nan
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    known = {parts[0].rstrip(":"): int(parts[1]) for parts in lines}
    return 1 - known["MemAvailable"] / known["MemTotal"]


def disk_used() -> float:
    """0 to 1, of the file system that the data directory is on."""
    folder = settings.ROOCLOUD_DATA_DIR
    usage = shutil.disk_usage(folder if folder.exists() else "/")
    return usage.used / (usage.used + usage.free)
