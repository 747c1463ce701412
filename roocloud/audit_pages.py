"""The pages of the audit trail: all of it for the site's administrators, and what concerns an
organization for its owners and admins.

They stand here and not in ``audit``, which every room writes to: they ask higher rooms who may
look, and what people are called.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import queries as people
from accounts.actors import Actor, web_actor
from audit import actions as audit
from audit import listing
from audit.forms import TrailForm
from orgs import queries as orgs
from orgs.pages import enter_as_admin
from roocloud.lib.access import signed_in, staff
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.threads import run_db

if TYPE_CHECKING:
    from orgs.models import Organization


@dataclass(frozen=True, slots=True)
class _Asked:
    """What part of the trail is looked at, and by whom. organization: None for all of it."""

    by: Actor
    organization: "Organization | None"
    form: TrailForm

    @property
    def organization_id(self) -> str | None:
        return self.organization.pk if self.organization else None

    @property
    def title(self) -> str:
        return f"Audit trail of {self.organization}" if self.organization else "Audit trail"

    @property
    def filters(self) -> listing.Filters:
        return self.form.filters(self.organization_id)

    def url(self, form: str = "") -> str:
        """Of the page, or of an export."""
        of = [] if self.organization_id is None else [self.organization_id]
        name = "organization-audit" if of else "audit"
        return reverse(f"{name}-export", args=[*of, form]) if form else reverse(name, args=of)


def _of_site(request: HttpRequest) -> _Asked:
    return _Asked(web_actor(request), None, TrailForm(request.GET, people=None))


def _of_organization(request: HttpRequest, organization_id: str) -> _Asked:
    actor, found = enter_as_admin(request, organization_id)
    form = TrailForm(request.GET, people=orgs.people(found.pk))
    return _Asked(actor, found, form)


@require_safe
@staff
def trail(request: HttpRequest) -> HttpResponse:
    """``/audit``: for the site's administrators."""
    return _page(request, _of_site(request))


@require_safe
@staff
def export(request: HttpRequest, form: str) -> HttpResponseBase:
    """``/audit.csv``, ``/audit.jsonl``"""
    return _export(_of_site(request), form)


@require_safe
@signed_in
def organization_trail(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/audit``: for its owners and admins."""
    return _page(request, _of_organization(request, organization_id))


@require_safe
@signed_in
def organization_export(request: HttpRequest, organization_id: str, form: str) -> HttpResponseBase:
    """``/organizations/{id}/audit.csv``, ``.jsonl``"""
    return _export(_of_organization(request, organization_id), form)


def _page(request: HttpRequest, asked: _Asked) -> HttpResponse:
    rows = listing.entries(asked.filters)
    found, following = listing.page(rows, before=request.GET.get("before", ""))
    query = request.GET.copy()
    query.pop("before", None)
    context = {
        "asked": asked,
        "is_narrowed": any(asked.form.data.values()),
        "rows": found,
        "count": listing.count(rows),
        "most_counted": listing.MOST_COUNTED,
        "following": following,
        "names": people.names(listing.actor_ids(found)),
        "proof": listing.proof(),
        "exports": [
            (form.upper(), f"{asked.url(form)}?{query.urlencode()}") for form in listing.FORMS
        ],
    }
    return render(request, "audit/trail.html", context)


def _export(asked: _Asked, name: str) -> StreamingHttpResponse:
    """Everything that the filters leave, streamed. That it was asked for is on the trail."""
    form = listing.FORMS.get(name)
    if form is None:
        raise Http404
    if not asked.form.is_valid():
        field, problems = next(iter(asked.form.errors.items()))
        raise InvalidInput(str(problems[0]), field=field)
    audit.record(
        action="audit.exported",
        actor=asked.by,
        target_kind="organization" if asked.organization_id else "deployment",
        target_id=asked.organization_id or "-",
        organization_id=asked.organization_id or "",
        after={key: value for key, value in asked.form.data.items() if value},
        at=timezone.now(),
    )

    async def pieces() -> AsyncGenerator[str, None]:
        yield form.opening
        before = ""
        while True:
            # In batches on the bounded pool: an export that is read slowly holds no connection.
            batch = partial(listing.export, asked.filters, form, before=before)
            lines, before = await run_db(batch)
            yield lines
            if not before:
                return

    return StreamingHttpResponse(
        pieces(),
        content_type=form.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="audit.{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
