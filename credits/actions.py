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
from roocloud.lib.bulk import insert_rows, update_rows
from roocloud.lib.money import MAX_NANOS, format_usd
from roocloud.lib.refusals import InvalidInput, Refusal
from roocloud.lib.text import clean_label

logger = logging.getLogger(__name__)


#: Spare room is set aside only where credit and budgets leave so many times as much: it may lie
#: idle for seconds, and must not be what another request lacks.
_PLENTY = 20


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
    return _enter_one(Entry.Kind.GRANT, account, amount_nanos, key, by=by, at=at, note=note)


def correct(
    *,
    account: Account,
    amount_nanos: int,
    key: str,
    by: Actor | None,
    at: datetime,
    note: str,
) -> bool:
    """Add or take what an earlier entry should have been different by, as a refund does; the
    balance may fall below zero. The same key corrects once; True for the call that did it."""
    return _enter_one(Entry.Kind.CORRECTION, account, amount_nanos, key, by=by, at=at, note=note)


_DONE = {Entry.Kind.GRANT: "credit.granted", Entry.Kind.CORRECTION: "credit.corrected"}


def _enter_one(
    kind: Entry.Kind,
    account: Account,
    amount_nanos: int,
    key: str,
    *,
    by: Actor | None,
    at: datetime,
    note: str,
) -> bool:
    with transaction.atomic():
        locked = _lock([account.pk])[account.pk]
        if Entry.unscoped.filter(account=account, key=key).exists():
            return False
        Entry.unscoped.create(
            account=account,
            kind=kind,
            amount_nanos=amount_nanos,
            key=key,
            made_by_id=by.user_id if by else "",
            note=clean_label(note, 200),
            posted_at=at,
        )
        locked.balance_nanos += amount_nanos
        _store({account.pk: locked}, [account.pk])
        audit.record(
            action=_DONE[kind],
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
    """amount_nanos: the worst case, zero or more. spare_nanos: what is set aside beside it for
    later ones, where there is plenty."""

    account_id: str
    amount_nanos: int
    subjects: budgets.Subjects = field(default_factory=dict)
    spare_nanos: int = 0


def place_holds(requests: Sequence[HoldRequest], *, at: datetime) -> list[Hold | Refusal]:
    """Set aside the worst-case cost of completions, before their first upstream byte (C3, C7).

    All in one transaction, decided in order: what an earlier request takes is not free for a later
    one. Each gets its hold or the refusal: InsufficientCredit, or BudgetExhausted. Requests of the
    same account and subjects share a hold.
    """
    placed: dict[tuple[str, ...], Hold] = {}
    with transaction.atomic(savepoint=False):
        accounts = _lock({request.account_id for request in requests})
        room = budgets.Room.of(accounts, at=at)
        results: list[Hold | Refusal] = []
        for request in requests:
            key = request.account_id, *sorted(f"{k}:{v}" for k, v in request.subjects.items())
            try:
                amount_nanos, spans = _take(accounts[request.account_id], room, request)
            except Refusal as refusal:
                results.append(refusal)
                continue
            hold = placed.setdefault(key, _hold(request, spans, at=at))
            hold.amount_nanos += amount_nanos
            results.append(hold)
        room.store()
        Hold.unscoped.bulk_create(placed.values())
        _store(accounts, {hold.account_id for hold in placed.values()})
    return results


def _take(account: Account, room: budgets.Room, request: HoldRequest) -> tuple[int, list[int]]:
    """Set the amount aside: how much, and the budget spans that it counts against. Raises
    Refusal."""
    amount, spare = request.amount_nanos, request.spare_nanos
    free = max(account.balance_nanos - account.held_nanos, 0)
    if amount > free:
        raise InsufficientCredit(_refusal(account, amount))
    spans = room.take(account, request.subjects, amount)
    left = room.left_nanos(account, request.subjects, at_most=free - amount)
    if 0 < spare * _PLENTY <= left:
        room.take(account, request.subjects, spare)
        amount += spare
    account.held_nanos += amount
    return amount, spans


def _hold(request: HoldRequest, spans: list[int], *, at: datetime) -> Hold:
    return Hold(
        account_id=request.account_id,
        amount_nanos=0,
        subjects=dict(request.subjects),
        spans=spans,
        placed_at=at,
        seen_at=at,
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
class Charge:
    """What a completion came to; it is charged once."""

    hold: Hold
    completion_id: str
    cost_nanos: int


def settle_holds(
    charges: Sequence[Charge], *, closing: Collection[Hold], at: datetime
) -> list[bool]:
    """Charge what completions came to, and give back what is left of the holds that ``closing``
    names, in one transaction.

    However often a charge is repeated, it is made once (C8); a hold never pays more than it set
    aside. False for a charge whose hold was closed before, as by the sweep of silent ones: its
    credit is no longer set aside, and nothing is charged.
    """
    holds = {hold.pk: hold for hold in (*closing, *(charge.hold for charge in charges))}
    with transaction.atomic(savepoint=False):
        accounts = _lock({hold.account_id for hold in holds.values()})
        rows = Hold.unscoped.open().filter(pk__in=holds)
        left = {hold.pk: hold for hold in rows}
        made = _enter([charge for charge in charges if charge.hold.pk in left], at=at)
        changes: dict[int, tuple[int, int]] = {}
        for charge in charges:
            if (key := Entry.charge_key(charge.completion_id)) in made:
                made.discard(key)
                left[charge.hold.pk].cost_nanos += charge.cost_nanos
                _move(accounts, changes, charge.hold, charge.cost_nanos, charge.cost_nanos)
        closed = {hold.pk for hold in closing} & left.keys()
        for pk in closed:
            _move(accounts, changes, left[pk], left[pk].open_nanos, 0)
        update_rows(
            Hold,
            [
                {
                    "pk": pk,
                    "cost_nanos": hold.cost_nanos,
                    "settled_at": at if pk in closed else None,
                }
                for pk, hold in left.items()
            ],
        )
        warned = budgets.settle(changes, at=at)
        _store(accounts, accounts)
        for span_id in warned:
            warn_of_budget.delay_on_commit(span_id=span_id)
    return [charge.hold.pk in left for charge in charges]


def _enter(charges: Sequence[Charge], *, at: datetime) -> set[str]:
    """Write the ledger's lines; the keys of those that were not there yet. Nothing costs nothing,
    and leaves no line."""
    rows = {
        Entry.charge_key(charge.completion_id): {
            "account": charge.hold.account_id,
            "kind": Entry.Kind.CHARGE,
            "amount_nanos": -charge.cost_nanos,
            "key": Entry.charge_key(charge.completion_id),
            "hold": charge.hold.pk,
            "made_by_id": "",
            "note": "",
            "posted_at": at,
        }
        for charge in reversed(charges)
        if charge.cost_nanos
    }
    return insert_rows(Entry, [*rows.values()], unique=("account", "key"), returning="key")


def _move(
    accounts: Mapping[str, Account],
    changes: dict[int, tuple[int, int]],
    hold: Hold,
    released: int,
    spent: int,
) -> None:
    """Take off what was set aside, and what was spent, from the account and from every span."""
    account = accounts[hold.account_id]
    account.held_nanos -= released
    account.balance_nanos -= spent
    for span_id in hold.spans:
        before = changes.get(span_id, (0, 0))
        changes[span_id] = before[0] + released, before[1] + spent


def silent_holds(*, before: datetime, limit: int) -> list[Hold]:
    """Open holds whose process has given no sign of life since ``before``."""
    return list(Hold.unscoped.open().filter(seen_at__lt=before).order_by("seen_at", "pk")[:limit])


def renew_holds(hold_ids: Collection[int], *, at: datetime) -> None:
    """Say that the process of open holds lives. One that is being settled is passed over: that it
    lives shows."""
    with transaction.atomic():
        free = Hold.unscoped.open().filter(pk__in=hold_ids).select_for_update(skip_locked=True)
        Hold.unscoped.filter(pk__in=[hold.pk for hold in free]).update(seen_at=at)


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
