"""What this process's bridges count, for ``/metrics``, and as protocol/bridge.md §8.5 names it. No
label names a person."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from weakref import WeakSet

from django.db import DatabaseError
from django.utils import timezone
from prometheus_client import Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from bridge import figures
from bridge.hub import ClientKind, Hub
from bridge.models import Command
from roocloud.lib.metrics import registry

hubs: "WeakSet[Hub]" = WeakSet()

_routing = Histogram(
    "roocloud_bridge_routing_seconds",
    "From an event's arrival to having been passed on; one of sixteen is timed.",
    buckets=(0.0001, 0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    registry=registry,
)


def timed(hub: Hub, began: float, ended: float) -> None:
    """How long an event took, by the monotonic clock."""
    hub.meter.timed.append((ended, ended - began))
    _routing.observe(ended - began)


def document(*, at: datetime) -> dict[str, Any]:
    """See figures.document."""
    known = list(hubs)
    sockets = sum(len(hub.peers) for hub in known)
    return figures.document([hub.meter for hub in known], sockets=sockets, at=at)


def throughput() -> float:
    """Bytes a second over this process's sockets, in the last minute."""
    a_second = figures.rates(hub.meter for hub in list(hubs)).a_second
    return a_second["taken_bytes"] + a_second["sent_bytes"]


class _Bridges(Collector):
    def collect(self) -> Iterator[Metric]:
        sockets: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for hub in list(hubs):
            sockets.update(peer.kind.value for peer in list(hub.peers.values()))
            counts.update(hub.counts)
        gauge = GaugeMetricFamily(
            "roocloud_bridge_sockets", "Editors and browsers that are connected.", labels=["kind"]
        )
        for kind in ClientKind:
            gauge.add_metric([kind.value], sockets[kind.value])
        yield gauge
        yield _counter("connections", "Sockets that asked to be let in.", counts, _OUTCOMES)
        sessions = "How long sockets were open that are closed now."
        yield SummaryMetricFamily(
            "roocloud_bridge_session_seconds",
            sessions,
            count_value=counts["closed"],
            sum_value=counts["session_ms"] / 1000,
        )
        events = "Events that editors and browsers sent."
        yield CounterMetricFamily("roocloud_bridge_events", events, value=counts["events"])
        relayed = "Packets that were passed on to sockets of this process."
        yield CounterMetricFamily("roocloud_bridge_relayed", relayed, value=counts["relayed"])
        yield _counter("bytes", "Text that went over sockets.", counts, _DIRECTIONS)
        commands = CounterMetricFamily(
            "roocloud_bridge_commands", "Commands by what became of them.", labels=["state"]
        )
        for state in Command.State:
            commands.add_metric([state.value], counts[state.value])
        yield commands
        text = "Commands for paired devices by what became of them."
        yield _counter("device_commands", text, counts, _OF_DEVICES)


#: Values of a label, and the counts behind them.
_OUTCOMES = ("outcome", {"opened": "opened", "refused": "refused"})
_OF_DEVICES = (
    "state",
    {state: f"device:{state}" for state in ("acknowledged", "expired", "failed")},
)
_DIRECTIONS = ("direction", {"in": "taken_bytes", "out": "sent_bytes"})


def _counter(
    name: str, text: str, counts: Counter[str], labelled: tuple[str, dict[str, str]]
) -> CounterMetricFamily:
    label, behind = labelled
    family = CounterMetricFamily(f"roocloud_bridge_{name}", text, labels=[label])
    for value, key in behind.items():
        family.add_metric([value], counts[key])
    return family


class _Rows(Collector):
    """What all processes have in common; nothing while the database does not answer."""

    def describe(self) -> list[Metric]:
        return []  # asked for when it is registered, before there is a database

    def collect(self) -> Iterator[Metric]:
        try:
            waiting, online = figures.queue_depth(), figures.online(at=timezone.now())
        except DatabaseError:
            return
        text = "Commands that wait for an editor or a device."
        yield GaugeMetricFamily("roocloud_bridge_queue_depth", text, value=waiting)
        text = "Editors and devices that are there, in all processes."
        family = GaugeMetricFamily("roocloud_bridge_devices_online", text, labels=["type"])
        for kind, count in online.items():
            family.add_metric([kind], count)
        yield family


registry.register(_Bridges())
registry.register(_Rows())
