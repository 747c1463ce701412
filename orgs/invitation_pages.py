"""The web pages of invitations."""

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations
from accounts.actors import ORGANIZATION_KEY
from orgs import actions
from orgs.forms import InviteForm
from orgs.models import Invitation
from orgs.pages import enter_as_admin
from roocloud.lib.access import public, signed_in


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
