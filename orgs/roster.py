"""The list of an organization's members, for the page of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from accounts import queries as accounts
from accounts.actors import Actor
from orgs import policy, spending
from orgs.models import Membership, MembershipQuerySet, Organization


@dataclass(frozen=True, slots=True)
class Line:
    """One member. seen_at: when an editor, a command line or a key of theirs was last used here;
    spent_nanos: this month (UTC). Both are None where the reader may not know."""

    member: Membership
    seen_at: datetime | None
    spent_nanos: int | None


def members(actor: Actor, organization: Organization, *, search: str = "") -> MembershipQuerySet:
    """Members by address; with a search those of whom each word is in the name or the address."""
    rows = Membership.objects.visible_to(actor).filter(organization=organization)
    for word in search.split()[:10]:
        rows = rows.filter(
            Q(user__email__icontains=word)
            | Q(user__first_name__icontains=word)
            | Q(user__last_name__icontains=word)
        )
    found: MembershipQuerySet = rows.select_related("user").order_by("user__email", "pk")
    return found


def lines(actor: Actor, rows: Sequence[Membership], *, at: datetime) -> Iterable[Line]:
    """Of members of one organization, what the actor may know. Two queries more for an admin, who
    sees everybody's; others see their own."""
    known = [row.user_id for row in rows if policy.is_admin(actor) or row.user_id == actor.user_id]
    seen: Mapping[str, datetime] = {}
    spent: Mapping[str, int] = {}
    if known:
        organization_id = rows[0].organization_id
        seen = accounts.last_used(organization_id, known)
        since = at.astimezone(UTC).date().replace(day=1)
        spent = spending.of_members(organization_id, known, since=since)
    for row in rows:
        is_known = row.user_id in known
        yield Line(row, seen.get(row.user_id), spent.get(row.user_id, 0) if is_known else None)
