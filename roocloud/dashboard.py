"""The first page of the admin: is all well? Every room gives its own figures, and each leads to the
list that it counts. The queries are the same however much there is (see tests/admin)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.urls import reverse
from django.utils.http import urlencode

from accounts import queries as accounts
from audit import listing
from audit import queries as audit
from bridge import overview as bridge
from credits import queries as credit
from proxy import health as upstreams
from proxy import queries as proxy
from roocloud import machine, storage
from roocloud.lib.charts import Bar, bars
from roocloud.lib.fresh import Fresh
from roocloud.lib.money import format_usd
from tasks_sharing import queries as tasks
from telemetry import queries as telemetry

HOURS, DAYS = 24, 14
_RECENT = 8
#: The share of the disk that may be in use before the page says so.
_FULL = 0.9
#: Jobs that may wait before the page says so.
_MANY_JOBS = 1000
#: The share of requests to an upstream that have to succeed, in percent.
_WELL = 95
_SIGN_INS = ("user.signed_in", "user.sign_in_failed", "user.locked_out")
_fresh: Fresh[str, "Figures"] = Fresh(age=timedelta(seconds=20), size=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One plain fact. state: "bad" or "warn" where somebody should look; else empty."""

    text: str
    value: str
    url: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """wrong: how much of the total went wrong; of what: what that is called."""

    label: str
    total: str
    url: str
    bars: list[Bar]
    wrong: int = 0
    of_what: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """groups: lines under their heading."""

    at: datetime
    groups: list[tuple[str, list[Line]]]
    hours: list[Chart]
    days: list[Chart]
    upstreams: Sequence[upstreams.Health]
    recent: Sequence[object]

    @property
    def is_well(self) -> bool:
        return not self.worst

    @property
    def worst(self) -> list[Line]:
        """What somebody should look at, the bad before the rest."""
        found = [line for _, lines in self.groups for line in lines if line.state]
        return sorted(found, key=lambda line: line.state != "bad")


def figures(*, at: datetime) -> Figures:
    """As they were within the last seconds."""
    known = _fresh.get("", at=at)
    if known is None:
        known = _figures(at=at)
        _fresh.put("", known, at=at)
    return known


def _figures(*, at: datetime) -> Figures:
    hour = at.replace(minute=0, second=0, microsecond=0)
    hours = [hour - timedelta(hours=HOURS - 1 - index) for index in range(HOURS)]
    days = [at.astimezone(UTC).date() - timedelta(days=DAYS - 1 - index) for index in range(DAYS)]
    completed = proxy.dashboard_hours(hours[0])
    signed = audit.hours(_SIGN_INS, since=hours[0])
    by_day = proxy.dashboard_days(days[0])
    found = upstreams.upstreams(at=at)
    today = next((row for row in by_day if row["day"] == days[-1]), {})
    return Figures(
        at=at,
        groups=[
            ("Works", [*_trail(), *_upstreams(found), *_jobs(), _sign_ins(signed)]),
            ("Capacity", _capacity(completed, at=at)),
            ("Money", _money(_number(today, "spend_nanos"), at=at)),
            ("To do", _to_do(at=at)),
        ],
        hours=_hourly(hours, completed, signed),
        days=_daily(days, by_day),
        upstreams=found,
        recent=audit.recent(_RECENT),
    )


def _list(model: str, **filters: str | int) -> str:
    """The address of a list of the admin. model: ``room_model``."""
    url = reverse(f"admin:{model}_changelist")
    return f"{url}?{urlencode(filters)}" if filters else url


def _number(row: Mapping[str, object], name: str) -> int:
    return int(str(row.get(name) or 0))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


# --- Lines ------------------------------------------------------------------------------------


