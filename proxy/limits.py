"""How often and how much a member, a key and an organization may ask at a time (MO7).

The defaults are far above what editors do: a task makes a request every few seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from proxy.admission import Order
from roocloud.lib import limits
from roocloud.lib.limits import Ask, Lease, Verdict
from roocloud.lib.refusals import TooManyRequests

_WHOSE = {"member": "Your", "key": "This API key's", "organization": "Your organization's"}
_WHAT = {
    "requests": "requests a minute",
    "tokens": "input tokens a minute",
    "at_once": "requests at the same time",
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call took; give_back ends it. headers: for its answer."""

    leases: Sequence[Lease]
    headers: list[tuple[bytes, bytes]]


async def take(order: Order, *, holder: str) -> Taken:
    """holder: an id of the call. Raises TooManyRequests, saying whose limit of what, and when to
    come back."""
    tokens = order.call.prompt_tokens_estimate(order.offer.context_window)
    asks, leases = [], []
    for who, subject in _subjects(order).items():
        rates = settings.ROOCLOUD_LIMITS[who]
        for what, cost in (("requests", 1), ("tokens", tokens)):
            if per_minute := rates[what]:
                burst = max(per_minute // 2, 1)
                asks.append(Ask(f"{who}:{what}:{subject}", per_minute, burst, cost))
        if most := rates["at_once"]:
            leases.append(Lease(f"{who}:at_once:{subject}", most, holder))
    verdict = await limits.take(asks, leases)
    if verdict.refused:
        raise _refusal(verdict)
    return Taken(leases, _headers(verdict, at=order.at) if asks else [])


def _subjects(order: Order) -> dict[str, str]:
    found = {"member": order.actor.user_id}
    if order.actor.organization_id:
        found["organization"] = order.actor.organization_id
    if order.actor.key:
        found["key"] = order.actor.key.key_id
    return found


def _refusal(verdict: Verdict) -> TooManyRequests:
    who, what, _ = (verdict.refused or "").split(":", 2)
    wait_s = max(math.ceil(verdict.retry_after_s), 1)
    limit = settings.ROOCLOUD_LIMITS[who][what]
    return TooManyRequests(
        f"{_WHOSE[who]} limit of {limit} {_WHAT[what]} is reached; try again in {wait_s} s",
        retry_after_s=wait_s,
    )


def _headers(verdict: Verdict, *, at: datetime) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", str(verdict.limit).encode()),
        (b"x-ratelimit-remaining", str(verdict.remaining).encode()),
        (b"x-ratelimit-reset", str(math.ceil(at.timestamp() + verdict.reset_s)).encode()),
    ]


def give_back(taken: Taken) -> None:
    limits.give_back(taken.leases)
