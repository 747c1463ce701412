"""How upstreams do, from real traffic (PX9)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Q

from proxy.models import Completion, Upstream

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
#: What refuses a request for its own sake, and says nothing of the upstream.
_OF_THE_REQUEST = frozenset({"context_length_exceeded", "upstream_refused"})
#: The newest completions of an upstream from which its times are taken.
_SAMPLE = 1000
#: The newest failures that are looked through.
_FAILURES = 5000


@dataclass(slots=True)
class Window:
    """answered: completions that it began to answer and did not break off. errors: requests to it
    that failed, also where another upstream answered in its place."""

    answered: int = 0
    errors: int = 0

    @property
    def success_percent(self) -> float | None:
        """None without traffic."""
        total = self.answered + self.errors
        return 100 * self.answered / total if total else None

    @property
    def error_percent(self) -> float | None:
        """The same."""
        return None if self.success_percent is None else 100 - self.success_percent


@dataclass(slots=True)
class Health:
    """hour, day: the last ones. Times are of the first byte, in ms; None without an answer."""

    name: str
    is_enabled: bool
    hour: Window = field(default_factory=Window)
    day: Window = field(default_factory=Window)
    p50_ms: int | None = None
    p95_ms: int | None = None
    last_error: str = ""
    last_error_at: datetime | None = None


def upstreams(*, at: datetime) -> list[Health]:
    """Each upstream, by name. Two queries, and one for each upstream."""
    found = {
        name: Health(name, is_enabled)
        for name, is_enabled in Upstream.unscoped.order_by("name").values_list("name", "enabled")
    }
    recent = Completion.unscoped.filter(started_at__gte=at - _DAY, started_at__lte=at).ended()
    good = Q(status__in=(Completion.Status.DONE, Completion.Status.CUT))
    for name, hour, day in (
        recent.order_by()
        .values_list("upstream_name")
        .annotate(
            hour=Count("pk", filter=good & Q(started_at__gte=at - _HOUR)),
            day=Count("pk", filter=good),
        )
    ):
        if name in found:
            found[name].hour.answered, found[name].day.answered = hour, day
    _add_errors(found, at=at)
    for health in found.values():
        times = _times(health.name, at=at)
        health.p50_ms, health.p95_ms = _share(times, 0.5), _share(times, 0.95)
    return list(found.values())


def _add_errors(found: dict[str, Health], *, at: datetime) -> None:
    failed = (
        Completion.unscoped.filter(started_at__gte=at - _DAY, started_at__lte=at)
        .filter(Q(status=Completion.Status.FAILED) | ~Q(attempts=[]))
        .order_by("-started_at", "id")
        .values_list("upstream_name", "status", "error", "attempts", "started_at")[:_FAILURES]
    )
    for name, status, error, attempts, started_at in failed:
        errors = [(attempt["upstream"], attempt["error"]) for attempt in attempts]
        if status == Completion.Status.FAILED and (not errors or errors[-1][0] != name):
            errors.append((name, error or "broke off"))
        for upstream, text in errors:
            health = found.get(upstream)
            if health is None or text in _OF_THE_REQUEST:
                continue
            health.day.errors += 1
            health.hour.errors += started_at >= at - _HOUR
            if health.last_error_at is None:
                health.last_error, health.last_error_at = text, started_at


def _times(name: str, *, at: datetime) -> list[int]:
    rows = Completion.unscoped.filter(
        upstream_name=name, started_at__gte=at - _DAY, first_byte_ms__isnull=False
    )
    newest = rows.order_by("-started_at").values_list("first_byte_ms", flat=True)[:_SAMPLE]
    return sorted(ms for ms in newest if ms is not None)


def _share(times: Sequence[int], share: float) -> int | None:
    """The time within which that share of the answers began."""
    return times[min(int(len(times) * share), len(times) - 1)] if times else None
