"""What this process counts of completions, for ``/metrics``. Labels are upstreams, statuses and
kinds: few, and none names a person."""

import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import catalogue, running
from proxy.admission import Result
from proxy.routing import breaker
from roocloud.lib.metrics import registry
from roocloud.lib.money import NANOS_PER_USD

_FIRST_BYTE_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)

_completions = Counter(
    "roocloud_completions", "Completions that ended.", ["upstream", "status"], registry=registry
)
_attempts = Counter(
    "roocloud_upstream_failures",
    "Requests to an upstream that it did not begin to answer.",
    ["upstream", "error"],
    registry=registry,
)
_first_byte = Histogram(
    "roocloud_first_byte_seconds",
    "From a request to the first byte of its answer.",
    ["upstream"],
    buckets=_FIRST_BYTE_S,
    registry=registry,
)
_tokens = Counter(
    "roocloud_tokens",
    "Tokens used: prompt (cached ones included), cache_read, cache_write, completion.",
    ["upstream", "kind"],
    registry=registry,
)
_spend = Counter("roocloud_spend_usd", "Cost of completions.", ["upstream"], registry=registry)
_running = Gauge("roocloud_running_completions", "Completions under way.", registry=registry)
_running.set_function(running.count)


class _Breakers(Collector):
    def collect(self) -> Iterator[Metric]:
        """A row for each upstream and state; 1 for the state that it is in."""
        family = GaugeMetricFamily(
            "roocloud_upstream_breaker",
            "Whether the circuit of an upstream is in a state.",
            labels=["upstream", "state"],
        )
        now = time.monotonic()
        for upstream_id, name in sorted(catalogue.known_upstreams().items()):
            is_in = breaker.state(upstream_id, now=now)
            for state in ("closed", "half_open", "open"):
                family.add_metric([name, state], float(state == is_in))
        yield family


registry.register(_Breakers())


def count(result: Result, cost_nanos: int) -> None:
    """A completion was settled."""
    name, usage = result.upstream, result.usage
    _completions.labels(name, result.status).inc()
    for attempt in result.attempts:
        _attempts.labels(attempt["upstream"], attempt["error"]).inc()
    if result.first_byte_ms is not None:
        _first_byte.labels(name).observe(result.first_byte_ms / 1000)
    for kind, tokens in (
        ("prompt", usage.prompt),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write),
        ("completion", usage.completion),
    ):
        if tokens:
            _tokens.labels(name, kind).inc(tokens)
    _spend.labels(name).inc(cost_nanos / NANOS_PER_USD)
