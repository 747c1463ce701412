"""What the owner of a task does about its links: makes them, says how long they live, exchanges and
revokes them, and sees who looked."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.actors import web_actor
from accounts.queries import names
from orgs import queries as orgs
from roocloud.lib.access import signed_in
from tasks_sharing import actions, policy, queries
from tasks_sharing.forms import LifetimeForm
from tasks_sharing.models import Share, ShareView, Task

VIEWS_A_PAGE = 50
#: Links on the page of their task, those that were not revoked first.
_MAX_LINKS = 20


@dataclass(frozen=True, slots=True)
class Link:
    """A link as its owner sees it. url: empty once it is dead for good."""

    share: Share
    standing: queries.Standing
    url: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of link that a task can have: the one it has, or why it can have none."""

    visibility: Share.Visibility
    link: Link | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a task is shared. past: links that do not work any more, newest first."""

    offers: list[Offer]
    past: list[Link]
    form: LifetimeForm

    @property
    def is_shared(self) -> bool:
        return any(offer.link for offer in self.offers)


def _links(task: Task, shares: list[Share], *, at: datetime) -> list[Link]:
    dead = (policy.Barrier.REVOKED, policy.Barrier.EXPIRED)
    return [
        Link(share, stands, "" if stands.barrier in dead else actions.url_of(share))
        for share, stands in zip(shares, queries.standing(task, shares, at=at), strict=True)
    ]


def sharing_of(task: Task, *, at: datetime) -> Sharing:
    """The links of a task, and those that it could have. task: the viewer's own, with its owner."""
    cloud = orgs.settings_of(task.organization_id).cloud
    rows = Share.unscoped.filter(task=task).with_views()
    kinds = list(Share.Visibility) if task.organization_id else [Share.Visibility.PUBLIC]
    rows = rows.order_by(F("revoked_at").desc(nulls_first=True), "-created_at", "pk")
    links = _links(task, list(rows[:_MAX_LINKS]), at=at)
    live = {link.share.visibility: link for link in links if link.url}
    offers = [Offer(kind, live.get(kind), policy.refusal_to_share(kind, cloud)) for kind in kinds]
    past = [link for link in links if not link.url]
    return Sharing(offers, past, LifetimeForm(cloud=cloud))


def make_link(request: HttpRequest, task: Task, visibility: str) -> str | None:
    """Make the link that a form asks for; its id. None if that cannot be: a message says why."""
    form = LifetimeForm(request.POST, cloud=orgs.settings_of(task.organization_id).cloud)
    if not form.is_valid():
        messages.error(request, "Choose when the link ends.")
        return None
    try:
        shared = actions.share_task(
            actor=web_actor(request),
            task_id=task.task_id,
            visibility=visibility,
            lifetime=form.lifetime,
            at=timezone.now(),
        )
    except actions.SharingRefused as refused:
        messages.error(request, refused.message)
    except actions.BackfillWanted:
        messages.error(
            request,
            "The beginning of this task is not here. Share it from the editor, which sends it.",
        )
    else:
        return shared.share_id
    return None


@require_POST
@signed_in
def share_task(request: HttpRequest, task_id: str) -> HttpResponse:
    """Make a link for the organization. A public one is made where its masks are shown."""
    rows = Task.objects.visible_to(web_actor(request))
    found = get_object_or_404(rows, task_id=task_id)
    share_id = make_link(request, found, Share.Visibility.ORGANIZATION)
    return redirect("share-page", share_id) if share_id else redirect("task", found.task_id)


def _mine(request: HttpRequest, share_id: str) -> Share:
    rows = Share.objects.visible_to(web_actor(request)).with_views()
    rows = rows.select_related("task", "task__owner", "task__organization")
    return get_object_or_404(rows, pk=share_id)


@require_safe
@signed_in
def share_page(request: HttpRequest, share_id: str) -> HttpResponse:
    """``/shares/{id}``: who may see what one of my links shows, and who did."""
    found, at = _mine(request, share_id), timezone.now()
    (link,) = _links(found.task, [found], at=at)
    rows = found.views.order_by("-opened_at", "pk")
    page = Paginator(rows, VIEWS_A_PAGE).get_page(request.GET.get("page"))
    form = LifetimeForm(
        cloud=orgs.settings_of(found.task.organization_id).cloud,
        initial={"hours": _hours(found.lifetime)},
    )
    return render(
        request,
        "tasks_sharing/share_page.html",
        {
            "share": found,
            "task": found.task,
            "link": link,
            "page": page,
            "views": _read_by(list(page.object_list)),
            "form": form,
            "keep_days": settings.ROOCLOUD_SHARE_VIEWS_KEEP.days,
        },
    )


def _hours(lifetime: timedelta | None) -> str:
    return "" if lifetime is None else str(lifetime // timedelta(hours=1))


def _read_by(views: list[ShareView]) -> list[tuple[ShareView, str]]:
    """Each view with the name of its reader; empty for people outside of the organization."""
    known = names(view.viewer_id for view in views if view.viewer_id)
    return [(view, known.get(view.viewer_id, "")) for view in views]


@require_POST
@signed_in
def change_lifetime(request: HttpRequest, share_id: str) -> HttpResponse:
    """Let one of my links live for as long as the form says."""
    found = _mine(request, share_id)
    form = LifetimeForm(request.POST, cloud=orgs.settings_of(found.task.organization_id).cloud)
    if not form.is_valid():
        messages.error(request, "Choose when the link ends.")
        return redirect("share-page", found.pk)
    try:
        end = actions.change_lifetime(
            share=found, lifetime=form.lifetime, by=web_actor(request), at=timezone.now()
        )
    except actions.LinkEnded as refused:
        messages.error(request, refused.message)
    else:
        messages.success(
            request,
            f"The link ends on {end:%-d %B %Y, %H:%M} UTC." if end else "The link has no end.",
        )
    return redirect("share-page", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def regenerate_share(request: HttpRequest, share_id: str) -> HttpResponse:
    """Ask, then put a new link in place of one of mine."""
    found = _mine(request, share_id)
    if request.method != "POST":
        return render(request, "tasks_sharing/regenerate_share.html", {"share": found})
    try:
        made = actions.regenerate_share(share=found, by=web_actor(request), at=timezone.now())
    except (actions.SharingRefused, actions.LinkEnded) as refused:
        messages.error(request, refused.message)
        return redirect("share-page", found.pk)
    messages.success(request, "This is the new link. The old one does not work any more.")
    return redirect("share-page", made.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def revoke_share(request: HttpRequest, share_id: str) -> HttpResponse:
    """Ask, then make one of my links worthless."""
    found = _mine(request, share_id)
    if request.method == "POST":
        actions.revoke_share(share=found, by=web_actor(request), at=timezone.now())
        messages.success(request, "The link does not work any more.")
        return redirect("task", found.task.task_id)
    return render(request, "tasks_sharing/revoke_share.html", {"share": found})
