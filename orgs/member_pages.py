"""The web pages of one member."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.actors import Actor
from orgs import actions, policy
from orgs.forms import RoleForm, refuse
from orgs.models import Membership, Organization
from orgs.pages import enter
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Forbidden, Refusal


def _enter(
    request: HttpRequest, organization_id: str, user_id: str
) -> tuple[Actor, Organization, Membership]:
    """A member as themselves and the admins see them. Raises Forbidden for others."""
    actor, found = enter(request, organization_id)
    row = get_object_or_404(
        Membership.objects.visible_to(actor).select_related("user"),
        organization=found,
        user_id=user_id,
    )
    if not (row.user_id == actor.user_id or policy.is_admin(actor)):
        raise Forbidden("This page is for owners and admins of the organization")
    return actor, found, row


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def member(request: HttpRequest, organization_id: str, user_id: str) -> HttpResponse:
    """``/organizations/{id}/members/{id}``: to change a member's role."""
    actor, found, row = _enter(request, organization_id, user_id)
    form = RoleForm(request.POST or None, initial={"role": row.role})
    if request.method == "POST" and form.is_valid():
        role = form.cleaned_data["role"]
        try:
            actions.put_member(
                organization=found, user=row.user, role=role, by=actor, at=timezone.now()
            )
        except Refusal as refusal:
            refuse(form, refusal, field="role")
        else:
            messages.success(request, "Saved.")
            return redirect("organization", found.pk)
    context = {
        "organization": found,
        "member": row,
        "form": form,
        "is_self": row.user_id == actor.user_id,
        "is_admin": policy.is_admin(actor),
        "may_hand_over": policy.is_owner(actor) and row.user_id != actor.user_id,
    }
    return render(request, "orgs/member.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remove_member(request: HttpRequest, organization_id: str, user_id: str) -> HttpResponse:
    """Ask, then take a member out; also to leave."""
    actor, found, row = _enter(request, organization_id, user_id)
    is_self = row.user_id == actor.user_id
    if request.method == "POST":
        actions.remove_member(organization=found, user_id=row.user_id, by=actor, at=timezone.now())
        messages.success(
            request,
            f"You have left {found.name}." if is_self else f"{row.user.name} is taken out.",
        )
        return redirect("organizations") if is_self else redirect("organization", found.pk)
    context = {"organization": found, "member": row, "is_self": is_self}
    return render(request, "orgs/remove_member.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def hand_over(request: HttpRequest, organization_id: str, user_id: str) -> HttpResponse:
    """Ask, then make another member owner in the place of who asks."""
    actor, found, row = _enter(request, organization_id, user_id)
    if not policy.is_owner(actor):
        raise Forbidden("This page is for owners of the organization")
    if request.method == "POST":
        actions.hand_over(organization=found, to=row.user, by=actor, at=timezone.now())
        messages.success(request, f"{row.user.name} owns {found.name} now. You are an admin.")
        return redirect("organization", found.pk)
    return render(request, "orgs/hand_over.html", {"organization": found, "member": row})
