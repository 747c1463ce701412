"""API keys as members use them: made and changed with models to choose from and a budget, and shown
with what they spent. The keys themselves are in ``accounts``, their budgets in ``credits``."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from accounts import api_keys, memberships
from accounts.actors import Actor
from credits import actions as credit
from credits import budgets
from orgs import policy
from proxy import queries
from roocloud.lib.refusals import Forbidden, InvalidInput

if TYPE_CHECKING:
    from accounts.models import ApiKey


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget of a key. period: see credits.models.Budget.Period."""

    limit_nanos: int
    period: str


def make_key(
    *, by: Actor, new: api_keys.NewKey, limit: Limit | None, at: datetime
) -> api_keys.Issued:
    """A key for the actor's context, with a budget of its own or without.

    Raises Forbidden for a role that may not spend, InvalidInput (``models`` for one that the actor
    may not use, and what the rooms below name), Conflict.
    """
    _check_use(by, new.model_ids, at=at)
    with transaction.atomic():
        issued = api_keys.make_key(by=by, new=new, at=at)
        if limit is not None:
            _put_budget(by, issued.key, limit, at=at)
    return issued


def change_key(
    *, by: Actor, key: "ApiKey", facts: api_keys.KeyFacts, limit: Limit | None, at: datetime
) -> None:
    """Change the actor's own key, in whose context they are, and the budget of its own: another
    period is another budget in place of the present one, None removes it. A budget that an admin
    has set is the admin's, and left as it is.

    Raises Forbidden for a role that may not spend, InvalidInput (``models`` for one that the actor
    may not use and the key did not, and what the rooms below name), Conflict.
    """
    _check_use(by, set(facts.model_ids) - set(key.model_ids), at=at)
    with transaction.atomic():
        api_keys.change_key(key=key, by=by, facts=facts, at=at)
        present = own_budget(key, at=at)
        if is_fixed(present, by=by) or limit == limit_of(present):
            return
        if present and (limit is None or limit.period != present.budget.period):
            budgets.remove_budget(by=by, budget_id=present.budget.pk, at=at)
        if limit is not None:
            _put_budget(by, key, limit, at=at)


def own_budget(key: "ApiKey", *, at: datetime) -> budgets.Standing | None:
    """The budget that the key alone has: its owner's, or else an admin's."""
    standings = budgets.of_keys([key], at=at).get(key.pk, ())
    own = [standing for standing in standings if standing.budget.subject == key.pk]
    return min(own, key=lambda one: one.budget.made_by_id != key.user_id, default=None)


def is_fixed(present: budgets.Standing | None, *, by: Actor) -> bool:
    """Whether somebody else has set the budget, who alone may change it."""
    return present is not None and not (
        present.budget.made_by_id == by.user_id or by.organization_id is None or policy.is_admin(by)
    )


def limit_of(present: budgets.Standing | None) -> Limit | None:
    return None if present is None else Limit(present.budget.limit_nanos, present.budget.period)


def _check_use(by: Actor, model_ids: Iterable[str], *, at: datetime) -> None:
    if not policy.may_spend(by):
        raise Forbidden("Your role in this organization may not use models")
    unknown = set(model_ids) - {model_id for model_id, _ in queries.models_of(by, at=at)}
    if unknown:
        raise InvalidInput(f"You may not use {min(unknown)[:100]} there", field="models")


def _put_budget(by: Actor, key: "ApiKey", limit: Limit, *, at: datetime) -> None:
    budgets.put_budget(
        by=by,
        account=credit.account_of(user_id=by.user_id, organization_id=by.organization_id, at=at),
        scope="key",
        subject=key.pk,
        period=limit.period,
        limit_nanos=limit.limit_nanos,
        at=at,
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as a list shows it. state: for people; is_good: it opens the proxy."""

    key: "ApiKey"
    organization: str
    state: str
    is_good: bool
    budgets: Sequence[budgets.Standing]


def listed(
    keys: Iterable["ApiKey"],
    *,
    organizations: Iterable[memberships.Membership],
    members: Collection[str] | None = None,
    at: datetime,
) -> list[Listed]:
    """Keys with their state and budgets.

    organizations: of the person who looks. members: ids of who is in the organization that the
    keys belong to; None for keys of the person's own.
    """
    keys = list(keys)
    names = {one.organization_id: one.organization_name for one in organizations}
    standings = budgets.of_keys(keys, at=at)
    rows = []
    for key in keys:
        has_left = key.organization_id and (
            key.organization_id not in names if members is None else key.user_id not in members
        )
        state = key.state(at)
        rows.append(
            Listed(
                key=key,
                organization=names.get(key.organization_id, ""),
                state="Stopped: no longer a member" if has_left else str(state.label),
                is_good=state == "active" and not has_left,
                budgets=standings.get(key.pk, ()),
            )
        )
    return rows
