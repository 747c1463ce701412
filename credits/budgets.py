"""Budgets: limits beside the balance. Every one that matches must have room; the tightest is named
in the refusal (MO1). Periods are days, weeks and months in UTC, computed, never reset."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Q, Sum, Value
from django.db.models.fields.json import KeyTextTransform

from accounts import api_keys
from accounts.actors import Actor
from audit import actions as audit
from credits import policy
from credits.models import Account, Budget, BudgetSpan, Entry
from roocloud.lib.bulk import update_rows
from roocloud.lib.money import MAX_NANOS, format_usd
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound, Refusal

if TYPE_CHECKING:
    from accounts.models import ApiKey

#: The share of a limit at which people are told.
WARN_AT = 0.8
_FIRST_DAY = date(2000, 1, 1)

#: Scope -> id of what a completion is made by or with, such as {"member": "user_…"}.
Subjects = Mapping[str, str]


class BudgetExhausted(Refusal):
    status, code = 402, "budget_exhausted"


def starts_on(period: str, at: datetime) -> date:
    """The first day of the period that ``at`` is in."""
    today = at.date()
    if period == Budget.Period.DAY:
        return today
    if period == Budget.Period.WEEK:
        return today - timedelta(days=today.weekday())
    return today.replace(day=1) if period == Budget.Period.MONTH else _FIRST_DAY


def ends_on(period: str, at: datetime) -> date | None:
    """The day on which there is room again; None for a total."""
    first = starts_on(period, at)
    if period == Budget.Period.DAY:
        return first + timedelta(days=1)
    if period == Budget.Period.WEEK:
        return first + timedelta(days=7)
    if period == Budget.Period.MONTH:
        return (first + timedelta(days=32)).replace(day=1)
    return None


# --- Holds ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Room:
    """The spans of some accounts' budgets, while their rows are locked."""

    at: datetime
    budgets: dict[str, list[Budget]]  # by account
    spans: dict[tuple[str, str, date], BudgetSpan]
    changed: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, account_ids: Collection[str], *, at: datetime) -> "Room":
        """One query for accounts without budgets, two for others. The caller holds their locks."""
        budgets: dict[str, list[Budget]] = {}
        for budget in Budget.unscoped.filter(account__in=account_ids).order_by("pk"):
            budgets.setdefault(budget.account_id, []).append(budget)
        every = [budget for rows in budgets.values() for budget in rows]
        spans = {}
        if every:
            days = {starts_on(budget.period, at) for budget in every}
            found = BudgetSpan.unscoped.filter(budget__in=every, starts_on__in=days)
            spans = {(row.budget_id, row.subject, row.starts_on): row for row in found}
        return cls(at, budgets, spans)

    def take(self, account: Account, subjects: Subjects, amount_nanos: int) -> list[int]:
        """Set an amount aside in every span that it counts against; their ids.

        Raises BudgetExhausted, and then nothing was set aside.
        """
        tight = self._tight(account, subjects)
        short = [found for found in tight if amount_nanos > max(found[0], 0)]
        if short:
            _, budget, span = min(short, key=lambda found: found[0])
            raise BudgetExhausted(_refusal(account, budget, span, amount_nanos, at=self.at))
        for _, _, span in tight:
            span.held_nanos += amount_nanos
            self.changed.add(span.pk)
        return [span.pk for _, _, span in tight]

    def left_nanos(self, account: Account, subjects: Subjects, *, at_most: int) -> int:
        """What every budget that matches has left, and no more than ``at_most``."""
        return min([at_most, *(left for left, _, _ in self._tight(account, subjects))])

    def _tight(self, account: Account, subjects: Subjects) -> list[tuple[int, Budget, BudgetSpan]]:
        """(nano-dollars left, budget, span) of each that matches."""
        found = []
        for budget in self.budgets.get(account.pk, ()):
            if _matches(budget, subjects):
                span = self._span(budget, subjects)
                left = budget.limit_nanos - span.spent_nanos - span.held_nanos
                found.append((left, budget, span))
        return found

    def _span(self, budget: Budget, subjects: Subjects) -> BudgetSpan:
        key = budget.pk, subjects.get(budget.scope, ""), starts_on(budget.period, self.at)
        if key not in self.spans:
            self.spans[key] = BudgetSpan.unscoped.create(
                budget=budget, subject=key[1], starts_on=key[2]
            )
        return self.spans[key]

    def store(self) -> None:
        _store(row for row in self.spans.values() if row.pk in self.changed)


