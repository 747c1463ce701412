"""What this process's bridges count, for ``/metrics``. No label names a person."""

from collections import Counter
from collections.abc import Iterator
from weakref import WeakSet

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.hub import ClientKind, Hub
from bridge.models import Command
from roocloud.lib.metrics import registry

hubs: "WeakSet[Hub]" = WeakSet()


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
        events = "Events that editors and browsers sent."
        yield CounterMetricFamily("roocloud_bridge_events", events, value=counts["events"])
        relayed = "Packets that were passed on to sockets of this process."
        yield CounterMetricFamily("roocloud_bridge_relayed", relayed, value=counts["relayed"])
        commands = CounterMetricFamily(
            "roocloud_bridge_commands", "Commands by what became of them.", labels=["state"]
        )
        for state in Command.State:
            commands.add_metric([state.value], counts[state.value])
        yield commands


registry.register(_Bridges())
