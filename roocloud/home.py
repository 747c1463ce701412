"""The start page, how to connect an editor, and whether that worked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import memberships
from accounts import queries as people
from accounts.actors import Actor, web_actor
from bridge import overview as bridge
from credits import overview as budgets
from credits import policy as money
from credits import queries as credit
from credits import top_ups
from orgs import queries as orgs
from orgs.policy import may_spend
from proxy import spending
from roocloud.lib.access import public, signed_in
from tasks_sharing import queries as tasks
from telemetry import queries as telemetry

RECENT = 5
#: Budgets that the page warns of, and editors that it lists, at most.
TIGHT = 3
EDITORS = 5
#: How long ago an editor that is open and signed in was heard of at most.
_LATELY = timedelta(minutes=5)


@require_safe
@public(reason="says what this server is; a signed-in person sees their own beside it")
def home(request: HttpRequest) -> HttpResponse:
    """``/``: for strangers what this is, for members what is theirs."""
    if not request.user.is_authenticated:
        return render(request, "home/welcome.html", {"variables": variables()})
    return render(request, "home/home.html", _mine(web_actor(request), at=timezone.now()))


def _mine(actor: Actor, *, at: datetime) -> dict[str, object]:
    recent = list(tasks.my_tasks(actor)[:RECENT])
    context = next(
        (
            membership
            for membership in memberships.of(user_id=actor.user_id)
            if membership.organization_id == actor.organization_id
        ),
        None,
    )
    editors = [one for one in bridge.editors(actor, at=at) if one.state is not bridge.State.OFFLINE]
    asked, on_server = top_ups.to_answer(actor)
    client = people.last_client(actor, at=at)
    return {
        "context": context,
        "balance_nanos": credit.balance_nanos(actor),
        "spent_nanos": _spent_nanos(actor, is_team=False, at=at),
        "team_nanos": _spent_nanos(actor, is_team=True, at=at) if _sees_team(actor) else None,
        "month": at,
        "tight": budgets.tight(actor, at=at)[:TIGHT],
        "waiting": [one for one in editors if one.state is bridge.State.NEEDS][:EDITORS],
        "editors": [one for one in editors if one.state is not bridge.State.NEEDS][:EDITORS],
        "invitations": orgs.invitations_to(actor, at=at),
        "asked": asked,
        "names": people.names({one.asked_by_id for one in asked}),
        "on_server": on_server,
        "tasks": recent,
        "client": client,
        "is_new": may_spend(actor) and not (client and recent),
        "variables": variables(),
    }


def _sees_team(actor: Actor) -> bool:
    return actor.organization_id is not None and money.may_decide(actor)


def _spent_nanos(actor: Actor, *, is_team: bool, at: datetime) -> int:
    today = at.astimezone(UTC).date()
    filters = spending.Filters(today.replace(day=1), today, is_team=is_team)
    return spending.totals(actor, filters)["cost_nanos"]


@require_safe
@signed_in
def connect(request: HttpRequest) -> HttpResponse:
    """``/connect``: the three variables, where to set them, and what does not work."""
    return render(request, "home/connect.html", {"variables": variables()})


@dataclass(frozen=True, slots=True)
class Link:
    """A part of a connection. seen_at: when it last worked, None for never. remedy: what to do."""

    name: str
    meaning: str
    seen_at: datetime | None
    is_fine: bool
    remedy: str
    detail: str = ""


@require_safe
@signed_in
def check_connection(request: HttpRequest) -> HttpResponse:
    """``/connect/check``: what this server heard of the person's editors, and when."""
    links = _links(web_actor(request), at=timezone.now())
    needed = [one for one in links if one.name != _REMOTE]
    context = {"links": links, "is_fine": all(one.is_fine for one in needed)}
    return render(request, "home/check.html", context)


_REMOTE = "Remote control"


def _links(actor: Actor, *, at: datetime) -> Sequence[Link]:
    """Four queries and a look into the cache."""
    client = people.last_client(actor, at=at)
    fetched, event = orgs.last_fetch(actor), telemetry.last_event(actor)
    seen = bridge.last_seen(actor)
    return (
        Link(
            "Sign-in",
            "An editor or a command line is signed in as you.",
            client.seen_at if client else None,
            client is not None,
            "Set the three variables where the editor starts, restart it, and press Connect in the "
            "extension's cloud tab, with its sidebar in sight.",
            client.name if client else "",
        ),
        Link(
            "Settings",
            "It fetched its settings from here.",
            fetched,
            fetched is not None,
            "Look at CLERK_BASE_URL and ROO_CODE_API_URL: both must be this server's address. An "
            "editor asks within a minute of its sign-in.",
        ),
        Link(
            "Reports",
            "It reported what a task does, so the task is on record here.",
            event,
            event is not None,
            "Start a task. If nothing comes, turn on task sync in the extension's cloud tab; the "
            "organization may have turned off recording.",
        ),
        Link(
            _REMOTE,
            "It can be steered from here; it need not be.",
            seen,
            seen is not None and at - seen < _LATELY,
            "Turn on remote control in the extension's cloud tab. Versions 3.26.3 to 3.50.0 have "
            "it, and reverse proxies must pass /socket.io/ on.",
        ),
    )


def variables() -> list[tuple[str, str]]:
    """What an editor needs in its environment (protocol/auth.md §1)."""
    url = settings.ROOCLOUD_PUBLIC_URL
    return [
        ("CLERK_BASE_URL", url),
        ("ROO_CODE_API_URL", url),
        ("ROO_CODE_PROVIDER_URL", f"{url}/proxy"),
    ]
