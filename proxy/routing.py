"""Which upstream is tried, and in which order. No I/O."""

import hashlib
import math
import time
from collections.abc import Sequence

from proxy.catalogue import Way

#: Failures in a row after which an upstream is left alone, and for how many seconds.
OPENS_AFTER = 5
OPEN_S = 30.0


class Breaker:
    """A circuit breaker for each upstream, as this process sees them.

    closed: used. open, after OPENS_AFTER failures in a row: used only if nothing else is left.
    half-open, OPEN_S later: one call probes it; its success closes, its failure opens again.
    """

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._opened_at: dict[str, float] = {}

    def is_open(self, upstream_id: str, *, now: float) -> bool:
        opened_at = self._opened_at.get(upstream_id)
        return opened_at is not None and now - opened_at < OPEN_S

    def state(self, upstream_id: str, *, now: float) -> str:
        """``closed``, ``open`` or ``half_open``."""
        if upstream_id not in self._opened_at:
            return "closed"
        return "open" if self.is_open(upstream_id, now=now) else "half_open"

    def begin(self, upstream_id: str, *, now: float) -> None:
        """A call goes out. The probe of a half-open upstream keeps others away meanwhile."""
        if upstream_id in self._opened_at:
            self._opened_at[upstream_id] = now

    def succeeded(self, upstream_id: str) -> None:
        self._failures.pop(upstream_id, None)
        self._opened_at.pop(upstream_id, None)

    def failed(self, upstream_id: str, *, now: float) -> None:
        failures = self._failures[upstream_id] = self._failures.get(upstream_id, 0) + 1
        if failures >= OPENS_AFTER:
            self._opened_at[upstream_id] = now

    def clear(self) -> None:
        self._failures.clear()
        self._opened_at.clear()


breaker = Breaker()


def in_order(ways: Sequence[Way], *, key: str, now: float | None = None) -> list[Way]:
    """The ways as they are to be tried: by priority, among equals by weight, open circuits last.

    key: calls with the same one prefer the same way, so that a provider's prompt cache is hit; each
    key's choice is drawn by the weights (weighted rendezvous hashing), the same in every process.
    """
    if len(ways) < 2:
        return list(ways)
    at = time.monotonic() if now is None else now
    return sorted(
        ways,
        key=lambda way: (
            breaker.is_open(way.upstream_id, now=at),
            way.priority,
            -_score(way, key),
        ),
    )


def _score(way: Way, key: str) -> float:
    seed = hashlib.blake2b(f"{key}\n{way.upstream_id}".encode(), digest_size=8).digest()
    drawn = (int.from_bytes(seed, "big") + 1) / (2**64 + 1)
    return -way.weight / math.log(drawn)
