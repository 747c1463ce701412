"""What goes to those who watch somebody else's editor, and how they begin and end.

Names of their own: a browser's own editors come under the others.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from msgspec import Raw

from bridge import watching
from bridge.events import event, ms
from bridge.hub import ClientKind, Hub, Peer, relayed, user_room
from bridge.models import Instance
from bridge.schemas import InstanceRef
from roocloud.lib.threads import run_db

#: Seconds for which a look at somebody's right to watch is good (B4).
WATCHES_S = 5.0
_RULE = "owners and admins of the instance's organization, where its policy lets them watch"


@event("editor:watch", InstanceRef, by=ClientKind.WEB, rule=_RULE)
async def watch(hub: Hub, peer: Peer, ref: InstanceRef, payload: str) -> dict[str, Any]:
    """Instead of what the socket watched before. What is not there and what is not allowed are
    answered alike (A1)."""
    until, at = monotonic() + WATCHES_S, timezone.now()
    begin = partial(
        watching.begin,
        viewer_id=peer.standing.user_id,
        organization_id=ref.organization_id,
        owner_id=ref.user_id,
        instance_id=ref.instance_id,
        signed_on=peer.standing.signed_on,
        at=at,
    )
    try:
        begun = await run_db(begin)
    except DatabaseError:
        return {"success": False, "error": "unavailable"}
    if begun is None:
        hub.watch(peer, None)
        return {"success": False, "error": "not_found"}
    found, row = begun
    if peer.sid not in hub.peers:  # its connection ended meanwhile
        return {"success": False, "error": "unavailable"}
    hub.watch(peer, found, until=until)
    await tell_owners(hub, [(found.owner_id, found.instance_id)])
    if row.is_live(at):
        peer.send(_described("instance_registered", row, at=at))
        if not row.sid:
            peer.send(_lost())
    return {"success": True}


@event("editor:unwatch", dict[str, Any], by=ClientKind.WEB, rule="the socket's own")
async def unwatch(hub: Hub, peer: Peer, nothing: dict[str, Any], payload: str) -> dict[str, Any]:
    hub.watch(peer, None)
    return {"success": True}


def _described(type_: str, row: Instance, *, at: datetime) -> str:
    document = {"type": type_, "instance": Raw(row.snapshot.encode()), "timestamp": ms(at)}
    return relayed("watch:extension_event", document)


def _lost() -> str:
    return relayed("watch:lost", {})


def show_ended(hub: Hub, row: Instance, *, at: datetime) -> None:
    """That an instance was silent for too long."""
    if row.organization_id:
        room = watching.room(row.organization_id, row.owner_id, row.instance_id)
        hub.show(room, _described("instance_unregistered", row, at=at))


def show_lost(hub: Hub, room: str) -> None:
    """That an instance's socket is gone."""
    hub.show(room, _lost())


async def renew(hub: Hub) -> None:
    """Look again whether those who watch may, and tell those who may not any more. Raises
    DatabaseError."""
    watchers = [peer for peer in hub.peers.values() if peer.watch is not None]
    if not watchers:
        return
    until = monotonic() + WATCHES_S
    looked_at = {peer: peer.watch for peer in watchers}
    asked = [one for one in set(looked_at.values()) if one is not None]
    kept = await run_db(watching.renew, asked, at=timezone.now())
    for peer, one in looked_at.items():
        if one is None or peer.watch != one:
            continue
        if one in kept:
            peer.watches_until = until
        else:
            hub.watch(peer, None)
            peer.send(relayed("watch:ended", {}))
    ended = {(one.owner_id, one.instance_id) for one in asked if one not in kept}
    await tell_owners(hub, ended)


async def tell_owners(hub: Hub, places: Iterable[tuple[str, str]]) -> None:
    """places: (owner, instance id) that somebody began or ceased to watch."""
    wanted = set(places)
    if not wanted:
        return
    owners = {owner_id for owner_id, _ in wanted}
    people = await run_db(watching.people, owners, at=timezone.now())
    for owner_id, instance_id in wanted:
        names = people.get((owner_id, instance_id), [])
        hub.emit(user_room(owner_id), watched(instance_id, names))


def watched(instance_id: str, names: list[str]) -> str:
    """What an editor's person hears of those who watch it."""
    return relayed("instance:watched", {"instanceId": instance_id, "people": names})
