"""What the marketplace offers. Every write to it."""

from datetime import datetime

from django.db import transaction

from accounts.actors import Actor
from audit import actions as audit
from orgs import policy
from orgs.items import Item
from orgs.models import MarketplaceItem, Organization
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput


class ItemExists(Conflict):
    code = "item_exists"


def put_item(
    *,
    organization: Organization | None,
    item: Item,
    by: Actor | None,
    at: datetime,
    row: MarketplaceItem | None = None,
) -> MarketplaceItem:
    """Offer an item, or change it; the same id in the same place is the same item.

    organization: None for the deployment's own. The site's administrators and commands (None as
    ``by``) keep all of them, owners and admins those of their organization.
    row: the one that is edited, whose id may change. An organization's MCP servers are part of its
    settings, which have the rules that those need (O1): of it there are modes alone.

    Raises Forbidden, InvalidInput, ItemExists.
    """
    _require_keeper(organization, by)
    if organization is not None and item.kind == "mcp":
        raise InvalidInput("MCP servers of an organization are part of its settings", field="url")
    place = organization.pk if organization else None
    with transaction.atomic():
        rows = MarketplaceItem.unscoped.select_for_update().filter(organization_id=place)
        same = rows.filter(kind=item.kind, item_id=item.item_id).first()
        if row is not None and same is not None and same.pk != row.pk:
            raise ItemExists("There is another item with this id", field="id")
        found = row or same or MarketplaceItem(organization_id=place)
        before = found.document
        found.kind, found.item_id, found.name = item.kind, item.item_id, item.name
        found.document, found.changed_at = item.document, at
        found.changed_by_id = by.user_id if by else ""
        found.save()
        if before != item.document:
            _record("saved", found, by=by, at=at)
    return found


def remove_item(*, row: MarketplaceItem, by: Actor | None, at: datetime) -> None:
    """Offer it no more; what was installed stays with who did. Raises Forbidden."""
    _require_keeper(row.organization, by)
    with transaction.atomic():
        _record("removed", row, by=by, at=at)
        row.delete()


def offer_to_everybody(*, row: MarketplaceItem, is_offered: bool, by: Actor, at: datetime) -> None:
    """Whether an organization's item is shown to who shows no token, as released editors do.

    Raises Forbidden for everybody but the site's administrators.
    """
    if not by.is_staff:
        raise Forbidden("This is for the site's administrators")
    with transaction.atomic():
        rows = MarketplaceItem.unscoped.filter(pk=row.pk).exclude(is_for_everybody=is_offered)
        if rows.update(is_for_everybody=is_offered):
            _record("offered" if is_offered else "withdrawn", row, by=by, at=at)


def _require_keeper(organization: Organization | None, by: Actor | None) -> None:
    if by is None or by.is_staff:
        return
    if organization is None:
        raise Forbidden("This is for the site's administrators")
    policy.require_admin(by, organization)


def _record(what: str, row: MarketplaceItem, *, by: Actor | None, at: datetime) -> None:
    audit.record(
        action=f"marketplace_item.{what}",
        actor=by,
        organization_id=row.organization_id or "",
        target_kind="marketplace_item",
        target_id=row.pk,
        after={"kind": row.kind, "id": row.item_id},
        at=at,
    )
