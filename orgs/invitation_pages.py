"""The web pages of invitations."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations
from accounts.actors import ORGANIZATION_KEY, Actor
from orgs import actions, tasks
from orgs.forms import InviteForm, LinkForm, refuse
from orgs.models import Invitation, Organization
from orgs.pages import PAGE, enter_as_admin
from roocloud.lib.access import public, signed_in
from roocloud.lib.refusals import Forbidden, InvalidInput, TooManyRequests


def _can_mail() -> bool:
    return not settings.EMAIL_BACKEND.endswith("console.EmailBackend")


def _url(secret: str) -> str:
    return f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('invitation', args=[secret])}"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def invite(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/invitations``: those that are open, and new ones. What is made is shown
    in the answer to the form; links are shown this once."""
    actor, found = enter_as_admin(request, organization_id)
    do = request.POST.get("do")
    form = InviteForm(
        request.POST if do == "invite" else None,
        initial={"deliver": "mail" if _can_mail() else "links"},
    )
    domains = actions.verified_domains(found.pk)
    link_form = LinkForm(request.POST if do == "link" else None, domains=domains)
    outcomes = None
    try:
        if do == "invite" and form.is_valid():
            outcomes = _invite(form, actor, found)
        if do == "link" and link_form.is_valid():
            outcomes = [_make_link(link_form, actor, found)]
    except (InvalidInput, TooManyRequests, Forbidden) as refusal:
        refuse(form if do == "invite" else link_form, refusal)
    if outcomes is not None:
        context = {"organization": found, "outcomes": outcomes}
        return render(request, "orgs/invited.html", context)
    rows = Invitation.objects.visible_to(actor).filter(organization=found).live(timezone.now())
    context = {
        "organization": found,
        "form": form,
        "link_form": link_form,
        "page": Paginator(rows.order_by("-created_at", "pk"), PAGE).get_page(
            request.GET.get("page")
        ),
    }
    status = 400 if form.errors or link_form.errors else 200
    return render(request, "orgs/invitations.html", context, status=status)


@dataclass(frozen=True, slots=True)
class Made:
    """A line of the answer: who was invited, and how they learn of it, or why not."""

    label: str
    refusal: str = ""
    link: str = ""
    ends_at: datetime | None = None


def _invite(form: InviteForm, actor: Actor, found: Organization) -> list[Made]:
    outcomes = actions.invite_many(
        organization=found,
        entries=form.cleaned_data["entries"],
        role=form.cleaned_data["role"],
        lifetime=timedelta(days=form.cleaned_data["days"]),
        by=actor,
        at=timezone.now(),
    )
    by_mail = form.cleaned_data["deliver"] == "mail"
    made = []
    for outcome in outcomes:
        if outcome.invitation is None:
            made.append(Made(outcome.entry, outcome.refusal))
            continue
        if by_mail:
            tasks.mail_invitation.delay_on_commit(invitation_id=outcome.invitation.pk)
        link = "" if by_mail else _url(outcome.secret)
        ends_at = outcome.invitation.expires_at
        made.append(Made(outcome.invitation.email, link=link, ends_at=ends_at))
    return made


def _make_link(form: LinkForm, actor: Actor, found: Organization) -> Made:
    invitation, secret = actions.make_link(
        organization=found,
        role=form.cleaned_data["role"],
        max_uses=form.cleaned_data["max_uses"],
        domain=form.cleaned_data["domain"],
        lifetime=timedelta(days=form.cleaned_data["days"]),
        by=actor,
        at=timezone.now(),
    )
    return _made(invitation, secret)


def _made(invitation: Invitation, secret: str) -> Made:
    people = f"{invitation.max_uses} {'person' if invitation.max_uses == 1 else 'people'}"
    whose = f" at {invitation.domain}" if invitation.domain else ""
    label = invitation.email or f"A link for {people}{whose}"
    return Made(label, link=_url(secret), ends_at=invitation.expires_at)


@never_cache
@require_POST
@signed_in
def new_invitation_link(
    request: HttpRequest, organization_id: str, invitation_id: str
) -> HttpResponse:
    """Another link for an invitation, shown this once; the one before does not work any more."""
    actor, found = enter_as_admin(request, organization_id)
    invitation = get_object_or_404(
        Invitation.objects.visible_to(actor), organization=found, pk=invitation_id
    )
    secret = actions.new_link(invitation=invitation, by=actor, at=timezone.now())
    context = {"organization": found, "outcomes": [_made(invitation, secret)]}
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
    return redirect("organization-invitations", found.pk)


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
    verified = {email for email, is_verified in addresses.items() if is_verified}
    if request.method == "POST":
        actions.accept_invitation(
            secret=secret,
            user=request.user,
            verified=verified,
            at=at,
        )
        request.session[ORGANIZATION_KEY] = found.organization_id
        messages.success(request, f"Welcome to {found.organization.name}.")
        return redirect("organization", found.organization_id)
    context |= {
        "is_for_me": actions.admits(found, verified),
        "to_verify": _to_verify(found, {*addresses, request.user.email.lower()}),
    }
    return render(request, "orgs/invitation.html", context)


def _to_verify(invitation: Invitation, mine: set[str]) -> str:
    """The one of somebody's addresses that they may join with once it is verified."""
    return next((email for email in sorted(mine) if actions.admits(invitation, {email})), "")