def _trail() -> list[Line]:
    proof, url = listing.proof(), reverse("audit")
    last = proof.last
    if last is None:
        line = Line("Audit trail", "first verified tonight", url)
    elif last.is_intact:
        line = Line("Audit trail", f"intact, verified {last.at:%-d %b %H:%M} UTC", url)
    else:
        line = Line("Audit trail", f"tampered with: {last.fault}", url, "bad")
    waiting = Line("Entries to be chained", f"{proof.loose:,}", _list("audit_loose"), "warn")
    return [line, waiting] if proof.loose > _MANY_JOBS else [line]


def _upstreams(found: Sequence[upstreams.Health]) -> list[Line]:
    url = reverse("admin:proxy_upstream_health")
    asked = [one for one in found if one.hour.success_percent is not None]
    failing = [one for one in asked if (one.hour.success_percent or 0) < _WELL]
    if not found:
        return [Line("Upstreams", "none yet: add one", reverse("admin:proxy_upstream_add"), "warn")]
    if failing:
        names = ", ".join(f"{one.name} {one.hour.success_percent:.0f} %" for one in failing)
        return [Line("Upstreams failing in the last hour", names, url, "bad")]
    on = sum(one.is_enabled for one in found)
    return [Line("Upstreams", f"{on} on, {len(asked)} asked in the last hour, all well", url)]


def _jobs() -> list[Line]:
    backfills, imports = telemetry.backfill_states(), tasks.import_states()
    failed = backfills["failed"], imports.get("failed", 0)
    of_backfills = _list("telemetry_backfill", state__exact="failed")
    of_imports = _list("tasks_sharing_import", state__exact="failed")
    return [
        Line("Backfills that failed", f"{failed[0]:,}", of_backfills, "bad" if failed[0] else ""),
        Line("Imports that failed", f"{failed[1]:,}", of_imports, "warn" if failed[1] else ""),
        Line(
            "Backfills that wait",
            f"{backfills['queued']:,}",
            _list("telemetry_backfill", state__exact="queued"),
            "warn" if backfills["queued"] > _MANY_JOBS else "",
        ),
    ]


def _sign_ins(rows: Sequence[Mapping[str, object]]) -> Line:
    counts = dict.fromkeys(_SIGN_INS, 0)
    for row in rows:
        counts[str(row["action"])] += _number(row, "count")
    done, failed, locked = counts.values()
    return Line(
        "Sign-ins in the last day",
        f"{done:,}, {failed:,} failed, {locked:,} accounts locked",
        f"{reverse('audit')}?what=sign-ins",
        "warn" if locked else "",
    )


def _capacity(completed: Sequence[Mapping[str, object]], *, at: datetime) -> list[Line]:
    editors, sessions = bridge.totals(at=at), accounts.totals(at=at)
    running = sum(_number(row, "running") for row in completed)
    waiting, used = storage.jobs_waiting(), machine.disk_used()
    return [
        Line(
            "Editors online",
            f"{editors.editors:,}, {editors.running:,} at work",
            _list("bridge_instance", ended_at__isnull=True),
        ),
        Line(
            "Completions running",
            f"{running:,}",
            _list("proxy_completion", status__exact="running"),
        ),
        Line(
            "Commands that wait for an editor",
            f"{editors.commands:,}",
            _list("bridge_command", state__exact="queued"),
        ),
        Line(
            "Jobs in the queue",
            "the queue does not answer" if waiting is None else f"{waiting:,}",
            _list("telemetry_backfill", state__exact="queued"),
            "bad" if waiting is None else "warn" if waiting > _MANY_JOBS else "",
        ),
        Line(
            "Storage",
            f"database {_size(storage.database_bytes())}, disk {used:.0%} full",
            _list("tasks_sharing_message"),
            "bad" if used > _FULL else "",
        ),
        Line("People", f"{sessions['users']:,}", _list("accounts_user", is_active__exact=1)),
        Line(
            "Signed-in editors, command lines and jobs",
            f"{sessions['sessions']:,}",
            _list("accounts_clientsession", ended_at__isnull=True),
        ),
    ]


