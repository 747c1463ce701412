"""Who asks and what policy allows, from caches of at most five seconds where they know (B4).

Caches may refuse; credit alone admits, and is asked in the database (C3).
"""

from collections.abc import Mapping
from datetime import datetime

from accounts.actors import Actor
from accounts.bearer import PROXY_KINDS, Origin, authenticate, cached_actor, presented
from credits import actions as credit
from orgs import queries as orgs
from orgs.documents import AllowList
from proxy import admission, catalogue, keeping
from proxy.admission import Order
from proxy.calls import Call
from proxy.upstream_errors import UpstreamRefused
from roocloud.lib.addresses import client_address, network_of
from roocloud.lib.fresh import Fresh
from roocloud.lib.refusals import Unauthenticated
from roocloud.lib.threads import run_db

_policies: Fresh[tuple[str, str], tuple[AllowList, str, bool]] = Fresh(age=catalogue.MAX_AGE)


async def identify(headers: Mapping[bytes, str], *, peer: str, at: datetime) -> Actor:
    """peer: the address of the connection. Raises UpstreamRefused (401)."""
    header = presented(headers.get(b"authorization"), headers.get(b"x-api-key"))
    actor = cached_actor(header, at=at, kinds=PROXY_KINDS)
    if actor is not None:
        return actor
    address = client_address(peer, headers.get(b"x-forwarded-for", ""))
    origin = Origin(network_of(address), headers.get(b"user-agent", ""))
    try:
        return await run_db(authenticate, header, at=at, kinds=PROXY_KINDS, origin=origin)
    except Unauthenticated as refused:
        raise UpstreamRefused(401, "invalid_token", refused.message) from None


async def order(actor: Actor, call: Call, *, task_id: str, at: datetime) -> Order:
    """What the call orders. Raises what admission.check raises."""
    policy = _policies.get(_key(actor), at=at)
    if policy is None:
        policy = await run_db(_policy, actor, at)
    known = catalogue.cached(at=at)
    if known is None:
        known = await run_db(catalogue.read, at=at)
    allow_list, account_id, is_kept = policy
    return admission.check(
        actor=actor,
        account_id=account_id,
        allow_list=allow_list,
        catalogue=known,
        call=call,
        task_id=task_id,
        at=at,
        is_kept=is_kept,
    )


def _key(actor: Actor) -> tuple[str, str]:
    """Of the context that pays."""
    return ("", actor.user_id) if actor.organization_id is None else (actor.organization_id, "")


def _policy(actor: Actor, at: datetime) -> tuple[AllowList, str, bool]:
    account = credit.account_of(user_id=actor.user_id, organization_id=actor.organization_id, at=at)
    allow_list = orgs.organization_settings(actor).allow_list
    found = allow_list, account.pk, keeping.keeps(actor.organization_id)
    _policies.put(_key(actor), found, at=at)
    return found
