"""``/socket.io/`` over WebSocket: a plain ASGI endpoint that speaks Engine.IO 4 and Socket.IO 5.

The handshake says who comes: ``clientType=extension`` with a bridge token, ``clientType=web`` with
the cookie of a page of ours (R3), or ``clientType=device``, which shows its token in its CONNECT. A
socket is never ended by a Socket.IO disconnect, and a connect error is kept for tokens that will
never be good: an editor comes back from neither. In all other trouble the transport is closed
(trap 37).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from bridge import (
    command_events,  # noqa: F401 - it declares events
    events,
    figures,
    handshakes,
    metrics,
    packets,
    presence,
    tokens,
    upkeep,
    watch_events,
)
from bridge.devices import courier, entrance
from bridge.devices import events as devices
from bridge.handshakes import Handshake
from bridge.hub import ClientKind, Hub, Peer, user_room
from bridge.packets import Kind, Malformed, Packet
from bridge.presence import Present
from bridge.tokens import Standing
from bridge.upkeep import Upkeep
from roocloud.lib.asgi import App, Receive, Scope, Send
from roocloud.lib.batches import Batches
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import (
    Forbidden,
    InvalidInput,
    Refusal,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from roocloud.lib.threads import run_db
from roocloud.lib.wire import dumps

logger = logging.getLogger(__name__)


#: Bytes of one message: registers and heartbeats repeat the prompt with its images (trap 38).
MAX_MESSAGE = 50 * 2**20
#: Seconds from the handshake to CONNECT (F3).
_CONNECT_S = 10
#: Why a WebSocket ends: "service restart" tells the other side to come back.
_COME_BACK = 1012


class Bridge:
    """The hub of each event loop, made at its first socket, and what keeps it up."""

    def __init__(self, *, is_ending: Callable[[], bool]) -> None:
        self.is_ending = is_ending
        self._running: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Hub, Upkeep]] = (
            WeakKeyDictionary()
        )

    def hub(self) -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in self._running:
            hub = Hub(redis_url=settings.REDIS_URL, deliver=events.deliver)
            metrics.hubs.add(hub)
            kept = Upkeep(hub, is_ending=self.is_ending)
            kept.start()
            self._running[loop] = hub, kept
        return self._running[loop][0]

    async def close(self) -> None:
        """At the end of the process: what is left to write down is written."""
        hub, kept = self._running.pop(asyncio.get_running_loop(), (None, None))
        if hub is not None and kept is not None:
            await kept.stop()
            await hub.close()


def application(bridge: Bridge) -> App:
    """The endpoint."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            if bridge.is_ending():
                raise Unavailable("This server is restarting", retry_after_s=1)
            hub, handshake = bridge.hub(), handshakes.read(scope)
            if handshake.sid:
                await upgrade(hub, polling_peer(hub, handshake), receive, send)
            else:
                await _serve(hub, handshake, receive, send)
        except Refusal as refused:
            bridge.hub().counts["refused"] += 1
            await _refuse(scope, refused, send)

    return answer


def polling_peer(hub: Hub, handshake: Handshake) -> Peer:
    """The connection that a request belongs to. Raises InvalidInput for one that is not there, or
    that another browser opened."""
    peer = hub.peers.get(handshake.sid)
    if peer is None or peer.kind is not handshake.kind or peer.credential != handshake.credential:
        raise InvalidInput("This connection is not open", field="sid")
    return peer


async def upgrade(hub: Hub, peer: Peer, receive: Receive, send: Send) -> None:
    """A polling connection goes on over this WebSocket, once the probe was answered."""
    await send({"type": "websocket.accept"})
    with suppress(TimeoutError):
        async with asyncio.timeout(_CONNECT_S):
            if (await receive()).get("text") == packets.PROBE:
                await send({"type": "websocket.send", "text": packets.PROBED})
                peer.send(packets.NOOP)  # ends the request that waits, if one does
                if (await receive()).get("text") == packets.UPGRADE:
                    peer.is_upgraded = True
    if peer.is_upgraded:
        await talk(hub, peer, receive, send)
        peer.cut()
    else:
        await send({"type": "websocket.close", "code": _COME_BACK})


async def _serve_device(hub: Hub, handshake: Handshake, receive: Receive, send: Send) -> None:
    """Who comes is known by the CONNECT alone, so until then only its address is counted (F3)."""
    with _within(hub, _cap_on_address(handshake.address)):
        await send({"type": "websocket.accept"})
        opening = packets.opening(new_id("sid"), max_payload=MAX_MESSAGE, upgrades=[])
        await send({"type": "websocket.send", "text": opening})
        standing = None
        try:
            known = await entrance.credential(receive, within_s=_CONNECT_S)
            handshake = replace(handshake, credential=known)
            standing = await handshakes.standing_of(handshake)
        except (TimeoutError, Malformed, Unavailable):
            await _close(send)
            return
    if standing is None:
        hub.counts["refused"] += 1
        refusal = packets.refused("This device's token is not valid: trade it, or pair it again")
        await _close(send, refusal)
        return
    peer = new_peer(handshake, standing)
    peer.device = f"{standing.device_id} ({handshake.device})"
    try:
        with counted(hub, handshake.address, peer):
            await _connect(hub, peer, Packet(Kind.CONNECT, "/"))
            await talk(hub, peer, receive, send)
    except (TooManyRequests, DatabaseError):
        await _close(send)


