"""Every movement of credit, each in one transaction. Amounts are nano-dollars."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from accounts.actors import Actor
from audit import actions as audit
from credits import budgets
from credits.models import Account, Entry, Hold
from credits.tasks import warn_of_budget
from roocloud.lib.bulk import update_rows
from roocloud.lib.money import MAX_NANOS, format_usd
from roocloud.lib.refusals import InvalidInput, Refusal
from roocloud.lib.text import clean_label

logger = logging.getLogger(__name__)


class InsufficientCredit(Refusal):
    status, code = 402, "insufficient_credits"


def account_of(*, user_id: str, organization_id: str | None, at: datetime) -> Account:
    """The account of a context, made when it is first needed."""
    owner = {"organization_id": organization_id} if organization_id else {"user_id": user_id}
    account, _ = Account.unscoped.get_or_create(**owner, defaults={"created_at": at})
    return account


def grant(
    *,
    account: Account,
    amount_nanos: int,
    key: str,
    by: Actor | None,
    at: datetime,
    note: str,
) -> bool:
    """Add credit. The same key grants once; True for the call that did it.

    by: None for the operator's shell. Raises InvalidInput (``amount``).
    """
    if not 0 < amount_nanos <= MAX_NANOS:
        raise InvalidInput("must be above zero and at most 100 million USD", field="amount")
    with transaction.atomic():
        locked = _lock([account.pk])[account.pk]
        if Entry.unscoped.filter(account=account, key=key).exists():
            return False
        Entry.unscoped.create(
            account=account,
            kind=Entry.Kind.GRANT,
            amount_nanos=amount_nanos,
            key=key,
            made_by_id=by.user_id if by else "",
            note=clean_label(note, 200),
            posted_at=at,
        )
        locked.balance_nanos += amount_nanos
        _store({account.pk: locked}, [account.pk])
        audit.record(
            action="credit.granted",
            actor=by,
            organization_id=account.organization_id,
            target_kind="credit_account",
            target_id=account.pk,
            after={"amount_nanos": amount_nanos},
            note=note,
            at=at,
        )
    return True


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """amount_nanos: the worst case, zero or more. key: of its own on the account."""

    account_id: str
    key: str
    amount_nanos: int
    subjects: budgets.Subjects = field(default_factory=dict)


def place_hold(*, account_id: str, key: str, amount_nanos: int, at: datetime) -> Hold:
    """One hold; the same key gives the same hold, so a caller may repeat the call (C8).

    Raises InsufficientCredit; see place_holds.
    """
    with transaction.atomic():
        _lock([account_id])
        if earlier := Hold.unscoped.filter(account=account_id, key=key).first():
            return earlier
        (placed,) = place_holds([HoldRequest(account_id, key, amount_nanos)], at=at)
    if isinstance(placed, Refusal):
        raise placed
    return placed


def place_holds(requests: Sequence[HoldRequest], *, at: datetime) -> list[Hold | Refusal]:
    """Set aside the worst-case cost of each completion, before its first upstream byte (C3, C7).

    All in one transaction, decided in order: what an earlier request takes is not free for a later
    one. Each gets its hold or the refusal: InsufficientCredit, or BudgetExhausted.
    """
    with transaction.atomic(savepoint=False):
        accounts = _lock({request.account_id for request in requests})
        room = budgets.Room.of(accounts, at=at)
        results: list[Hold | Refusal] = []
        for request in requests:
            try:
                results.append(_hold(accounts[request.account_id], room, request))
            except Refusal as refusal:
                results.append(refusal)
        room.store()
        placed = [result for result in results if isinstance(result, Hold)]
        Hold.unscoped.bulk_create(placed)
        _store(accounts, {hold.account_id for hold in placed})
    return results


def _hold(account: Account, room: budgets.Room, request: HoldRequest) -> Hold:
    amount = request.amount_nanos
    if amount > max(account.balance_nanos - account.held_nanos, 0):
        raise InsufficientCredit(_refusal(account, amount))
    spans = room.take(account, request.subjects, amount)
    account.held_nanos += amount
    return Hold(
        account=account,
        key=request.key,
        amount_nanos=amount,
        subjects=dict(request.subjects),
        spans=spans,
        placed_at=room.at,
    )


def _refusal(account: Account, amount_nanos: int) -> str:
    whose, whom = (
        ("Your organization's", "an admin of your organization")
        if account.organization_id
        else ("Your", "the administrator of this server")
    )
    in_flight = account.held_nanos
    waiting = f", of which {format_usd(in_flight)} is set aside for running requests"
    return (
        f"{whose} credit is used up: {format_usd(account.balance_nanos)} left"
        f"{waiting if in_flight else ''}, and this request may cost up to "
        f"{format_usd(amount_nanos)}. Ask {whom} for credit."
    )


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the completion behind a hold came to."""

    hold: Hold
    cost_nanos: int


