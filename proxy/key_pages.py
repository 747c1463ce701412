"""The pages of API keys: a person's own, and for admins those of the organization."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import api_keys, memberships
from accounts.actors import Actor, web_actor
from accounts.contexts import in_context
from orgs import policy
from orgs import queries as orgs
from proxy import keeping, keys, queries
from proxy.forms import EditKeyForm, KeyForm, RotateForm
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from accounts.models import ApiKey
    from proxy.models import TranscriptKeeping

PAGE = 50


@dataclass(frozen=True, slots=True)
class Keeping:
    """An organization that has prompts and answers stored."""

    name: str
    keeping: "TranscriptKeeping"


def _keeping(theirs: Sequence[memberships.Membership]) -> list[Keeping]:
    found = keeping.of_organizations([one.organization_id for one in theirs])
    return [
        Keeping(one.organization_name, found[one.organization_id])
        for one in theirs
        if one.organization_id in found
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose keys a page is about. organization: None for the person's own. url: of the list."""

    actor: Actor
    organizations: Sequence[memberships.Membership]
    organization: memberships.Membership | None
    url: str

    def found(self) -> "QuerySet[ApiKey]":
        if self.organization is None:
            return api_keys.mine(self.actor)
        return api_keys.of_organization(self.actor)

    def listed(self, rows: Sequence["ApiKey"]) -> list[keys.Listed]:
        members = None
        if self.organization is not None:
            members = orgs.member_ids(self.organization.organization_id)
        return keys.listed(
            rows, organizations=self.organizations, members=members, at=timezone.now()
        )

    def keeping(self) -> list[Keeping]:
        """For a person's own pages: which of their organizations store what they ask."""
        return [] if self.organization else _keeping(self.organizations)

    def may_edit(self, key: "ApiKey") -> bool:
        """On the owner's own pages, while they belong where it is used and it has not ended."""
        places = {one.organization_id for one in self.organizations} | {""}
        has_ended = key.state(timezone.now()) == key.State.EXPIRED
        return self.organization is None and key.organization_id in places and not has_ended


def _enter(request: HttpRequest, organization_id: str | None) -> Place:
    """Raises NotFound for an organization that is not theirs, and Forbidden for who is no admin."""
    actor = web_actor(request)
    mine = memberships.of(user_id=actor.user_id)
    if organization_id is None:
        return Place(actor, mine, None, reverse("api-keys"))
    found = next((one for one in mine if one.organization_id == organization_id), None)
    if found is None:
        raise NotFound("There is no such organization")
    actor = in_context(actor, organization_id)
    if not policy.is_admin(actor):
        raise Forbidden("This page is for owners and admins of the organization")
    return Place(actor, mine, found, reverse("organization-keys", args=[organization_id]))