def _size(size: float) -> str:
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def _money(spent_nanos: int, *, at: datetime) -> list[Line]:
    tight, asked = credit.tightness(at=at), credit.top_ups_asked()
    spans = _list("credits_budgetspan")
    allowed = f" of {format_usd(tight.days_nanos)} a day" if tight.days_nanos else ""
    return [
        Line(
            "Spent today",
            f"{format_usd(spent_nanos)}{allowed}",
            _list("proxy_completion", started_at__gte=_midnight(at.date()).isoformat()),
            "warn" if 0 < tight.days_nanos <= spent_nanos else "",
        ),
        Line(
            "Budgets that are used up",
            f"{tight.used_up:,}",
            spans,
            "warn" if tight.used_up else "",
        ),
        Line("Budgets near their limit", f"{tight.near:,}", spans),
        Line(
            "Requests for credit",
            f"{asked:,}",
            _list("credits_topup", state__exact="asked"),
            "warn" if asked else "",
        ),
    ]


def _to_do(*, at: datetime) -> list[Line]:
    unpriced = proxy.unpriced_models(at=at)
    models = _list("proxy_languagemodel", visible__exact=1)
    if not unpriced:
        return []
    return [Line("Models without a price, not offered", f"{unpriced:,}", models, "warn")]


# --- Charts -----------------------------------------------------------------------------------

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """key: what a row names its place by; form: of the places, for strftime."""

    places: Sequence[date]
    key: str
    form: str

    def spread(self, rows: Rows, name: str) -> list[float]:
        """A number for each place; rows of the same place are added up."""
        found: dict[object, float] = {}
        for row in rows:
            found[row[self.key]] = found.get(row[self.key], 0) + _number(row, name)
        return [found.get(place, 0) for place in self.places]

    def chart(
        self,
        label: str,
        url: str,
        values: Sequence[float],
        *,
        wrong: Sequence[float] = (),
        of_what: str = "failed",
        says: Callable[[float], str] = "{:,.0f}".format,
    ) -> Chart:
        """wrong: which part of each value."""
        told = [
            f"{place:{self.form}}: {says(value)}"
            for place, value in zip(self.places, values, strict=True)
        ]
        drawn = bars(values, told, bad=wrong)
        return Chart(label, says(sum(values)), url, drawn, int(sum(wrong)), of_what)


def _hourly(hours: Sequence[datetime], completed: Rows, signed: Rows) -> list[Chart]:
    axis = _Axis(hours, "hour", "%H:%M")
    begun = tasks.dashboard_hours(hours[0])
    refused = [row for row in signed if row["action"] != "user.signed_in"]
    completions = _list("proxy_completion", started_at__gte=hours[0].isoformat())
    failed, locked = axis.spread(completed, "failed"), axis.spread(refused, "count")
    return [
        axis.chart("Tasks", _list("tasks_sharing_task"), axis.spread(begun, "tasks")),
        axis.chart("Completions", completions, axis.spread(completed, "completions"), wrong=failed),
        axis.chart("Spend", completions, axis.spread(completed, "spend_nanos"), says=_usd),
        axis.chart(
            "Sign-ins",
            f"{reverse('audit')}?what=sign-ins",
            axis.spread(signed, "count"),
            wrong=locked,
            of_what="failed or locked",
        ),
    ]


def _daily(days: Sequence[date], by_day: Rows) -> list[Chart]:
    axis = _Axis(days, "day", "%-d %b")
    people = accounts.dashboard_days(_midnight(days[0]))
    url, wrong = _list("proxy_completion"), axis.spread(by_day, "wrong")
    return [
        axis.chart("Completions", url, axis.spread(by_day, "done"), wrong=wrong),
        axis.chart("Tokens", url, axis.spread(by_day, "tokens")),
        axis.chart("Spend", _list("credits_entry"), axis.spread(by_day, "spend_nanos"), says=_usd),
        axis.chart("New people", _list("accounts_user"), axis.spread(people, "users")),
    ]


def _usd(nanos: float) -> str:
    return format_usd(int(nanos))
