"""The pages of usage: sums, the log of completions, one of them explained, and the log as CSV."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import api_keys
from accounts import queries as people
from accounts.actors import Actor, web_actor
from orgs import policy
from proxy import insight, keeping, spending, usage_links
from proxy.spending import Filters
from proxy.usage_forms import FilterForm
from roocloud.lib.access import signed_in
from roocloud.lib.spreadsheets import csv_lines
from roocloud.lib.text import is_storable
from roocloud.lib.threads import run_db

#: Values of one kind that may be left out.
MOST_LEFT_OUT = 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """keys: see accounts.api_keys.labels."""

    actor: Actor
    keys: Mapping[str, tuple[str, str]]
    form: FilterForm
    filters: Filters


def _asked(request: HttpRequest) -> _Asked:
    actor = web_actor(request)
    given = request.GET
    is_team = policy.is_admin(actor) and given.get("of") == "all"
    keys = api_keys.labels(actor, is_team=is_team)
    period = given.get("period", "")
    first_of_all = spending.first_day(actor, is_team=is_team) if period == "all" else None
    form = FilterForm(
        given,
        choices=spending.choices(actor, keys=keys, is_team=is_team),
        days=insight.period_days(period, first_of_all=first_of_all, at=timezone.now()),
        is_team=is_team,
    )
    filters = replace(
        form.filters(),
        not_member=_left_out(given, "member"),
        not_model=_left_out(given, "model"),
        not_upstream=_left_out(given, "upstream"),
    )
    return _Asked(actor, keys, form, filters)


def _left_out(given: QueryDict, part: str) -> tuple[str, ...]:
    values = filter(is_storable, given.getlist(f"not_{part}"))
    return tuple(islice(values, MOST_LEFT_OUT))


@require_safe
@signed_in
def usage(request: HttpRequest) -> HttpResponse:
    """``/usage``: what was used, as figures and a chart, apart by what is asked for, and the
    completions themselves."""
    asked = _asked(request)
    actor, filters = asked.actor, asked.filters
    rows = spending.completions(actor, filters)
    found, following = spending.page(rows, before=request.GET.get("before", ""))
    parts = ["day", "model", "upstream", *spending.OF_TASKS]
    if filters.is_team:
        parts.insert(1, "member")
    by = request.GET.get("by", "")
    by = by if by in parts else "day"
    keys = {key_id: name for key_id, (name, _) in asked.keys.items()}
    left_out = people.names(filters.not_member) if filters.is_team else {}
    context = {
        "actor": actor,
        "form": asked.form,
        "filters": filters,
        "periods": insight.PERIODS,
        "period": _period(request),
        "chips": usage_links.chips(request.GET, asked.form, names=left_out),
        "insight": None if filters.is_of_one else _insight(request, asked),
        "is_admin": policy.is_admin(actor),
        "keeping": keeping.of_organizations([actor.organization_id]).get(
            actor.organization_id or ""
        ),
        "may_set": actor.organization_id is None or policy.is_admin(actor),
        "totals": spending.totals(actor, filters),
        "parts": parts,
        "by": by,
        "breakdown": [
            (part, usage_links.of_part(request.GET, by, part.value))
            for part in spending.breakdown(actor, filters, by=by)
        ],
        "rows": found,
        "names": people.names({row.user_id for row in found}) if filters.is_team else {},
        "keys": keys,
        "following": following,
        "export": urlencode(
            [
                pair
                for pair in usage_links.pairs(request.GET)
                if pair[0] not in ("by", "before", "metric", "stack")
            ]
        ),
    }
    return render(request, "proxy/usage.html", context)


def _period(request: HttpRequest) -> str:
    """Which tab is the present one."""
    if request.GET.get("first") or request.GET.get("last"):
        return ""
    period = request.GET.get("period", "")
    return period if period in insight.PERIODS else "30d"


def _insight(request: HttpRequest, asked: _Asked) -> insight.Insight:
    given = request.GET
    return insight.insight(
        asked.actor,
        asked.filters,
        metric=given.get("metric", ""),
        stack=given.get("stack", ""),
        at=timezone.now(),
    )


@never_cache
@require_safe
@signed_in
def completion(request: HttpRequest, completion_id: str) -> HttpResponse:
    """``/usage/{id}``: why one completion cost what it cost, and what was said, if it is kept."""
    actor = web_actor(request)
    found = spending.explained(actor, completion_id)
    if found is None:
        raise Http404
    context = {
        "found": found,
        "row": found.completion,
        "kept": keeping.read(actor, found.completion, at=timezone.now()),
        "may_set": actor.organization_id is None or policy.is_admin(actor),
    }
    return render(request, "proxy/completion.html", context)


@require_safe
@signed_in
def export(request: HttpRequest) -> StreamingHttpResponse:
    """``/usage.csv``: every completion that the filters leave, streamed."""
    asked = _asked(request)
    rows = spending.completions(asked.actor, asked.filters)

    async def lines() -> AsyncGenerator[str, None]:
        yield csv_lines([spending.EXPORT_HEADER])
        before = ""
        while True:
            # In batches on the bounded pool: an export that is read slowly holds no connection.
            batch, before = await run_db(spending.export, rows, before=before)
            yield csv_lines(batch)
            if not before:
                return

    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="usage-{asked.filters.first}.csv"',
            "Cache-Control": "no-store",
        },
    )
