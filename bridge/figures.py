"""How the bridges of this process did in the last minute, and what all processes have in the
database (protocol/bridge.md §8.5)."""

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count

from bridge.devices.models import Device, QueuedCommand
from bridge.models import Command, Instance

#: Seconds that a rate is of, and between two samples of the counts.
_WINDOW_S, SAMPLE_S = 60.0, 5.0
#: One of so many events is timed.
TIMED_EVERY = 16
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
#: Of commands: what became known of them.
_ENDED = ("confirmed", "unconfirmed", "failed")


@dataclass(slots=True)
class Meter:
    """What one hub counted. counts: since it began. timed: when an event was handled, and for how
    many seconds. samples: what ``counts`` were at times of the monotonic clock."""

    counts: Counter[str] = field(default_factory=Counter)
    timed: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4096))
    samples: deque[tuple[float, Counter[str]]] = field(
        default_factory=lambda: deque(maxlen=int(_WINDOW_S / SAMPLE_S) + 1)
    )

    def sample(self, *, now: float) -> None:
        """To be called every SAMPLE_S seconds."""
        self.samples.append((now, self.counts.copy()))

    def lately(self, *, now: float) -> tuple[float, Counter[str]]:
        """For how many seconds back it is known, up to a minute, and what was counted in them."""
        since = next(((at, was) for at, was in self.samples if now - at <= _WINDOW_S + 1), None)
        if since is None:
            return 0.0, Counter()
        at, was = since
        return now - at, Counter({name: n - was[name] for name, n in self.counts.items()})


@dataclass(frozen=True, slots=True)
class Rates:
    """Of some meters together: what happened a second, in the last minute."""

    a_second: Counter[str]
    counted: Counter[str]
    percentiles_ms: dict[str, float]


def rates(meters: Iterable[Meter]) -> Rates:
    now = time.monotonic()
    a_second: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    timed: list[float] = []
    for meter in meters:
        seconds, lately = meter.lately(now=now)
        counted.update(lately)
        if seconds:
            a_second.update({name: n / seconds for name, n in lately.items()})
        timed += [taken for at, taken in list(meter.timed) if now - at <= _WINDOW_S]
    timed.sort()
    percentiles = {
        name: round(timed[min(int(len(timed) * share), len(timed) - 1)] * 1000, 3) if timed else 0.0
        for name, share in _PERCENTILES.items()
    }
    return Rates(a_second, counted, percentiles)


def document(meters: Iterable[Meter], *, sockets: int, at: datetime) -> dict[str, Any]:
    """``connections``, ``messages`` and ``devices`` of §8.5, by its names and units. The first two
    are of this process, queue and devices of the deployment. What is not known is null."""
    found = rates(meters)
    closed, ended = found.counted["closed"], sum(found.counted[state] for state in _ENDED)
    return {
        "connections": {
            "activeConnections": sockets,
            "connectionRate": round(found.a_second["opened"], 3),
            "disconnectionRate": round(found.a_second["closed"], 3),
            "averageSessionDuration": (
                round(found.counted["session_ms"] / 1000 / closed, 3) if closed else None
            ),
        },
        "messages": {
            "messagesPerSecond": round(found.a_second["events"], 3),
            "messageLatency": found.percentiles_ms,
            "messageDeliveryRate": (
                round(100 * found.counted["confirmed"] / ended, 2) if ended else None
            ),
            "queueDepth": queue_depth(),
        },
        "devices": _devices(at=at),
    }


def queue_depth() -> int:
    """Commands that wait for an editor or a device."""
    return Command.unscoped.queued().count() + QueuedCommand.unscoped.open().count()


def online(*, at: datetime) -> Counter[str]:
    """Editors and devices that are there, by type: an editor's window is a desktop (§8.1)."""
    by_kind = Device.unscoped.alive().connected(at).values_list("kind").annotate(n=Count("pk"))
    found = Counter(dict(by_kind))
    found[Device.Kind.DESKTOP] += Instance.unscoped.live(at).count()
    return found


def _devices(*, at: datetime) -> dict[str, Any]:
    by_type = online(at=at)
    count = by_type.total()
    owners = (
        Instance.unscoped.live(at)
        .values("owner")
        .union(Device.unscoped.alive().connected(at).values("owner"))
        .count()
    )
    return {
        "onlineDevices": count,
        "devicesByType": {kind: by_type[kind] for kind in Device.Kind.values},
        "averageDevicesPerUser": round(count / owners, 2) if owners else None,
    }