@never_cache
@require_safe
@signed_in
def key_list(request: HttpRequest, organization_id: str | None = None) -> HttpResponse:
    """``/account/keys`` and ``/organizations/{id}/keys``"""
    place = _enter(request, organization_id)
    page = Paginator(place.found(), PAGE).get_page(request.GET.get("page"))
    context = {
        "place": place,
        "page": page,
        "rows": place.listed(list(page)),
        "keeping": place.keeping(),
    }
    return render(request, "proxy/keys.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_key(request: HttpRequest) -> HttpResponse:
    """``/account/keys/new``: the secret is in the answer to the form, and nowhere after."""
    actor, at = web_actor(request), timezone.now()
    theirs = memberships.of(user_id=actor.user_id)
    spending = [m for m in theirs if policy.may_spend(in_context(actor, m.organization_id))]
    contexts = [in_context(actor, one) for one in (*(m.organization_id for m in spending), "")]
    models = {pair for context in contexts for pair in queries.models_of(context, at=at)}
    form = KeyForm(
        request.POST or None,
        organizations=spending,
        models=sorted(models),
        initial={"organization": actor.organization_id or ""},
    )
    if request.method == "POST" and form.is_valid():
        try:
            issued = keys.make_key(
                by=in_context(actor, form.cleaned_data["organization"]),
                new=form.new_key(),
                limit=form.limit_given(),
                at=at,
            )
        except (InvalidInput, Conflict) as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        else:
            return render(request, "proxy/key_secret.html", {"issued": issued})
    context = {"form": form, "keeping": _keeping(theirs)}
    return render(request, "proxy/new_key.html", context)


@never_cache
@require_safe
@signed_in
def key_page(request: HttpRequest, key_id: str, organization_id: str | None = None) -> HttpResponse:
    """``…/keys/{id}``: what it is, and everything that can be done to it."""
    place = _enter(request, organization_id)
    key = api_keys.find(place.found(), key_id)
    (row,) = place.listed([key])
    context = {
        "place": place,
        "row": row,
        "key": key,
        "rotate": RotateForm(),
        "is_own": key.user_id == place.actor.user_id,
        "keeping": keeping.of_organizations([key.organization_id]).get(key.organization_id),
        "may_edit": place.may_edit(key),
        "is_of_context": key.organization_id == (web_actor(request).organization_id or ""),
        "has_old_secret": key.previous_until is not None and key.previous_until > timezone.now(),
    }
    return render(request, "proxy/key.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """``/account/keys/{id}/edit``: all of one's own key but its secret and its context."""
    place, at = _enter(request, None), timezone.now()
    key = api_keys.find(place.found(), key_id)
    if not place.may_edit(key):
        raise Conflict("This key has ended, or its owner left the organization that it was for")
    actor = in_context(place.actor, key.organization_id)
    present = keys.own_budget(key, at=at)
    form = EditKeyForm(
        request.POST or None,
        key=key,
        models=queries.models_of(actor, at=at),
        limit=keys.limit_of(present),
        has_fixed_budget=keys.is_fixed(present, by=actor),
    )
    if request.method == "POST" and form.is_valid():
        try:
            keys.change_key(
                by=actor, key=key, facts=form.facts(at), limit=form.limit_given(), at=at
            )
        except (InvalidInput, Conflict, Forbidden) as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        else:
            messages.success(request, f"{key} is changed. It counts within seconds.")
            return redirect(f"{place.url}/{key.pk}")
    return render(request, "proxy/edit_key.html", {"form": form, "key": key, "place": place})


@require_POST
@signed_in
def switch_key(
    request: HttpRequest, key_id: str, organization_id: str | None = None
) -> HttpResponse:
    """Pause or resume a key."""
    place = _enter(request, organization_id)
    key = api_keys.find(place.found(), key_id)
    if request.POST.get("do") == "resume":
        api_keys.resume_key(key=key, by=place.actor, at=timezone.now())
        messages.success(request, f"{key} works again.")
    else:
        api_keys.pause_key(key=key, by=place.actor, at=timezone.now())
        messages.success(request, f"{key} is paused.")
    return redirect(f"{place.url}/{key.pk}")


@never_cache
@require_POST
@signed_in
def rotate_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """A new secret for one's own key, shown once."""
    place = _enter(request, None)
    key = api_keys.find(place.found(), key_id)
    form = RotateForm(request.POST)
    if not form.is_valid():
        raise InvalidInput("must be one of those offered", field="overlap")
    issued = api_keys.rotate_key(key=key, by=place.actor, overlap=form.hours(), at=timezone.now())
    return render(request, "proxy/key_secret.html", {"issued": issued, "is_rotated": True})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def revoke_key(
    request: HttpRequest, key_id: str, organization_id: str | None = None
) -> HttpResponse:
    """Ask, then end a key."""
    place = _enter(request, organization_id)
    key = api_keys.find(place.found(), key_id)
    if request.method == "POST":
        api_keys.revoke_key(key=key, by=place.actor, at=timezone.now())
        messages.success(request, f"{key} is revoked.")
        return redirect(place.url)
    return render(request, "proxy/revoke_key.html", {"place": place, "key": key})
