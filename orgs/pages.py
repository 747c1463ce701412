"""The web pages of an organization: its members and invitations."""

from dataclasses import replace

from allauth.account.decorators import reauthentication_required
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import invitations
from accounts.actors import ORGANIZATION_KEY, Actor, web_actor
from orgs import actions, policy
from orgs.forms import InviteForm, OrganizationForm, RemoteControlForm, RoleForm
from orgs.models import Invitation, Membership, Organization
from roocloud.lib.access import public, signed_in
from roocloud.lib.refusals import Forbidden

PAGE = 50


def enter(request: HttpRequest, organization_id: str) -> tuple[Actor, Organization]:
    """The organization and the person as a member of it; 404 for strangers, as for unknown ids."""
    actor = web_actor(request)
    organization = get_object_or_404(Organization.objects.visible_to(actor), pk=organization_id)
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
    """``/organizations/{id}``: members, and for admins invitations."""
    actor, found = enter(request, organization_id)
    members = (
        Membership.objects.visible_to(actor)
        .filter(organization=found)
        .select_related("user")
        .order_by("user__email", "pk")
    )
    open_invitations = (
        Invitation.objects.visible_to(actor)
        .filter(organization=found)
        .live(timezone.now())
        .order_by("-created_at", "pk")
    )
    return render(
        request,
        "orgs/organization.html",
        {
            "organization": found,
            "page": Paginator(members, PAGE).get_page(request.GET.get("page")),
            "is_admin": policy.is_admin(actor),
            "invitations": open_invitations,
            "form": InviteForm(),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remote_control(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/remote-control``: for owners and admins."""
    actor, found = enter_as_admin(request, organization_id)
    is_post = request.method == "POST"
    form = RemoteControlForm(
        request.POST if is_post else None, initial={"is_on": found.remote_control}
    )
    if is_post and form.is_valid():
        is_on = form.cleaned_data["is_on"]
        response: HttpResponse = _switch(request, actor, found, is_on=is_on)
        return response
    context = {"organization": found, "form": form}
    return render(request, "orgs/remote_control.html", context)


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _switch(
    request: HttpRequest, actor: Actor, found: Organization, *, is_on: bool
) -> HttpResponse:
    actions.set_remote_control(organization=found, is_on=is_on, by=actor, at=timezone.now())
    messages.success(request, f"Remote control is switched {'on' if is_on else 'off'}.")
    return redirect("organization-remote-control", found.pk)


@never_cache
@require_POST
@signed_in
def invite(request: HttpRequest, organization_id: str) -> HttpResponse:
    """Make an invitation and show its link, once."""
    actor, found = enter_as_admin(request, organization_id)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return render(
            request, "orgs/invited.html", {"organization": found, "form": form}, status=400
        )
    invitation, secret = actions.invite(
        organization=found,
        email=form.cleaned_data["email"],
        role=form.cleaned_data["role"],
        by=actor,
        at=timezone.now(),
    )
    link = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('invitation', args=[secret])}"
    context = {"organization": found, "invitation": invitation, "link": link}
    return render(request, "orgs/invited.html", context)


@require_POST
@signed_in
def revoke_invitation(
    request: HttpRequest, organization_id: str, invitation_id: str
) -> HttpResponse:
    actor, found = enter_as_admin(request, organization_id)
    invitation = get_object_or_404(
        Invitation.objects.visible_to(actor), organization=found, pk=invitation_id
    )
    actions.revoke_invitation(invitation=invitation, by=actor, at=timezone.now())
    messages.success(request, "The invitation is revoked.")
    return redirect("organization", found.pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@public(reason="its secret is the credential to read it; to accept it asks for a sign-in")
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """``/invitations/{secret}``: read it, sign in or up, accept it."""
    at = timezone.now()
    found = actions.find_invitation(secret=secret, at=at)
    context = {"invitation": found, "path": request.path}
    if not request.user.is_authenticated:
        invitations.admit(request, token_hash=found.token_hash)
        return render(request, "orgs/invitation.html", context)
    addresses = {
        address.email.lower(): address.verified
        for address in EmailAddress.objects.filter(user=request.user)
    }
    if request.method == "POST":
        actions.accept_invitation(
            secret=secret,
            user=request.user,
            verified={email for email, is_verified in addresses.items() if is_verified},
            at=at,
        )
        request.session[ORGANIZATION_KEY] = found.organization_id
        messages.success(request, f"Welcome to {found.organization.name}.")
        return redirect("organization", found.organization_id)
    context |= {
        "is_verified": addresses.get(found.email, False),
        "is_mine": found.email in {*addresses, request.user.email.lower()},
    }
    return render(request, "orgs/invitation.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def member(request: HttpRequest, organization_id: str, user_id: str) -> HttpResponse:
    """Change a member's role, or take them out after a question; also to leave."""
    actor, found = enter(request, organization_id)
    row = get_object_or_404(
        Membership.objects.visible_to(actor).select_related("user"),
        organization=found,
        user_id=user_id,
    )
    is_self = row.user_id == actor.user_id
    if not (is_self or policy.is_admin(actor)):
        raise Forbidden("This page is for owners and admins of the organization")
    form = RoleForm(request.POST or None, initial={"role": row.role})
    if request.method == "POST" and request.POST.get("do") == "remove":
        actions.remove_member(organization=found, user_id=row.user_id, by=actor, at=timezone.now())
        messages.success(request, "The membership has ended.")
        return redirect("organizations") if is_self else redirect("organization", found.pk)
    if request.method == "POST" and form.is_valid():
        actions.put_member(
            organization=found,
            user=row.user,
            role=form.cleaned_data["role"],
            by=actor,
            at=timezone.now(),
        )
        messages.success(request, "Saved.")
        return redirect("organization", found.pk)
    context = {
        "organization": found,
        "member": row,
        "form": form,
        "is_self": is_self,
        "is_admin": policy.is_admin(actor),
    }
    return render(request, "orgs/member.html", context)
