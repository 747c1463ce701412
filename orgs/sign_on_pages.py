"""The web pages of single sign-ons: to set one up, and to find one's own."""

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.actors import Actor
from orgs import actions, policy
from orgs.forms import AddressForm, RequireSignOnForm, SingleSignOnForm, refuse
from orgs.models import Membership, Organization, Role, SingleSignOn
from orgs.pages import enter
from roocloud.lib.access import public, signed_in
from roocloud.lib.refusals import Forbidden, InvalidInput


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def single_sign_on(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/single-sign-on``: for owners."""
    actor, found = enter(request, organization_id)
    if not policy.is_owner(actor):
        raise Forbidden("This page is for owners of the organization")
    row = SingleSignOn.unscoped.filter(organization=found).first()
    initial = {"issuer": row.issuer, "client_id": row.client_id} if row else None
    do = request.POST.get("do")
    form = SingleSignOnForm(request.POST if do == "save" else None, initial=initial)
    requirement = _requirement(request, found, row)
    is_valid = form.is_valid() if do == "save" else requirement.is_valid()
    if do == "remove" or is_valid:
        response: HttpResponse = _change(request, actor, found, form, requirement, row)
        return response
    return _page(request, found, form, requirement, row)


def _requirement(
    request: HttpRequest, found: Organization, row: SingleSignOn | None
) -> RequireSignOnForm:
    owners = Membership.unscoped.filter(organization=found, role=Role.OWNER)
    named = [(one.user_id, one.user.email) for one in owners.select_related("user")]
    now = {"is_required": row.is_required, "break_glass_id": row.break_glass_id} if row else {}
    sent = request.POST if request.POST.get("do") == "require" else None
    return RequireSignOnForm(sent, owners=named, initial=now)


def _page(
    request: HttpRequest,
    found: Organization,
    form: SingleSignOnForm,
    requirement: RequireSignOnForm,
    row: SingleSignOn | None,
) -> HttpResponse:
    provider = actions.provider_id(found.pk)
    callback = reverse("openid_connect_callback", args=[provider])
    context = {
        "organization": found,
        "form": form,
        "requirement": requirement,
        "sign_on": row,
        "domains": actions.verified_domains(found.pk),
        "callback": f"{settings.ROOCLOUD_PUBLIC_URL}{callback}",
    }
    status = 400 if form.errors or requirement.errors else 200
    return render(request, "orgs/single_sign_on.html", context, status=status)


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _change(
    request: HttpRequest,
    actor: Actor,
    found: Organization,
    form: SingleSignOnForm,
    requirement: RequireSignOnForm,
    row: SingleSignOn | None,
) -> HttpResponse:
    at = timezone.now()
    if request.POST["do"] == "remove":
        actions.remove_single_sign_on(organization=found, by=actor, at=at)
        messages.success(request, "The single sign-on is removed.")
        return redirect("single-sign-on", found.pk)
    chosen: SingleSignOnForm | RequireSignOnForm = form
    try:
        if request.POST["do"] == "require":
            chosen = requirement
            actions.require_single_sign_on(
                organization=found,
                is_required=requirement.cleaned_data["is_required"],
                break_glass_id=requirement.cleaned_data["break_glass_id"],
                by=actor,
                at=at,
            )
        else:
            actions.put_single_sign_on(
                organization=found,
                issuer=form.cleaned_data["issuer"],
                client_id=form.cleaned_data["client_id"],
                secret=form.cleaned_data["secret"],
                by=actor,
                at=at,
            )
    except InvalidInput as refusal:
        refuse(chosen, refusal)
        return _page(request, found, form, requirement, row)
    messages.success(request, "Saved. Try it in a private window.")
    return redirect("single-sign-on", found.pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@public(reason="the way to sign in; it leads on by the domain of an address, whoever has it")
def sign_on(request: HttpRequest) -> HttpResponse:
    """``/accounts/sign-on/``: from an address to the sign-on of its domain."""
    form = AddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        provider = actions.provider_for(form.cleaned_data["email"])
        if provider is not None:
            return redirect("openid_connect_login", provider)
        form.add_error("email", "No organization here has a single sign-on for that domain.")
    context = {"form": form}
    return render(request, "orgs/sign_on.html", context, status=400 if form.errors else 200)