async def _close(send: Send, *texts: str) -> None:
    with suppress(OSError):  # the other side is gone
        for text in texts:
            await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": _COME_BACK})


async def _serve(hub: Hub, handshake: Handshake, receive: Receive, send: Send) -> None:
    if handshake.kind is ClientKind.DEVICE:
        await _serve_device(hub, handshake, receive, send)
        return
    standing = await handshakes.standing_of(handshake)
    if standing is None and handshake.kind is ClientKind.EXTENSION:
        hub.counts["refused"] += 1
        await _turn_away(send)
        return
    peer = new_peer(handshake, standing)
    with counted(hub, handshake.address, peer):
        await send({"type": "websocket.accept"})
        peer.send(packets.opening(peer.sid, max_payload=MAX_MESSAGE, upgrades=[]))
        await talk(hub, peer, receive, send)


async def _turn_away(send: Send) -> None:
    """An editor whose token opens nothing hears so by a connect error, after which it does not try
    again (trap 37). Clients take it before their CONNECT too, so nothing waits for that (F3)."""
    await send({"type": "websocket.accept"})
    refusal = packets.refused("This bridge token is not valid or was revoked")
    opening = packets.opening(new_id("sid"), max_payload=MAX_MESSAGE, upgrades=[])
    await _close(send, opening, refusal)


def new_peer(handshake: Handshake, standing: Standing | None) -> Peer:
    """The socket of whoever comes, not yet connected. Raises Unauthenticated for nobody, and
    Forbidden where the organization has switched remote control off."""
    if standing is None:
        raise Unauthenticated("Sign in first")
    if not standing.is_on:
        # Refused before the WebSocket is there, so that the editor asks again (trap 37).
        raise Forbidden(tokens.SWITCHED_OFF)
    peer = Peer(
        sid=new_id("sid"),
        kind=handshake.kind,
        standing=standing,
        credential=handshake.credential,
        device=handshake.device,
    )
    peer.pong_due = time.monotonic() + _CONNECT_S
    peer.stands_until = time.monotonic() + upkeep.STANDS_S
    return peer


@contextmanager
def counted(hub: Hub, address: str, peer: Peer) -> Iterator[None]:
    """Around the life of a socket. Raises TooManyRequests beyond the caps on them (F3)."""
    who = f"person:{peer.standing.user_id}"
    caps = {who: settings.ROOCLOUD_BRIDGE_SOCKETS_OF_ONE, **_cap_on_address(address)}
    with _within(hub, caps):
        hub.peers[peer.sid] = peer
        hub.counts["opened"] += 1
        opened_at = time.monotonic()
        try:
            yield
        finally:
            hub.counts["closed"] += 1
            hub.counts["session_ms"] += int((time.monotonic() - opened_at) * 1000)
            del hub.peers[peer.sid]
            _leave(hub, peer)


def _cap_on_address(address: str) -> dict[str, int]:
    return {f"address:{address}": settings.ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE}


@contextmanager
def _within(hub: Hub, caps: Mapping[str, int]) -> Iterator[None]:
    """Around what is counted under each name, no more of it than its cap."""
    if any(hub.sockets[name] >= most for name, most in caps.items()):
        raise TooManyRequests("Too many sockets are open", retry_after_s=10)
    hub.sockets.update(caps.keys())
    try:
        yield
    finally:
        hub.sockets.subtract(caps.keys())
        for name in caps:
            if not hub.sockets[name]:
                del hub.sockets[name]


def _leave(hub: Hub, peer: Peer) -> None:
    for room in list(peer.rooms):
        hub.leave(peer, room)
    if peer.kind is ClientKind.DEVICE:
        devices.leave(hub, peer)
    if peer.pk and peer.instance is not None:
        hub.lost.append((peer.pk, peer.sid))
        hub.emit(user_room(peer.standing.user_id), events.lost(peer.instance.instance_id))
        if peer.standing.is_watched:
            watch_events.show_lost(hub, events.watched_room(peer))


async def talk(hub: Hub, peer: Peer, receive: Receive, send: Send) -> None:
    """Until either side ends it."""
    writing = asyncio.create_task(_write(hub, peer, send))
    reading = asyncio.create_task(_read(hub, peer, receive))
    try:
        await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)


