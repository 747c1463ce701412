"""Admitting completions and charging them: a hold before work, one settlement after it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q

from accounts.actors import Actor
from credits import actions as credit
from orgs import policy
from orgs.documents import AllowList
from proxy import idempotency, usage_days
from proxy.calls import Call
from proxy.catalogue import Catalogue, Offer, Priced, Way
from proxy.holds import OpenHold
from proxy.idempotency import Ending
from proxy.models import Completion, LanguageModel
from proxy.pricing import Usage, cost_nanos, worst_case_nanos
from roocloud.lib.bulk import Row, insert_rows, update_rows
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
    """A call that policy allows, at its price. ways: none for the demo. is_kept: what is asked and
    answered is to be stored."""

    actor: Actor
    account_id: str
    call: Call
    task_id: str
    offer: Offer
    price: Priced
    ways: Sequence[Way]
    worst_nanos: int
    at: datetime
    is_kept: bool = False

    @property
    def subjects(self) -> dict[str, str]:
        """Whose budgets the call counts against."""
        key = self.actor.key
        made_with = {"key": key.key_id} if key else {}
        return {"member": self.actor.user_id, "model": self.offer.model_id, **made_with}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may run: there is room for its worst case in a hold."""

    completion_id: str
    hold: OpenHold
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
    """How an admitted call ended. cost_nanos: what its usage costs. attempts: upstreams that failed
    before the one that answered. ending: of its claim, if it has one."""

    admitted: Admitted
    status: str
    usage: Usage
    cost_nanos: int
    is_estimated: bool
    error: str
    upstream: str
    attempts: Sequence[dict[str, str]]
    first_byte_ms: int | None
    at: datetime
    ending: Ending | None = None


def check(
    *,
    actor: Actor,
    account_id: str,
    allow_list: AllowList,
    catalogue: Catalogue,
    call: Call,
    task_id: str,
    at: datetime,
    is_kept: bool = False,
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
        is_kept=is_kept,
    )


def settle(results: Sequence[Result], *, closing: Sequence["Hold"]) -> list[int]:
    """Write down what calls used and charge them, each once (C8), in one transaction; their costs
    in nano-dollars. closing: holds that no other calls draw on."""
    charges = [
        credit.Charge(result.admitted.hold.hold, result.admitted.completion_id, result.cost_nanos)
        for result in results
    ]
    answers = [
        (result, result.ending, idempotency.sealed(result.ending))
        for result in results
        if result.ending
    ]
    with transaction.atomic():
        in_time = credit.settle_holds(charges, closing=closing, at=max(r.at for r in results))
        costs = [
            charge.cost_nanos if is_charged else 0
            for charge, is_charged in zip(charges, in_time, strict=True)
        ]
        rows = [
            _row(
                result.admitted,
                usage=result.usage,
                cost_nanos=cost,
                upstream=result.upstream,
                at=result.at,
                status=result.status if is_charged else Completion.Status.ORPHANED,
                is_estimated=result.is_estimated,
                error=clean_label(result.error, 300),
                attempts=list(result.attempts),
                first_byte_ms=result.first_byte_ms,
                ended_at=result.at,
            )
            for result, cost, is_charged in zip(results, costs, in_time, strict=True)
        ]
        ended = _write(rows, update=(*_PROGRESS, *_END))
        usage_days.add([row for row in rows if row["id"] in ended])
        costly = {row["id"] for row in rows if row["cost_nanos"]}
        for result, ending, answer in answers:
            is_paid = result.admitted.completion_id in costly
            counts = ending.is_whole and (is_paid or result.status == Completion.Status.DONE)
            idempotency.end(ending, answer, counts=counts, at=result.at)
    return costs


_PROGRESS = (
    "upstream_name",
    "prompt_tokens",
    "completion_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "images",
    "cost_nanos",
    "saved_at",
)
_END = ("status", "is_estimated", "error", "attempts", "first_byte_ms", "ended_at")


def _row(
    admitted: Admitted,
    *,
    usage: Usage,
    cost_nanos: int,
    upstream: str,
    at: datetime,
    status: str = Completion.Status.RUNNING,
    is_estimated: bool = False,
    error: str = "",
    attempts: Sequence[dict[str, str]] = (),
    first_byte_ms: int | None = None,
    ended_at: datetime | None = None,
) -> dict[str, Any]:
    order = admitted.order
    return {
        "id": admitted.completion_id,
        "user_id": order.actor.user_id,
        "organization_id": order.actor.organization_id or "",
        "task_id": order.task_id,
        "api_key_id": order.actor.key.key_id if order.actor.key else "",
        "model_id": order.offer.model_id,
        "price": order.price.price_id,
        "hold": admitted.hold.hold.pk,
        "held_nanos": order.worst_nanos,
        "is_stream": order.call.is_stream,
        "started_at": order.at,
        "upstream_name": upstream,
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "images": usage.images,
        "cost_nanos": cost_nanos,
        "saved_at": at,
        "status": status,
        "is_estimated": is_estimated,
        "error": error,
        "attempts": attempts,
        "first_byte_ms": first_byte_ms,
        "ended_at": ended_at,
    }


def _write(rows: Sequence[Row], *, update: Sequence[str]) -> set[str]:
    """Add completions, or change those that have not ended; the ids of both. Whoever writes some of
    them at the same time does so in the same order."""
    return insert_rows(
        Completion,
        sorted(rows, key=itemgetter("id")),
        unique=("id",),
        update=update,
        where_null="ended_at",
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running call used up to now, and where."""

    admitted: Admitted
    usage: Usage
    upstream: str


def save_progress(running: Sequence[Progress], hold_ids: Sequence[int], at: datetime) -> None:
    """Note what running calls used, so that a killed process does not forget it, and that the
    process of their holds lives (C4)."""
    rows = [
        _row(
            part.admitted,
            usage=part.usage,
            cost_nanos=part.admitted.cost_nanos(part.usage),
            upstream=part.upstream,
            at=at,
        )
        for part in running
    ]
    credit.renew_holds(hold_ids, at=at)
    _write(rows, update=_PROGRESS)


def settle_orphans(*, at: datetime, limit: int = 500) -> int:
    """End completions whose process died, at what they had used when it last said so, and close its
    holds; how many completions."""
    before = at - ORPHANED_AFTER
    silent = credit.silent_holds(before=before, limit=limit)
    orphans = list(
        Completion.unscoped.running()
        .filter(Q(hold__in=silent) | Q(hold__settled_at__isnull=False, saved_at__lt=before))
        .select_related("hold")
        .order_by("pk")
    )
    charges = [credit.Charge(row.hold, row.pk, row.cost_nanos) for row in orphans if row.hold]
    with transaction.atomic():
        in_time = credit.settle_holds(charges, closing=silent, at=at)
        rows = [
            {
                "pk": row.pk,
                "status": Completion.Status.ORPHANED,
                "is_estimated": True,
                "cost_nanos": row.cost_nanos if is_charged else 0,
                "ended_at": at,
            }
            for row, is_charged in zip(orphans, in_time, strict=True)
        ]
        ended = update_rows(Completion, rows, where_null="ended_at")
        usage_days.add(Completion.unscoped.filter(pk__in=ended).values())
    return len(ended)
