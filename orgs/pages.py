"""The web pages of an organization."""

from dataclasses import replace

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import parse_etags
from django.views.decorators.http import require_http_methods, require_safe

from accounts.actors import ORGANIZATION_KEY, Actor, web_actor
from accounts.contexts import check_sign_on
from orgs import actions, logos, policy, roster
from orgs.forms import LogoForm, OrganizationForm, RemoteControlForm, refuse
from orgs.models import Logo, Membership, Organization
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Forbidden, InvalidInput

PAGE = 50


def enter(request: HttpRequest, organization_id: str) -> tuple[Actor, Organization]:
    """The organization and the person as a member of it; 404 for strangers, as for unknown ids."""
    actor = web_actor(request)
    rows = Organization.objects.visible_to(actor).select_related("logo").defer("logo__picture")
    organization = get_object_or_404(rows, pk=organization_id)
    check_sign_on(actor, organization.pk, organization.name)
    membership = Membership.unscoped.get(organization=organization, user_id=actor.user_id)
    return replace(actor, organization_id=organization.pk, role=membership.role), organization


def enter_as_admin(request: HttpRequest, organization_id: str) -> tuple[Actor, Organization]:
    """The same for owners and admins. Raises Forbidden."""
    actor, organization = enter(request, organization_id)
    if not policy.is_admin(actor):
        raise Forbidden("This page is for owners and admins of the organization")
    return actor, organization


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def organizations(request: HttpRequest) -> HttpResponse:
    """``/organizations``: mine, and a new one."""
    actor = web_actor(request)
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = actions.create_organization(
            name=form.cleaned_data["name"],
            owner=request.user,  # type: ignore[arg-type]  # behind @signed_in
            by=actor,
            at=timezone.now(),
        )
        request.session[ORGANIZATION_KEY] = made.pk
        messages.success(request, f"{made.name} is ready.")
        return redirect("organization", made.pk)
    mine = (
        Membership.unscoped.filter(user_id=actor.user_id)
        .select_related("organization")
        .order_by("organization__name", "pk")
    )
    context = {"memberships": mine, "form": form, "chosen": actor.organization_id}
    return render(request, "orgs/organizations.html", context)


@require_safe
@signed_in
def organization(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}``: its members, and the way to everything else of it."""
    actor, found = enter(request, organization_id)
    search = request.GET.get("q", "").strip()
    rows = roster.members(actor, found, search=search)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    context = {
        "organization": found,
        "page": page,
        "lines": roster.lines(actor, list(page), at=timezone.now()),
        "search": search,
        "is_admin": policy.is_admin(actor),
    }
    return render(request, "orgs/organization.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def general(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/general``: its name and its picture."""
    actor, found = enter_as_admin(request, organization_id)
    do = request.POST.get("do")
    form = OrganizationForm(request.POST if do == "rename" else None, initial={"name": found.name})
    logo_form = LogoForm(*((request.POST, request.FILES) if do == "logo" else ()))
    at = timezone.now()
    try:
        if do == "rename" and form.is_valid():
            name = form.cleaned_data["name"]
            actions.rename(organization=found, name=name, by=actor, at=at)
            return _saved(request, found)
        if do == "logo" and logo_form.is_valid():
            uploaded = logo_form.cleaned_data["logo"].read(logos.MAX_BYTES + 1)
            actions.put_logo(organization=found, uploaded=uploaded, by=actor, at=at)
            return _saved(request, found)
        if do == "remove-logo":
            actions.remove_logo(organization=found, by=actor, at=at)
            return _saved(request, found)
    except InvalidInput as refusal:
        refuse(form if do == "rename" else logo_form, refusal)
    context = {
        "organization": found,
        "is_owner": policy.is_owner(actor),
        "form": form,
        "logo_form": logo_form,
    }
    status = 400 if form.errors or logo_form.errors else 200
    return render(request, "orgs/general.html", context, status=status)


def _saved(request: HttpRequest, found: Organization) -> HttpResponse:
    messages.success(request, "Saved.")
    return redirect("organization-general", found.pk)


@require_safe
@signed_in
def logo(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/logo``: for members. Asked again each time, mostly answered by 304."""
    _, found = enter(request, organization_id)
    picture = get_object_or_404(Logo.unscoped, organization=found)
    etag = f'"{picture.digest}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(bytes(picture.picture), content_type=logos.MIME_TYPE, headers=headers)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remote_control(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/remote-control``: for owners and admins."""
    actor, found = enter_as_admin(request, organization_id)
    is_post = request.method == "POST"
    form = RemoteControlForm(
        request.POST if is_post else None,
        initial={"is_on": found.remote_control, "admins_watch": found.remote_watching},
    )
    if is_post and form.is_valid():
        wanted = policy.RemotePolicy(**form.cleaned_data)
        response: HttpResponse = _set_remote_policy(request, actor, found, wanted)
        return response
    context = {"organization": found, "form": form}
    return render(request, "orgs/remote_control.html", context)


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _set_remote_policy(
    request: HttpRequest, actor: Actor, found: Organization, wanted: policy.RemotePolicy
) -> HttpResponse:
    actions.set_remote_policy(organization=found, policy=wanted, by=actor, at=timezone.now())
    messages.success(request, "Saved. It counts within five seconds.")
    return redirect("organization-remote-control", found.pk)