def _matches(budget: Budget, subjects: Subjects) -> bool:
    if budget.scope == Budget.Scope.ACCOUNT:
        return True
    subject = subjects.get(budget.scope)
    return bool(subject) and budget.subject in ("", subject)


def settle(changes: Mapping[int, tuple[int, int]], *, at: datetime) -> list[int]:
    """changes: span -> (held, spent) nano-dollars to take off and to add. The ids of spans that
    have just passed WARN_AT. The caller holds the locks of their accounts."""
    if not changes:
        return []
    spans = list(BudgetSpan.unscoped.filter(pk__in=changes).select_related("budget"))
    warned = []
    for span in spans:
        held, spent = changes[span.pk]
        span.held_nanos -= held
        span.spent_nanos += spent
        if span.warned_at is None and span.spent_nanos >= span.budget.limit_nanos * WARN_AT:
            span.warned_at = at
            warned.append(span.pk)
    _store(spans)
    return warned


def _store(spans: Iterable[BudgetSpan]) -> None:
    update_rows(
        BudgetSpan,
        [
            {
                "pk": span.pk,
                "spent_nanos": span.spent_nanos,
                "held_nanos": span.held_nanos,
                "warned_at": span.warned_at,
            }
            for span in spans
        ],
    )


def describe(budget: Budget) -> str:
    """``monthly budget``, for sentences."""
    return {
        Budget.Period.DAY: "daily budget",
        Budget.Period.WEEK: "weekly budget",
        Budget.Period.MONTH: "monthly budget",
    }.get(Budget.Period(budget.period), "total budget")


_WHOSE = {
    Budget.Scope.ACCOUNT: "The",
    Budget.Scope.MEMBER: "Your",
    Budget.Scope.KEY: "This API key's",
    Budget.Scope.MODEL: "This model's",
}


def _refusal(
    account: Account, budget: Budget, span: BudgetSpan, amount_nanos: int, *, at: datetime
) -> str:
    whose = _WHOSE[Budget.Scope(budget.scope)]
    if budget.scope == Budget.Scope.ACCOUNT and account.organization_id:
        whose = "Your organization's"
    until = ends_on(budget.period, at)
    resets = f" It begins anew on {until:%-d %B}." if until else ""
    waiting = f" and {format_usd(span.held_nanos)} set aside" if span.held_nanos else ""
    whom = "an admin of your organization" if account.organization_id else "its owner"
    return (
        f"{whose} {describe(budget)} of {format_usd(budget.limit_nanos)} is used up: "
        f"{format_usd(span.spent_nanos)} spent{waiting}, and this request may cost up to "
        f"{format_usd(amount_nanos)}.{resets} Ask {whom} to raise it."
    )


# --- Looking at them --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands in its present period."""

    budget: Budget
    spent_nanos: int

    @property
    def kind(self) -> str:
        return describe(self.budget)


def of_keys(keys: Iterable["ApiKey"], *, at: datetime) -> dict[str, list[Standing]]:
    """The budgets that apply to completions with each API key, by its id: those of its own, and
    those that its account has for every key. Three queries."""
    contexts = {key.pk: key.organization_id or key.user_id for key in keys}
    wanted = set(contexts.values())
    accounts = {
        account.organization_id or account.user_id: account.pk
        for account in Account.unscoped.filter(Q(organization__in=wanted) | Q(user__in=wanted))
    }
    budgets = list(
        Budget.unscoped.filter(
            account__in=accounts.values(), scope=Budget.Scope.KEY, subject__in=["", *contexts]
        ).order_by("period", "pk")
    )
    spans = {
        (span.budget_id, span.subject, span.starts_on): span
        for span in BudgetSpan.unscoped.filter(
            budget__in=budgets,
            subject__in=contexts,
            starts_on__in={starts_on(budget.period, at) for budget in budgets},
        )
    }
    standings: dict[str, list[Standing]] = {}
    for key_id, context in contexts.items():
        for budget in budgets:
            if budget.account_id == accounts.get(context) and budget.subject in ("", key_id):
                span = spans.get((budget.pk, key_id, starts_on(budget.period, at)))
                spent = span.spent_nanos if span else 0
                standings.setdefault(key_id, []).append(Standing(budget, spent))
    return standings


# --- Setting them -----------------------------------------------------------------------------


