"""``GET /api/marketplace/modes`` and ``/mcps`` (protocol/tasks-and-telemetry.md §9)."""

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from msgspec import UNSET

from accounts import bearer
from orgs import items, queries
from orgs.models import MarketplaceItem
from roocloud.lib.access import public
from roocloud.lib.fresh import Fresh
from roocloud.lib.refusals import Unauthenticated

#: By kind and organization. Policy may be five seconds late (B4).
_bodies: Fresh[tuple[str, str | None], bytes] = Fresh(age=timedelta(seconds=5), size=1_000)


@require_safe
@public(reason="released editors ask for it without a credential")
def marketplace(request: HttpRequest, kind: str) -> HttpResponse:
    """What everybody may install; with a token also what is the organization's, less what that
    hides."""
    at = timezone.now()
    organization_id = _organization_id(request, at=at)
    body = _bodies.get((kind, organization_id), at=at)
    if body is None:
        body = items.body(offered(kind, organization_id)).encode()
        _bodies.put((kind, organization_id), body, at=at)
    # The editor asks for JSON and reads YAML: no negotiation here.
    return HttpResponse(
        body,
        content_type="application/yaml",
        headers={"Cache-Control": "no-cache", "Vary": "Authorization"},
    )


def offered(kind: str, organization_id: str | None) -> list[dict[str, Any]]:
    """The items by name; of two with the same id the organization's own. One query, and for an
    organization one for its settings."""
    rows = MarketplaceItem.unscoped.offered_to(organization_id).filter(kind=kind)
    found: dict[str, MarketplaceItem] = {}
    for row in rows.order_by("changed_at", "pk"):
        if row.item_id not in found or row.organization_id == organization_id:
            found[row.item_id] = row
    hidden = _hidden(organization_id) if kind == "mcp" else set()
    if hidden is None:
        return []
    shown = [row for row in found.values() if row.item_id not in hidden]
    return [
        row.document for row in sorted(shown, key=lambda row: (row.name.casefold(), row.item_id))
    ]


def _hidden(organization_id: str | None) -> set[str] | None:
    """Ids that the organization's settings hide; None if they hide the list."""
    settings = queries.settings_of(organization_id)
    if settings.hide_marketplace_mcps is True:
        return None
    return set() if settings.hidden_mcps is UNSET else set(settings.hidden_mcps)


def _organization_id(request: HttpRequest, *, at: datetime) -> str | None:
    """Of the token, if there is one that is good."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    try:
        return bearer.authenticate(header, at=at).organization_id
    except Unauthenticated:
        return None
