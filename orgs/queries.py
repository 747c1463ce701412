"""Reads for other rooms and for pages."""

from collections.abc import Sequence

from accounts import memberships
from orgs.models import Membership


class Memberships:
    """Answers accounts.memberships."""

    def role_of(self, *, user_id: str, organization_id: str) -> str | None:
        return (
            Membership.unscoped.filter(user_id=user_id, organization_id=organization_id)
            .values_list("role", flat=True)
            .first()
        )

    def of(self, *, user_id: str) -> Sequence[memberships.Membership]:
        rows = (
            Membership.unscoped.filter(user_id=user_id)
            .order_by("organization__name", "pk")
            .values_list("organization_id", "organization__name", "role")
        )
        return [memberships.Membership(*row) for row in rows]
