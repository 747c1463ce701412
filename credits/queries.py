"""Reads of credit. Amounts are nano-dollars."""

from dataclasses import dataclass

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from credits.models import Account, Entry


def balance_nanos(actor: Actor) -> int:
    """The balance of the actor's context: the organization's, else the person's own. Credit that
    running completions have set aside is still in it."""
    found = Account.objects.visible_to(actor).values_list("balance_nanos", flat=True).first()
    return found or 0


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An account whose balance is not the sum of its entries."""

    account_id: str
    balance_nanos: int
    entries_nanos: int


def mismatches() -> list[Mismatch]:
    """Accounts that do not prove themselves; empty when the books are right (C1)."""
    sums = (
        Entry.unscoped.filter(account=OuterRef("pk"))
        .order_by()
        .values("account")
        .annotate(total=Sum("amount_nanos"))
        .values("total")
    )
    rows = (
        Account.unscoped.annotate(entries_nanos=Coalesce(Subquery(sums), 0))
        .filter(~Q(balance_nanos=F("entries_nanos")))
        .values_list("pk", "balance_nanos", "entries_nanos")
    )
    return [Mismatch(*row) for row in rows]
