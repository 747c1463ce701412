"""Every movement of credit, each in one transaction. Amounts are nano-dollars."""

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import F

from accounts.actors import Actor
from audit import actions as audit
from credits.models import Account, Entry, Hold
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
        _lock(account.pk)
        if Entry.unscoped.filter(account=account, key=key).exists():
            return False
        _post(
            Entry(
                account=account,
                kind=Entry.Kind.GRANT,
                amount_nanos=amount_nanos,
                key=key,
                made_by_id=by.user_id if by else "",
                note=clean_label(note, 200),
                posted_at=at,
            )
        )
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


def place_hold(*, account_id: str, key: str, amount_nanos: int, at: datetime) -> Hold:
    """Set aside the worst-case cost of a completion, before the first upstream byte (C3, C7).

    amount_nanos: zero or more. The same key gives the same hold, so a caller may repeat the call.

    Raises InsufficientCredit if balance less open holds does not cover the amount.
    """
    with transaction.atomic():
        # The account row is the lock: its holds are decided one after another.
        account = _lock(account_id)
        if earlier := account.holds.filter(key=key).first():
            return earlier
        free_nanos = account.balance_nanos - account.holds.open().total_nanos()
        if amount_nanos > max(free_nanos, 0):
            raise InsufficientCredit(_refusal(account, free_nanos, amount_nanos))
        return account.holds.create(key=key, amount_nanos=amount_nanos, placed_at=at)


def _refusal(account: Account, free_nanos: int, amount_nanos: int) -> str:
    whose, whom = (
        ("Your organization's", "an admin of your organization")
        if account.organization_id
        else ("Your", "the administrator of this server")
    )
    in_flight = account.balance_nanos - free_nanos
    waiting = f", of which {format_usd(in_flight)} is set aside for running requests"
    return (
        f"{whose} credit is used up: {format_usd(account.balance_nanos)} left"
        f"{waiting if in_flight else ''}, and this request may cost up to "
        f"{format_usd(amount_nanos)}. Ask {whom} for credit."
    )


def settle_hold(*, hold_id: int, cost_nanos: int, at: datetime) -> bool:
    """Charge what a completion came to, at most what was held. True for the one call that did it,
    however many try (C8)."""
    with transaction.atomic():
        hold = Hold.unscoped.get(pk=hold_id)
        cost_nanos = min(max(cost_nanos, 0), hold.amount_nanos)
        won = Hold.unscoped.open().filter(pk=hold_id).update(cost_nanos=cost_nanos, settled_at=at)
        if not won:
            return False
        if cost_nanos:
            _lock(hold.account_id)
            _post(
                Entry(
                    account_id=hold.account_id,
                    kind=Entry.Kind.CHARGE,
                    amount_nanos=-cost_nanos,
                    key=f"hold:{hold.key}",
                    hold=hold,
                    posted_at=at,
                )
            )
    return True


def _lock(account_id: str) -> Account:
    return Account.unscoped.select_for_update().get(pk=account_id)


def _post(entry: Entry) -> None:
    entry.save(force_insert=True)
    Account.unscoped.filter(pk=entry.account_id).update(
        balance_nanos=F("balance_nanos") + entry.amount_nanos
    )
