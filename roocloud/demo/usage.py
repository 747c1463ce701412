"""A month of completions, admitted and settled as the proxy does it, at the times of then."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.actors import Actor
from credits import actions as credit
from orgs import documents
from proxy import admission, catalogue
from proxy.calls import read
from proxy.holds import OpenHold
from proxy.pricing import Usage
from roocloud.demo.company import OFFERS, UPSTREAM
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import Refusal

#: Long enough for what is set aside to cover the longest of them.
_SAID = b'[{"role": "user", "content": "' + b"x" * 190_000 + b'"}]'
_CALL = b'{"model": "%s", "stream": true, "max_tokens": 4000, "messages": ' + _SAID + b"}"
_FAILS = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """Completions of one task. costs_nanos: of each, as it was charged."""

    task_id: str
    model_id: str
    costs_nanos: Sequence[int]


def complete(
    *, actor: Actor, account_id: str, task_id: str, at: datetime, draw: random.Random
) -> Run:
    """The completions of a task, half a minute apart from ``at`` on."""
    offer = draw.choices(OFFERS, [one.weight for one in OFFERS])[0]
    call = read(_CALL % offer.model_id.encode())
    offered = catalogue.read(at=at)
    orders = [
        admission.check(
            actor=actor,
            account_id=account_id,
            allow_list=documents.DEFAULT.allow_list,
            catalogue=offered,
            call=call,
            task_id=task_id,
            at=at + timedelta(seconds=30 * place),
        )
        for place in range(draw.randint(4, 12))
    ]
    placed = credit.place_holds(
        [credit.HoldRequest(one.account_id, one.worst_nanos, one.subjects) for one in orders], at=at
    )
    admitted = []
    for order, hold in zip(orders, placed, strict=True):
        if isinstance(hold, Refusal):
            raise hold
        opened = OpenHold(hold, (), usable_until=order.at, calls=1)
        admitted.append(admission.Admitted(new_id("chatcmpl"), opened, order))
    results = [_result(one, place, draw) for place, one in enumerate(admitted)]
    holds = {one.hold.hold.pk: one.hold.hold for one in admitted}
    costs = admission.settle(results, closing=[*holds.values()])
    return Run(task_id, offer.model_id, costs)


def _result(one: admission.Admitted, place: int, draw: random.Random) -> admission.Result:
    """Conversations grow, and most of what was said before is read from a cache."""
    fails = draw.random() < _FAILS
    prompt = 24_000 + place * draw.randint(5_000, 14_000)
    used = Usage() if fails else Usage(
        prompt, draw.randint(150, 2_500), cache_read=prompt * draw.randint(40, 90) // 100
    )  # fmt: skip
    return admission.Result(
        admitted=one,
        status="failed" if fails else "done",
        usage=used,
        cost_nanos=one.cost_nanos(used),
        is_estimated=False,
        error="The upstream answered 529: overloaded" if fails else "",
        upstream=UPSTREAM,
        attempts=(),
        first_byte_ms=draw.randint(280, 2_400),
        at=one.order.at + timedelta(seconds=draw.randint(4, 25)),
    )
