"""Asking for credit, and the answer (docs/decisions/0042-top-up-requests.md).

Whoever may spend an account's credit asks; whoever may add credit on this server grants; they and
those who decide over the account decline. Amounts are nano-dollars.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts import queries as people
from accounts.actors import Actor
from audit import actions as audit
from credits import actions, policy
from credits.models import TopUp
from credits.tasks import tell_of_answer, tell_of_top_up
from roocloud.lib.money import MAX_NANOS
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound
from roocloud.lib.text import clean_label

#: Requests that a start page shows.
_MOST_SHOWN = 5


class AlreadyAsked(Conflict):
    code = "already_asked"


def may_grant(actor: Actor) -> bool:
    """Whether the actor may add credit to accounts, their own and others'. One query."""
    return actor.is_staff and people.may(actor.user_id, policy.GRANT)


def to_answer(actor: Actor) -> tuple[list[TopUp], int]:
    """What waits for the actor: of colleagues in their organization, for its owners and admins; and
    how much on the whole server, for who may grant it. Three queries at most."""
    own = TopUp.objects.visible_to(actor).waiting().exclude(asked_by_id=actor.user_id)
    of_organization = list(own.order_by("-asked_at", "pk")[:_MOST_SHOWN])
    return of_organization, TopUp.unscoped.waiting().count() if may_grant(actor) else 0


def ask(*, by: Actor, amount_nanos: int, reason: str, key: str, at: datetime) -> TopUp:
    """Ask for credit on the account of the actor's context. The same key asks once (C6).

    Raises Forbidden, InvalidInput (``amount``, ``reason``), and AlreadyAsked while an earlier
    request of theirs waits.
    """
    if not policy.may_ask(by):
        raise Forbidden("Read-only members do not spend credit, so they do not ask for it")
    if not 0 < amount_nanos <= MAX_NANOS:
        raise InvalidInput("must be above zero and at most 100 million USD", field="amount")
    if not (reason := clean_label(reason, 300)):
        raise InvalidInput("must say what the credit is for", field="reason")
    account = actions.account_of(user_id=by.user_id, organization_id=by.organization_id, at=at)
    same = TopUp.unscoped.filter(account=account, asked_by_id=by.user_id, key=key)
    try:
        with transaction.atomic():
            if found := same.first():
                return found
            made = TopUp.unscoped.create(
                account=account,
                asked_by_id=by.user_id,
                key=key,
                amount_nanos=amount_nanos,
                reason=reason,
                asked_at=at,
            )
            audit.record(
                action="top_up.asked",
                actor=by,
                organization_id=account.organization_id,
                target_kind="top_up",
                target_id=made.pk,
                after={"amount_nanos": amount_nanos},
                note=reason,
                at=at,
            )
            tell_of_top_up.delay_on_commit(top_up_id=made.pk)
    except IntegrityError:
        if found := same.first():  # the same page, sent twice at once
            return found
        raise AlreadyAsked("You have asked already, and there is no answer yet") from None
    return made


def grant(*, by: Actor, top_up_id: str, amount_nanos: int, answer: str, at: datetime) -> bool:
    """Add the credit, which may be less than was asked for, or more. True for the call that did it,
    however many try.

    Raises Forbidden, InvalidInput (``amount``), NotFound, and Conflict if it was declined.
    """
    if not may_grant(by):
        raise Forbidden("Only those who may add credit on this server grant it")
    with transaction.atomic():
        found = _locked(top_up_id)
        if found.state == TopUp.State.GRANTED:
            return False
        if found.state == TopUp.State.DECLINED:
            raise Conflict("This request was declined meanwhile")
        actions.grant(
            account=found.account,
            amount_nanos=amount_nanos,
            key=f"topup:{found.pk}",
            by=by,
            note=answer or found.reason,
            at=at,
        )
        _decide(found, TopUp.State.GRANTED, amount_nanos, answer, by=by, at=at)
    return True


def decline(*, by: Actor, top_up_id: str, answer: str, at: datetime) -> bool:
    """Say no, and why. True for the call that did it.

    Raises Forbidden, InvalidInput (``answer``), NotFound, and Conflict if it was granted.
    """
    with transaction.atomic():
        found = _locked(top_up_id)
        is_theirs = TopUp.objects.visible_to(by).filter(pk=found.pk).exists()
        if not may_grant(by) and not (is_theirs and _decides_for_others(by)):
            if is_theirs:
                raise Forbidden("Owners and admins of the organization decline requests")
            raise NotFound("There is no such request")
        if not clean_label(answer, 300):
            raise InvalidInput("must say why", field="answer")
        if found.state == TopUp.State.DECLINED:
            return False
        if found.state == TopUp.State.GRANTED:
            raise Conflict("This request was granted meanwhile")
        _decide(found, TopUp.State.DECLINED, 0, answer, by=by, at=at)
    return True


def _decides_for_others(by: Actor) -> bool:
    return by.organization_id is not None and policy.may_decide(by)


def _locked(top_up_id: str) -> TopUp:
    """The row is the lock: of two answers one counts."""
    rows = TopUp.unscoped.select_for_update(of=["self"]).select_related("account")
    found = rows.filter(pk=top_up_id).first()
    if found is None:
        raise NotFound("There is no such request")
    return found


def _decide(
    found: TopUp, state: str, granted_nanos: int, answer: str, *, by: Actor, at: datetime
) -> None:
    found.state, found.granted_nanos = state, granted_nanos
    found.answer = clean_label(answer, 300)
    found.decided_by_id, found.decided_at = by.user_id, at
    found.save(update_fields=["state", "granted_nanos", "answer", "decided_by_id", "decided_at"])
    audit.record(
        action=f"top_up.{state}",
        actor=by,
        organization_id=found.account.organization_id,
        target_kind="top_up",
        target_id=found.pk,
        before={"amount_nanos": found.amount_nanos},
        after={"amount_nanos": granted_nanos},
        note=answer,
        at=at,
    )
    tell_of_answer.delay_on_commit(top_up_id=found.pk)
