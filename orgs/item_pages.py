"""The web pages where an organization keeps the modes that it offers in the marketplace."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orgs import actions, items
from orgs.desk import desk
from orgs.forms import ItemsForm, described
from orgs.models import MarketplaceItem
from orgs.settings_forms import StructForm, part_of
from orgs.settings_pages import settings_page
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Refusal

PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def organization_marketplace(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/marketplace``: the modes, and more of them from a file."""
    at = desk(request, organization_id)
    form = ItemsForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            found = items.parse_list(form.cleaned_data["value"])
            for item in found:
                actions.put_item(
                    organization=at.organization, item=item, by=at.actor, at=timezone.now()
                )
        except Refusal as refusal:
            form.add_error("file", described(refusal))
        else:
            messages.success(request, f"{len(found)} taken.")
            return redirect("organization-marketplace", at.organization.pk)
    rows = MarketplaceItem.objects.visible_to(at.actor).filter(organization=at.organization)
    context = {
        "form": form,
        "page": Paginator(rows.order_by("name", "pk"), PAGE).get_page(request.GET.get("page")),
    }
    status = 400 if form.errors else 200
    return settings_page(request, at, "orgs/marketplace.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_item(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/marketplace/new``"""
    return _item_page(request, organization_id, None)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def marketplace_item(request: HttpRequest, organization_id: str, item_id: str) -> HttpResponse:
    """``/organizations/{id}/marketplace/{item_id}``: change it or take it away."""
    return _item_page(request, organization_id, item_id)


def _item_page(request: HttpRequest, organization_id: str, item_id: str | None) -> HttpResponse:
    at = desk(request, organization_id)
    rows = MarketplaceItem.objects.visible_to(at.actor).filter(organization=at.organization)
    row = get_object_or_404(rows, pk=item_id) if item_id is not None else None
    if row is not None and request.POST.get("do") == "remove":
        actions.remove_item(row=row, by=at.actor, at=timezone.now())
        messages.success(request, "It is offered no more.")
        return redirect("organization-marketplace", at.organization.pk)
    data = request.POST if request.method == "POST" else None
    form = StructForm(part_of(items.Mode), row.document if row else {}, data)
    if form.is_bound and form.is_valid():
        try:
            actions.put_item(
                organization=at.organization,
                item=items.parse(form.applied()),
                by=at.actor,
                at=timezone.now(),
                row=row,
            )
        except Refusal as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "Saved. Editors see it within minutes.")
            return redirect("organization-marketplace", at.organization.pk)
    context = {"form": form, "row": row}
    status = 400 if form.errors else 200
    return settings_page(request, at, "orgs/marketplace_item.html", context, status=status)
