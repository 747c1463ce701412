"""Admitting completions and charging them: holds before work, one settlement after it.

Each function does a batch in one transaction (see roocloud.lib.batches).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts.actors import Actor
from credits import actions as credit
from orgs import policy
from orgs.documents import AllowList
from proxy import demo, usage_days
from proxy.calls import Call
from proxy.catalogue import Catalogue, Offer, Priced, Way
from proxy.models import Completion, LanguageModel
from proxy.pricing import Usage, cost_nanos, worst_case_nanos
from roocloud.lib.bulk import update_rows
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound
from roocloud.lib.text import clean_label

if TYPE_CHECKING:
    from credits.models import Hold

logger = logging.getLogger(__name__)

#: The provider name under which clients know this server's models (allowList.providers).
PROVIDER = "roo"
#: A completion that gave no sign of life for this long died with its process (C4).
ORPHANED_AFTER = timedelta(seconds=45)


class ModelNotFound(NotFound):
    code = "model_not_found"


class ModelNotAllowed(Forbidden):
    code = "model_not_allowed"


@dataclass(frozen=True, slots=True)
class Order:
    """A call that policy allows, at its price. ways: none for the demo."""

    actor: Actor
    account_id: str
    call: Call
    task_id: str
    offer: Offer
    price: Priced
    ways: Sequence[Way]
    worst_nanos: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may run: its hold is placed."""

    completion_id: str
    hold: "Hold"
    order: Order

    @property
    def prompt_tokens(self) -> int:
        """An estimate, for an upstream that reports no usage."""
        return self.order.call.prompt_tokens_estimate(self.order.offer.context_window)

    def cost_nanos(self, usage: Usage) -> int:
        """What usage costs this call: never more than was held for it."""
        cost, held = cost_nanos(usage, self.order.price.rates), self.order.worst_nanos
        if cost > held:
            logger.error(
                "A completion cost more than its hold",
                extra={"completion": self.completion_id, "cost_nanos": cost, "held_nanos": held},
            )
        return min(cost, held)


@dataclass(frozen=True, slots=True)
class Result:
    """How an admitted call ended. attempts: upstreams that failed before the one that answered."""

    admitted: Admitted
    status: str
    usage: Usage
    is_estimated: bool
    error: str
    upstream: str
    attempts: Sequence[dict[str, str]]
    first_byte_ms: int | None
    at: datetime


def check(
    *,
    actor: Actor,
    account_id: str,
    allow_list: AllowList,
    catalogue: Catalogue,
    call: Call,
    task_id: str,
    at: datetime,
) -> Order:
    """What a call orders, if policy allows it. No I/O.

    Raises Forbidden, ModelNotFound, ModelNotAllowed.
    """
    if not policy.may_spend(actor):
        raise Forbidden("Your role in this organization may not use models")
    if not allow_list.allows(PROVIDER, call.model):
        raise ModelNotAllowed(f"Your organization does not allow the model {call.model[:100]}")
    offer = catalogue.find(actor, call.model, at=at)
    price = offer.price(at) if offer else None
    if offer is None or price is None or not call.takes(offer.kind):
        raise ModelNotFound(f"This server offers no model {call.model[:100]}", field="model")
    if actor.key and not actor.key.allows(offer.model_id):
        raise ModelNotAllowed(f"The API key “{actor.key.name}” does not allow {offer.model_id}")
    is_image_model = offer.kind == LanguageModel.Kind.IMAGE
    if is_image_model and call.is_stream:
        raise InvalidInput("must be false for a model that makes images", field="stream")
    worst = worst_case_nanos(
        prompt_tokens=call.prompt_tokens_bound(offer.context_window),
        completion_tokens=call.output_bound(offer.max_tokens),
        rates=price.rates,
        images=call.choices if is_image_model else 0,
    )
    return Order(
        actor=actor,
        account_id=account_id,
        call=call,
        task_id=clean_label(task_id, 64),
        offer=offer,
        price=price,
        ways=offer.ways_for(actor),
        worst_nanos=worst,
        at=at,
    )