def settle_hold(*, hold_id: int, cost_nanos: int, at: datetime) -> bool:
    """One settlement; True for the call that did it."""
    (won,) = settle_holds([Settlement(Hold.unscoped.get(pk=hold_id), cost_nanos)], at=at)
    return won


def settle_holds(settlements: Sequence[Settlement], *, at: datetime) -> list[bool]:
    """Charge what completions came to, each at most what was held for it, in one transaction.

    True for the one call that settled a hold, however many try (C8).
    """
    costs = {
        s.hold.pk: min(max(s.cost_nanos, 0), s.hold.amount_nanos) for s in reversed(settlements)
    }
    holds = {settlement.hold.pk: settlement.hold for settlement in settlements}
    with transaction.atomic(savepoint=False):
        accounts = _lock({hold.account_id for hold in holds.values()})
        settled = update_rows(
            Hold,
            [{"pk": pk, "cost_nanos": cost, "settled_at": at} for pk, cost in costs.items()],
            where_null="settled_at",
        )
        for pk in settled:
            account = accounts[holds[pk].account_id]
            account.held_nanos -= holds[pk].amount_nanos
            account.balance_nanos -= costs[pk]
        passed = budgets.settle(_by_span([(holds[pk], costs[pk]) for pk in settled]), at=at)
        Entry.unscoped.bulk_create(
            Entry(
                account_id=holds[pk].account_id,
                kind=Entry.Kind.CHARGE,
                amount_nanos=-costs[pk],
                key=f"hold:{holds[pk].key}",
                hold_id=pk,
                posted_at=at,
            )
            for pk in settled
            if costs[pk]
        )
        _store(accounts, {holds[pk].account_id for pk in settled})
        for span_id in passed:
            warn_of_budget.delay_on_commit(span_id=span_id)
    return [_take(settled, settlement.hold.pk) for settlement in settlements]


def _by_span(settled: Sequence[tuple[Hold, int]]) -> dict[int, tuple[int, int]]:
    """(held, spent) nano-dollars of each span that some holds count against."""
    changes: dict[int, tuple[int, int]] = {}
    for hold, cost in settled:
        for span_id in hold.spans:
            held, spent = changes.get(span_id, (0, 0))
            changes[span_id] = held + hold.amount_nanos, spent + cost
    return changes


def _take(settled: set[int], pk: int) -> bool:
    """Whether it is there; the second to ask is told no."""
    found = pk in settled
    settled.discard(pk)
    return found


def _lock(account_ids: Collection[str]) -> dict[str, Account]:
    """The accounts by id. Their rows are the lock, always taken in the same order: whatever moves
    credit on an account, does so one after another."""
    rows = Account.unscoped.select_for_update(no_key=True).filter(pk__in=account_ids).order_by("pk")
    return {account.pk: account for account in rows}


def _store(accounts: Mapping[str, Account], changed: Collection[str]) -> None:
    update_rows(
        Account,
        [
            {
                "pk": pk,
                "balance_nanos": accounts[pk].balance_nanos,
                "held_nanos": accounts[pk].held_nanos,
            }
            for pk in changed
        ],
    )
