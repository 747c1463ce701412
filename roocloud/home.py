"""The start page, and how to connect an editor."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import memberships
from accounts.actors import Actor, web_actor
from accounts.queries import has_client
from bridge import overview as editors
from credits import overview as budgets
from credits import queries as credit
from roocloud.lib.access import public
from tasks_sharing import queries as tasks

RECENT = 5
#: Budgets that the page warns of, at most.
TIGHT = 3


@require_safe
@public(reason="says what this server is; a signed-in person sees their own beside it")
def home(request: HttpRequest) -> HttpResponse:
    """``/``: for strangers what this is, for members what is theirs."""
    if not request.user.is_authenticated:
        return render(request, "home/welcome.html", {"variables": variables()})
    return render(request, "home/home.html", _mine(web_actor(request)))


def _mine(actor: Actor) -> dict[str, object]:
    recent = list(tasks.my_tasks(actor)[:RECENT])
    context = next(
        (
            membership
            for membership in memberships.of(user_id=actor.user_id)
            if membership.organization_id == actor.organization_id
        ),
        None,
    )
    return {
        "context": context,
        "balance_nanos": credit.balance_nanos(actor),
        "tight": budgets.tight(actor, at=timezone.now())[:TIGHT],
        "tasks": recent,
        "has_client": has_client(actor, at=timezone.now()),
        "editors": editors.count(actor, at=timezone.now()),
    }


@require_safe
@public(reason="instructions")
def connect(request: HttpRequest) -> HttpResponse:
    """``/connect``: the three variables, where to set them, and what does not work."""
    return render(request, "home/connect.html", {"variables": variables()})


def variables() -> list[tuple[str, str]]:
    """What an editor needs in its environment (protocol/auth.md §1)."""
    url = settings.ROOCLOUD_PUBLIC_URL
    return [
        ("CLERK_BASE_URL", url),
        ("ROO_CODE_API_URL", url),
        ("ROO_CODE_PROVIDER_URL", f"{url}/proxy"),
    ]