def _may_set(actor: Actor, scope: str, subject: str) -> bool:
    """Admins any; members on keys of their own."""
    if policy.may_decide(actor):
        return True
    return scope == Budget.Scope.KEY and api_keys.is_own(actor, subject)


def put_budget(
    *,
    by: Actor,
    account: Account,
    scope: str,
    subject: str,
    period: str,
    limit_nanos: int,
    at: datetime,
) -> Budget:
    """Make a budget on the actor's own account, or change the limit of the one that is there. A
    member changes none that an admin has set.

    Raises Forbidden, InvalidInput (``scope``, ``subject``, ``period``, ``limit``), Conflict.
    """
    _check_owner(by, account.pk, scope, subject)
    if scope not in Budget.Scope.values:
        raise InvalidInput("must be one of those offered", field="scope")
    if period not in Budget.Period.values:
        raise InvalidInput("must be one of those offered", field="period")
    if not 0 <= limit_nanos <= MAX_NANOS:
        raise InvalidInput("must be zero or more", field="limit")
    if scope == Budget.Scope.ACCOUNT and subject:
        raise InvalidInput("must be empty for a budget of everything", field="subject")
    try:
        with transaction.atomic():
            Account.unscoped.select_for_update(no_key=True).get(pk=account.pk)
            same = Budget.unscoped.filter(
                account=account, scope=scope, subject=subject, period=period
            )
            _check_maker(by, same.select_for_update().first())
            budget, is_new = Budget.unscoped.update_or_create(
                account=account,
                scope=scope,
                subject=subject,
                period=period,
                defaults={"limit_nanos": limit_nanos, "made_by_id": by.user_id},
                create_defaults={
                    "limit_nanos": limit_nanos,
                    "made_by_id": by.user_id,
                    "created_at": at,
                },
            )
            if is_new:
                _begin(budget, at=at)
            audit.record(
                action="budget.made" if is_new else "budget.changed",
                actor=by,
                organization_id=account.organization_id,
                target_kind="budget",
                target_id=budget.pk,
                after={
                    "scope": scope,
                    "subject": subject,
                    "period": period,
                    "limit_nanos": limit_nanos,
                },
                at=at,
            )
    except IntegrityError:
        raise Conflict("Somebody changed this budget at the same time; look at it again") from None
    return budget


def remove_budget(*, by: Actor, budget_id: str, at: datetime) -> None:
    """Raises Forbidden, NotFound."""
    with transaction.atomic():
        budget = Budget.objects.visible_to(by).filter(pk=budget_id).first()
        if budget is None:
            raise NotFound("There is no such budget")
        _check_owner(by, budget.account_id, budget.scope, budget.subject)
        _check_maker(by, budget)
        audit.record(
            action="budget.removed",
            actor=by,
            organization_id=by.organization_id,
            target_kind="budget",
            target_id=budget.pk,
            before={"scope": budget.scope, "limit_nanos": budget.limit_nanos},
            at=at,
        )
        budget.delete()


def _begin(budget: Budget, *, at: datetime) -> None:
    """Count what was spent in the present period before the budget was made. The caller holds the
    lock of the account, so that nothing is settled meanwhile."""
    first = starts_on(budget.period, at)
    start = datetime.combine(first, time.min, tzinfo=UTC)
    is_of_all = budget.scope == Budget.Scope.ACCOUNT
    spent = (
        Entry.unscoped.filter(
            account=budget.account_id, kind=Entry.Kind.CHARGE, posted_at__gte=start
        )
        .annotate(of=Value("") if is_of_all else KeyTextTransform(budget.scope, "hold__subjects"))
        .order_by()
        .values_list("of")
        .annotate(total=-Sum("amount_nanos"))
    )
    BudgetSpan.unscoped.bulk_create(
        BudgetSpan(budget=budget, subject=subject, starts_on=first, spent_nanos=total or 0)
        for subject, total in spent
        if is_of_all or (subject and budget.subject in ("", subject))
    )


def _check_owner(by: Actor, account_id: str, scope: str, subject: str) -> None:
    is_theirs = Account.objects.visible_to(by).filter(pk=account_id).exists()
    if not is_theirs or not _may_set(by, scope, subject):
        raise Forbidden("Only an admin of the organization sets budgets")


def _check_maker(by: Actor, budget: Budget | None) -> None:
    """A member must not lift what an admin has set on their key."""
    is_free = budget is None or policy.may_decide(by)
    if not is_free and budget and budget.made_by_id != by.user_id:
        raise Forbidden("An admin of the organization has set this budget")
