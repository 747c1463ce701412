"""API keys as members use them: made with models to choose from and a budget, and shown with what
they spent. The keys themselves are in ``accounts``, their budgets in ``credits``."""

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
    """A budget for a new key. period: see credits.models.Budget.Period."""

    limit_nanos: int
    period: str


def make_key(
    *, by: Actor, new: api_keys.NewKey, limit: Limit | None, at: datetime
) -> api_keys.Issued:
    """A key for the actor's context, with a budget of its own or without.

    Raises Forbidden for a role that may not spend, InvalidInput (``models`` for one that the actor
    may not use, and what the rooms below name), Conflict.
    """
    if not policy.may_spend(by):
        raise Forbidden("Your role in this organization may not use models")
    unknown = set(new.model_ids) - {model_id for model_id, _ in queries.models_of(by, at=at)}
    if unknown:
        raise InvalidInput(f"You may not use {min(unknown)[:100]} there", field="models")
    with transaction.atomic():
        issued = api_keys.make_key(by=by, new=new, at=at)
        if limit is not None:
            budgets.put_budget(
                by=by,
                account=credit.account_of(
                    user_id=by.user_id, organization_id=by.organization_id, at=at
                ),
                scope="key",
                subject=issued.key.pk,
                period=limit.period,
                limit_nanos=limit.limit_nanos,
                at=at,
            )
    return issued


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
