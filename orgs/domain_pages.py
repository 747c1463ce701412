"""The web pages of an organization's domains."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.actors import Actor
from orgs import actions
from orgs.forms import DomainForm, refuse
from orgs.models import Domain, Organization
from orgs.pages import enter_as_admin
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import InvalidInput, Refusal


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def domains(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/domains``"""
    actor, found = enter_as_admin(request, organization_id)
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.add_domain(
                organization=found, name=form.cleaned_data["name"], by=actor, at=timezone.now()
            )
        except InvalidInput as refusal:
            refuse(form, refusal)
        else:
            return redirect("domains", found.pk)
    rows = Domain.objects.visible_to(actor).filter(organization=found).order_by("name", "pk")
    context = {
        "organization": found,
        "form": form,
        "domains": [(row, actions.record_name(row), actions.record_text(row)) for row in rows],
    }
    return render(request, "orgs/domains.html", context, status=400 if form.errors else 200)


@require_POST
@signed_in
def domain(request: HttpRequest, organization_id: str, domain_id: str) -> HttpResponse:
    """Look for the record, let people join or not, or remove the domain."""
    actor, found = enter_as_admin(request, organization_id)
    row = get_object_or_404(Domain.objects.visible_to(actor), organization=found, pk=domain_id)
    try:
        said = _done(request.POST.get("do", ""), row, found, actor)
    except Refusal as refusal:
        messages.error(request, f"{row.name}: {refusal.message}.")
    else:
        messages.success(request, said)
    return redirect("domains", found.pk)


def _done(do: str, row: Domain, found: Organization, actor: Actor) -> str:
    at = timezone.now()
    if do == "check":
        actions.verify_domain(domain=row, by=actor, at=at)
        return f"{row.name} is verified."
    if do in ("join", "stop"):
        actions.set_joining(domain=row, is_on=do == "join", by=actor, at=at)
        if do == "stop":
            return f"People at {row.name} join by invitation alone."
        return f"Who signs in with a verified address at {row.name} becomes a member."
    if do == "remove":
        actions.remove_domain(domain=row, by=actor, at=at)
        return f"{row.name} is removed from {found.name}."
    raise InvalidInput("There is no such thing to do", field="do")
