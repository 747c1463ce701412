"""Reads of credit. Amounts are nano-dollars."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce

from accounts import memberships
from accounts import queries as people
from accounts.actors import Actor
from credits import budgets
from credits.models import Account, Budget, BudgetSpan, Entry, Hold, TopUp


def balance_nanos(actor: Actor) -> int:
    """The balance of the actor's context: the organization's, else the person's own. Credit that
    running completions have set aside is still in it."""
    found = Account.objects.visible_to(actor).values_list("balance_nanos", flat=True).first()
    return found or 0


@dataclass(frozen=True, slots=True)
class Standing:
    """The credit of a context. held_nanos: what running completions have set aside of it."""

    balance_nanos: int = 0
    held_nanos: int = 0

    @property
    def free_nanos(self) -> int:
        return max(self.balance_nanos - self.held_nanos, 0)


def standing(actor: Actor) -> Standing:
    """The credit of the actor's context, and how much of it is set aside."""
    found = Account.objects.visible_to(actor).values_list("balance_nanos", "held_nanos").first()
    return Standing(*found) if found else Standing()


def account_name(actor: Actor) -> str:
    """Whose account the actor's context spends from: of the organization, else of the person."""
    if actor.organization_id is None:
        return people.names([actor.user_id]).get(actor.user_id, "")
    of = memberships.of(user_id=actor.user_id)
    return next((m.organization_name for m in of if m.organization_id == actor.organization_id), "")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An account whose kept sums are not what its rows add up to."""

    account_id: str
    balance_nanos: int
    entries_nanos: int
    held_nanos: int
    holds_nanos: int


def mismatches() -> list[Mismatch]:
    """Accounts that do not prove themselves; empty when the books are right (C1)."""
    entries = sum_of(Entry.unscoped.all(), F("amount_nanos"))
    holds = sum_of(Hold.unscoped.open(), F("amount_nanos") - F("cost_nanos"))
    rows = (
        Account.unscoped.annotate(entries_nanos=entries, holds_nanos=holds)
        .exclude(balance_nanos=F("entries_nanos"), held_nanos=F("holds_nanos"))
        .values_list("pk", "balance_nanos", "entries_nanos", "held_nanos", "holds_nanos")
    )
    return [Mismatch(*row) for row in rows]


def sum_of(rows: QuerySet[Any], amount: F | CombinedExpression) -> Coalesce:
    of_account = rows.filter(account=OuterRef("pk")).order_by().values("account")
    return Coalesce(Subquery(of_account.annotate(total=Sum(amount)).values("total")), 0)


def charge_of(completion_id: str, *, hold_id: int | None) -> Entry | None:
    """The ledger's line for a completion; None if it cost nothing."""
    return Entry.unscoped.filter(hold=hold_id, key=Entry.charge_key(completion_id)).first()


@dataclass(frozen=True, slots=True)
class Tightness:
    """Of all that budgets limit in their present periods: how many are nearly used up, and how many
    are. days_nanos: what day budgets of whole accounts allow together."""

    near: int
    used_up: int
    days_nanos: int


def tightness(*, at: datetime) -> Tightness:
    """For the site's administrators. Two queries."""
    now = reduce(
        or_,
        (
            Q(budget__period=period, starts_on=budgets.starts_on(period, at))
            for period in Budget.Period.values
        ),
    )
    used = F("spent_nanos") + F("held_nanos")
    limit = F("budget__limit_nanos")
    full = Q(used__gte=limit)
    counts = (
        BudgetSpan.unscoped.filter(now, budget__limit_nanos__gt=0)
        .annotate(used=used)
        .aggregate(
            near=Count("pk", filter=Q(used__gte=limit * budgets.WARN_AT) & ~full),
            used_up=Count("pk", filter=full),
        )
    )
    days = Budget.unscoped.filter(scope=Budget.Scope.ACCOUNT, period=Budget.Period.DAY)
    allowed = days.aggregate(total=Sum("limit_nanos"))["total"]
    return Tightness(counts["near"], counts["used_up"], allowed or 0)


def top_ups_asked() -> int:
    """Requests for credit that nobody has answered."""
    return TopUp.unscoped.filter(state=TopUp.State.ASKED).count()
