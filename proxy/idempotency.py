"""Requests that name themselves by an ``Idempotency-Key``: made once, charged once, answered alike
(C6, docs/decisions/0015).

A request claims its key in the database before it costs anything. Its answer is stored in the
transaction that charges it, and whoever repeats the request until that is forgotten gets the same.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac
from msgspec import Struct

from accounts.actors import Actor
from proxy.calls import Endpoint
from proxy.models import IdempotencyKey
from roocloud.lib import crypto
from roocloud.lib.bulk import insert_rows
from roocloud.lib.refusals import InvalidInput, Refusal

HEADER = "Idempotency-Key"
#: Without a sign of life for so long, the process of a claim is taken for dead, and the next
#: request with its key is made anew. By then the sweep has closed its hold (C4): if it wakes up, it
#: charges nothing.
DEAD_AFTER = timedelta(seconds=90)
#: Bytes of an answer that are kept.
MAX_ANSWER = 8 * 2**20
_SHAPE = re.compile(r"[!-~]{1,255}")
_SALT = "proxy.idempotency"


class KeyReused(Refusal):
    status, code = 422, "idempotency_key_reused"


class AnswerGone(Refusal):
    """It was made and charged, and is not here."""

    status, code = 410, "idempotent_answer_gone"


class Answer(Struct):
    """As the client of the first request got it; headers without those of its rate limits."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks for under its key. pk: of the key, within its caller. fingerprint: of the
    request. completion_id: of the completion that it makes, if the key is free."""

    pk: str
    fingerprint: str
    completion_id: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class Standing:
    """How a claim stands: it holds the key, unless another completion does, or did."""

    running: str = ""  # its completion
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a claim. answer: None for one that was not made to its end. is_too_large: it
    was, and is not kept."""

    claim: Claim
    answer: Answer | None
    is_too_large: bool = False

    @property
    def is_whole(self) -> bool:
        return self.answer is not None or self.is_too_large


def key_in(headers: Mapping[bytes, str]) -> str | None:
    """Raises InvalidInput."""
    key = headers.get(b"idempotency-key")
    if key is not None and not _SHAPE.fullmatch(key):
        raise InvalidInput("must be 1 to 255 visible ASCII characters", field=HEADER)
    return key


def claim_of(
    actor: Actor, endpoint: Endpoint, key: str, body: bytes, *, completion_id: str
) -> Claim:
    """Of a person in a context, or of their API key: what others name alike is another key. The
    fingerprint is keyed, so that the table does not confirm a guess of what was asked."""
    whose = [actor.organization_id, actor.user_id, actor.key.key_id if actor.key else None, key]
    fingerprint = salted_hmac(_SALT, f"{endpoint.path}\n", algorithm="sha256")
    fingerprint.update(body)
    return Claim(
        pk=hashlib.sha256(json.dumps(whose).encode()).hexdigest(),
        fingerprint=fingerprint.hexdigest(),
        completion_id=completion_id,
        actor=actor,
    )


def stand(claim: Claim, *, waits_for: str = "", at: datetime) -> Standing:
    """Claim a key that is free, or see what became of it; of two at once, one gets it.

    waits_for: the completion that was seen running. Its refusal is the answer for all who waited
    for it, though it leaves the key free. Raises KeyReused, AnswerGone.
    """
    while True:
        row = IdempotencyKey.unscoped.filter(pk=claim.pk).first()
        if row is None:
            if _insert(claim, at=at):
                return Standing()
            continue
        if row.completion_id == waits_for and row.sealed_answer:
            return Standing(answer=_answer(row))
        if IdempotencyKey.unscoped.filter(_is_free(at), pk=claim.pk).update(**_claimed(claim, at)):
            return Standing()
        if row.fingerprint != claim.fingerprint:
            raise KeyReused(
                "was used for another request; every request needs a key of its own", field=HEADER
            )
        if row.state == IdempotencyKey.State.RUNNING:
            return Standing(running=row.completion_id)
        if row.state == IdempotencyKey.State.DONE:
            return Standing(answer=_answer(row))


def _is_free(at: datetime) -> Q:
    state = IdempotencyKey.State
    return (
        Q(state=state.RELEASED)
        | Q(state=state.RUNNING, seen_at__lt=at - DEAD_AFTER)
        | Q(seen_at__lt=at - settings.ROOCLOUD_IDEMPOTENCY_KEEP)
    )


def _claimed(claim: Claim, at: datetime) -> dict[str, object]:
    return {
        "user_id": claim.actor.user_id,
        "organization_id": claim.actor.organization_id or "",
        "fingerprint": claim.fingerprint,
        "completion_id": claim.completion_id,
        "state": IdempotencyKey.State.RUNNING,
        "sealed_answer": "",
        "seen_at": at,
    }


def _insert(claim: Claim, *, at: datetime) -> bool:
    row = {"id": claim.pk, **_claimed(claim, at)}
    return bool(insert_rows(IdempotencyKey, [row], unique=("id",)))


def _answer(row: IdempotencyKey) -> Answer:
    try:
        answer = row.answer(Answer)
    except crypto.CannotUnseal:
        answer = None
    if answer is None:
        raise AnswerGone(
            "The answer to this Idempotency-Key was made and charged once, and is not kept here; "
            "ask again with a new key"
        )
    return answer


def renew(claims: Collection[Claim], *, at: datetime) -> None:
    """Say that the process of claims lives."""
    _own(claims).update(seen_at=at)


def sealed(ending: Ending) -> str:
    """The answer as it is stored: nothing, if it is not to be. It takes a while for a large one."""
    if ending.answer is None:
        return ""
    claim = ending.claim
    return IdempotencyKey(pk=claim.pk, completion_id=claim.completion_id).seal(ending.answer)


def end(ending: Ending, sealed_answer: str, *, counts: bool, at: datetime) -> None:
    """Store the answer of a claim, if it has not lost its key meanwhile.

    counts: the key is used up; otherwise it is free again, as after a refusal that cost nothing.
    """
    state = IdempotencyKey.State.DONE if counts else IdempotencyKey.State.RELEASED
    _own([ending.claim]).update(state=state, sealed_answer=sealed_answer, seen_at=at)


def release(ending: Ending, *, at: datetime) -> None:
    """Free the key of a request that was not admitted; who waited for it is refused alike."""
    end(ending, sealed(ending), counts=False, at=at)


def _own(claims: Collection[Claim]) -> QuerySet[IdempotencyKey]:
    """Of those, what no other request has taken over."""
    return IdempotencyKey.unscoped.filter(
        pk__in=[claim.pk for claim in claims],
        completion_id__in=[claim.completion_id for claim in claims],
        state=IdempotencyKey.State.RUNNING,
    )


def forget(*, at: datetime, limit: int = 500) -> int:
    """Delete what is older than ROOCLOUD_IDEMPOTENCY_HOURS; how many."""
    before, count = at - settings.ROOCLOUD_IDEMPOTENCY_KEEP, 0
    old = IdempotencyKey.unscoped.filter(seen_at__lt=before)
    while keys := list(old.values_list("pk", flat=True)[:limit]):
        # One that is claimed anew meanwhile is not old any more.
        deleted, _ = old.filter(pk__in=keys).delete()
        count += deleted
    return count