def admit(orders: Sequence[Order]) -> list[Admitted | Exception]:
    """Place the hold of each call and write down that it runs, before any upstream byte (C3, C7).
    For a call without enough credit: the refusal."""
    rows = [_row(order) for order in orders]
    requests = [
        credit.HoldRequest(order.account_id, row.pk, order.worst_nanos, _subjects(order))
        for order, row in zip(orders, rows, strict=True)
    ]
    results: list[Admitted | Exception] = []
    with transaction.atomic():
        holds = credit.place_holds(requests, at=max(order.at for order in orders))
        for order, row, hold in zip(orders, rows, holds, strict=True):
            if isinstance(hold, Exception):
                results.append(hold)
                continue
            row.hold_id = hold.pk
            results.append(Admitted(row.pk, hold, order))
        Completion.unscoped.bulk_create(row for row in rows if row.hold_id)
    return results


def _subjects(order: Order) -> dict[str, str]:
    """Whose budgets the call counts against."""
    key = order.actor.key
    made_with = {"key": key.key_id} if key else {}
    return {"member": order.actor.user_id, "model": order.offer.model_id, **made_with}


def _row(order: Order) -> Completion:
    return Completion(
        user_id=order.actor.user_id,
        organization_id=order.actor.organization_id or "",
        task_id=order.task_id,
        api_key_id=order.actor.key.key_id if order.actor.key else "",
        model_id=order.offer.model_id,
        upstream_name=order.ways[0].upstream if order.ways else demo.UPSTREAM_NAME,
        price_id=order.price.price_id,
        is_stream=order.call.is_stream,
        started_at=order.at,
        saved_at=order.at,
    )


def settle(results: Sequence[Result]) -> list[int]:
    """Write down what calls used and charge them, each once (C8). Their costs in nano-dollars."""
    costs = [result.admitted.cost_nanos(result.usage) for result in results]
    with transaction.atomic():
        won = credit.settle_holds(
            [
                credit.Settlement(result.admitted.hold, cost)
                for result, cost in zip(results, costs, strict=True)
            ],
            at=max(result.at for result in results),
        )
        ended = [
            _ended(result, cost)
            for result, cost, is_first in zip(results, costs, won, strict=True)
            if is_first
        ]
        update_rows(Completion, ended)
        usage_days.add([row["pk"] for row in ended])
    return costs


def _ended(result: Result, cost: int) -> dict[str, Any]:
    return {
        "pk": result.admitted.completion_id,
        "status": result.status,
        **_tokens(result.usage),
        "is_estimated": result.is_estimated,
        "cost_nanos": cost,
        "error": clean_label(result.error, 300),
        "upstream_name": result.upstream,
        "attempts": list(result.attempts),
        "first_byte_ms": result.first_byte_ms,
        "saved_at": result.at,
        "ended_at": result.at,
    }


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "images": usage.images,
    }


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running call used up to now."""

    admitted: Admitted
    usage: Usage


def save_progress(running: Sequence[Progress], at: datetime) -> None:
    """Note what running calls used, so that a killed process does not forget it (C4)."""
    update_rows(
        Completion,
        [
            {
                "pk": part.admitted.completion_id,
                **_tokens(part.usage),
                "cost_nanos": part.admitted.cost_nanos(part.usage),
                "saved_at": at,
            }
            for part in running
        ],
        where_null="ended_at",  # it may have been settled meanwhile
    )


def settle_orphans(*, at: datetime, limit: int = 500) -> int:
    """End completions whose process died, at what they had used when it last said so; how many."""
    silent = (
        Completion.unscoped.filter(
            status=Completion.Status.RUNNING, saved_at__lt=at - ORPHANED_AFTER
        )
        .exclude(hold=None)
        .select_related("hold")
        .order_by("saved_at", "pk")[:limit]
    )
    with transaction.atomic():
        rows = list(silent)
        settlements = [credit.Settlement(row.hold, row.cost_nanos) for row in rows if row.hold]
        won = credit.settle_holds(settlements, at=at)
        orphans = [row for row, is_first in zip(rows, won, strict=True) if is_first]
        update_rows(
            Completion,
            [
                {
                    "pk": row.pk,
                    "status": Completion.Status.ORPHANED,
                    "is_estimated": True,
                    "ended_at": at,
                }
                for row in orphans
            ],
        )
        usage_days.add([row.pk for row in orphans])
    return len(orphans)