async def _write(hub: Hub, peer: Peer, send: Send) -> None:
    with suppress(OSError):  # the other side is gone; uvicorn says so by a subclass
        while (text := await peer.next()) is not None:
            hub.counts["sent_bytes"] += len(text)
            await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": _COME_BACK})


async def _read(hub: Hub, peer: Peer, receive: Receive) -> None:
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text") or ""  # bytes are no packet that is spoken here
            await take(hub, peer, packets.parse(text), text)
    except Malformed as fault:
        logger.info("A socket is closed", extra={"fault": str(fault), "kind": peer.kind})
    except DatabaseError:
        logger.warning("A socket is closed: the database does not answer")
    except Exception:
        logger.exception("A socket is closed")
    peer.cut()


async def take(hub: Hub, peer: Peer, packet: Packet, text: str) -> None:
    """What a client sent. Raises Malformed for what ends the connection."""
    hub.counts["taken_bytes"] += len(text)
    match packet.kind:
        case Kind.EVENT if peer.is_connected:
            hub.counts["events"] += 1
            if hub.counts["events"] % figures.TIMED_EVERY:
                await _event(hub, peer, packet, text)
            else:
                began = time.monotonic()
                await _event(hub, peer, packet, text)
                metrics.timed(hub, began, time.monotonic())
        case Kind.PONG:
            if peer.is_connected:
                peer.pong_due = None
        case Kind.PING:
            peer.send(packets.PROBED if packet.name else packets.PONG)
        case Kind.CONNECT if not peer.is_connected:
            await _connect(hub, peer, packet)
        case Kind.DISCONNECT | Kind.CLOSE:
            peer.cut()
        case Kind.ACK if peer.kind is ClientKind.DEVICE:
            courier.hear(hub, peer, packet.payload)
        case Kind.ACK | Kind.NOOP:
            pass
        case _:
            raise Malformed(f"{packet.kind.value} out of turn")


async def _connect(hub: Hub, peer: Peer, packet: Packet) -> None:
    if packet.name != "/":
        peer.send(packets.refused("Invalid namespace", namespace=packet.name))
        return
    now = time.monotonic()
    peer.is_connected, peer.pong_due = True, None
    peer.ping_at = now + packets.PING_INTERVAL_MS / 1000
    peer.send(packets.connected(peer.sid))
    if peer.kind is ClientKind.DEVICE:
        await devices.enter(hub, peer)
    if peer.kind is ClientKind.WEB:
        user_id = peer.standing.user_id
        hub.enter(peer, user_room(user_id))  # first: what comes meanwhile is not missed
        for one in await _present.submit(user_id):
            peer.send(events.registered(one.snapshot, at=timezone.now()))
            if one.is_lost:
                peer.send(events.lost(one.instance_id))
            if one.people:
                peer.send(watch_events.watched(one.instance_id, one.people))


async def _live(user_ids: Sequence[str]) -> list[list[Present]]:
    found = await run_db(presence.live_of, user_ids, at=timezone.now())
    return [found.get(user_id, []) for user_id in user_ids]


_present: Batches[str, list[Present]] = Batches(_live)


async def _event(hub: Hub, peer: Peer, packet: Packet, text: str) -> None:
    declared = events.find(peer.kind, packet.name)
    if declared is None:
        _acknowledge(peer, packet, {"success": False, "error": "unknown_event"})
        return
    if time.monotonic() > peer.stands_until:
        await upkeep.look_again([peer])
        if time.monotonic() > peer.stands_until:  # it was turned out
            return
    try:
        body = declared.reader.read(packet.payload)
    except InvalidInput:
        packet = packets.again(text)
        try:
            body = declared.reader.read(packet.payload)
        except InvalidInput as fault:
            issue = {"message": fault.message, "path": fault.field or ""}
            logger.info("An event was refused", extra={"event": packet.name, "field": fault.field})
            _acknowledge(peer, packet, declared.refusal(issue))
            return
    answer = await declared.handle(hub, peer, body, packet.payload)
    if answer is not None:
        _acknowledge(peer, packet, answer)


def _acknowledge(peer: Peer, packet: Packet, answer: dict[str, Any]) -> None:
    if packet.ack_id:
        peer.send(packets.ack(packet.ack_id, answer))


async def _refuse(scope: Scope, refused: Refusal, send: Send) -> None:
    """Before the WebSocket is there, so by the status of its request; no client takes it for the
    end (trap 37)."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _COME_BACK})
        return
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", str(refused.retry_after_s).encode()))
    start = {"type": "websocket.http.response.start", "status": refused.status, "headers": headers}
    await send(start)
    body = dumps({"error": refused.message}).encode()
    await send({"type": "websocket.http.response.body", "body": body})
