"""What people see of budgets: how much of each is spent, set aside and left in this period."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from accounts import api_keys
from accounts import queries as people
from accounts.actors import Actor
from credits import budgets, policy
from credits.models import Budget, BudgetSpan

#: How many members, keys or models of one budget are shown: those that used most of it.
MOST_USES = 10


@dataclass(frozen=True, slots=True)
class Use:
    """What one subject used of a budget in this period. Amounts are nano-dollars."""

    subject: str
    name: str
    limit_nanos: int
    spent_nanos: int
    held_nanos: int

    @property
    def used_nanos(self) -> int:
        return self.spent_nanos + self.held_nanos

    @property
    def left_nanos(self) -> int:
        return max(self.limit_nanos - self.used_nanos, 0)

    @property
    def percent(self) -> int:
        """Of the limit, at most 100; a limit of zero is used up."""
        return min(self.used_nanos * 100 // self.limit_nanos, 100) if self.limit_nanos else 100

    @property
    def state(self) -> str:
        if self.left_nanos == 0:
            return "bad"
        return "warn" if self.used_nanos >= self.limit_nanos * budgets.WARN_AT else "good"


@dataclass(frozen=True, slots=True)
class Overview:
    """A budget in its present period. uses: the fullest first; begins_anew: None for a total."""

    budget: Budget
    name: str
    begins_anew: date | None
    uses: Sequence[Use]


def touching(actor: Actor, *, at: datetime) -> list[Overview]:
    """The budgets of the actor's context: all for who may set them; for a member those that their
    own completions count against, without what others used of them. Four queries at most."""
    found = list(Budget.objects.visible_to(actor).order_by("scope", "subject", "period", "pk"))
    has_keys = any(budget.scope == Budget.Scope.KEY for budget in found)
    keys = api_keys.names(actor) if has_keys else {}
    own: dict[str, set[str]] = {"member": {actor.user_id}, "key": set(keys)}
    if not policy.may_decide(actor):
        found = _of_member(found, own)
    days = {budgets.starts_on(budget.period, at) for budget in found}
    spans: dict[str, list[BudgetSpan]] = {}
    for span in BudgetSpan.unscoped.filter(budget__in=found, starts_on__in=days):
        spans.setdefault(span.budget_id, []).append(span)
    now = {
        budget.pk: [
            span
            for span in spans.get(budget.pk, ())
            if span.starts_on == budgets.starts_on(budget.period, at)
            and (policy.may_decide(actor) or span.subject in own.get(budget.scope, {span.subject}))
        ]
        for budget in found
    }
    names = keys | people.names(_member_ids(found, now.values()))
    return [_overview(budget, now[budget.pk], names, at=at) for budget in found]


def tight(actor: Actor, *, at: datetime) -> list[tuple[Overview, Use]]:
    """What is nearly used up of the budgets that touch the actor, for a warning."""
    return tight_of(touching(actor, at=at))


def tight_of(found: Iterable[Overview]) -> list[tuple[Overview, Use]]:
    """The same of budgets that are at hand."""
    return [
        (overview, use)
        for overview in found
        for use in overview.uses
        if use.limit_nanos and use.state != "good"
    ]


def fullest(found: Iterable[Overview]) -> list[tuple[Overview, Use]]:
    """Of budgets that are at hand what was used, the largest share first."""
    uses = [(overview, use) for overview in found for use in overview.uses]
    return sorted(uses, key=lambda one: (-one[1].percent, one[0].budget.pk, one[1].subject))


def _of_member(rows: Iterable[Budget], own: Mapping[str, Collection[str]]) -> list[Budget]:
    """own: ids of what is the member's, by scope; what counts for everybody has none."""
    return [
        budget
        for budget in rows
        if budget.scope not in own
        or budget.subject in own[budget.scope]
        or (not budget.subject and own[budget.scope])
    ]


def _member_ids(found: Iterable[Budget], spans: Iterable[Sequence[BudgetSpan]]) -> set[str]:
    member = Budget.Scope.MEMBER
    of_budgets = {budget.subject for budget in found if budget.scope == member}
    members = {budget.pk for budget in found if budget.scope == member}
    of_spans = {span.subject for rows in spans for span in rows if span.budget_id in members}
    return (of_budgets | of_spans) - {""}


def _overview(
    budget: Budget, spans: Sequence[BudgetSpan], names: dict[str, str], *, at: datetime
) -> Overview:
    uses = [
        Use(
            span.subject,
            names.get(span.subject, span.subject),
            budget.limit_nanos,
            span.spent_nanos,
            span.held_nanos,
        )
        for span in spans
    ]
    if not uses and (budget.subject or budget.scope == Budget.Scope.ACCOUNT):
        name = names.get(budget.subject, budget.subject)
        uses = [Use(budget.subject, name, budget.limit_nanos, 0, 0)]
    uses.sort(key=lambda use: (-use.used_nanos, use.subject))
    return Overview(
        budget, _name(budget, names), budgets.ends_on(budget.period, at), uses[:MOST_USES]
    )


def name_of(budget: Budget) -> str:
    """What a budget limits, as people call it."""
    return _name(budget, {budget.subject: subject_name(budget.scope, budget.subject)})


def subject_name(scope: str, subject: str) -> str:
    """What people call whom or what a budget is for: a member, an API key, a model. Empty for the
    whole account, and for what is gone."""
    if scope == Budget.Scope.MEMBER and subject:
        return people.names([subject]).get(subject, "")
    if scope == Budget.Scope.KEY and subject:
        name = api_keys.name_of(subject)
        return name if name != subject else ""
    return subject


def _name(budget: Budget, names: dict[str, str]) -> str:
    if budget.scope == Budget.Scope.ACCOUNT:
        return "Everything"
    if budget.subject:
        return names.get(budget.subject) or budget.subject
    return {
        Budget.Scope.MEMBER: "Each member",
        Budget.Scope.KEY: "Each API key",
        Budget.Scope.MODEL: "Each model",
    }[Budget.Scope(budget.scope)]
