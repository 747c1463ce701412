"""``/socket.io/`` over HTTP long polling, for browsers behind networks that break WebSockets. Only
they poll: editors speak WebSocket alone (trap 38). A connection lives in one process, so a balancer
has to send its requests to the same one.
"""

import asyncio
from contextlib import suppress

from bridge import handshakes, packets, sockets
from bridge.handshakes import Handshake
from bridge.hub import ClientKind, Hub, Peer
from bridge.packets import Malformed
from bridge.sockets import Bridge
from roocloud.lib.asgi import App, Receive, Scope, Send
from roocloud.lib.refusals import InvalidInput, Refusal, Unavailable
from roocloud.lib.wire import dumps

_SEPARATOR = "\x1e"
#: Packets that one request may bring, and bytes of one answer beyond its first packet.
_MOST_PACKETS, _MOST_BYTES = 500, 2**20
_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


def application(bridge: Bridge) -> App:
    """The route."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if bridge.is_ending():
                raise Unavailable("This server is restarting", retry_after_s=1)
            text = await _answer(bridge.hub(), scope, receive)
        except Refusal as refused:
            body = dumps({"error": refused.message}).encode()
            headers = [(b"content-type", b"application/json"), *_HEADERS]
            if refused.retry_after_s is not None:
                headers.append((b"retry-after", str(refused.retry_after_s).encode()))
            await _send(send, refused.status, headers, body)
        else:
            headers = [(b"content-type", b"text/plain; charset=UTF-8"), *_HEADERS]
            await _send(send, 200, headers, text.encode())

    return answer


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(hub: Hub, scope: Scope, receive: Receive) -> str:
    handshake = handshakes.read(scope)
    if handshake.kind is not ClientKind.WEB:
        raise InvalidInput("Editors connect by WebSocket", field="transport")
    if not handshake.sid:
        return await _open(hub, handshake)
    peer = sockets.polling_peer(hub, handshake)
    if peer.is_upgraded:
        raise InvalidInput("This connection goes on over its WebSocket", field="sid")
    if scope["method"] == "POST":
        return await _take(hub, peer, receive)
    return await _wait(peer, receive)


async def _open(hub: Hub, handshake: Handshake) -> str:
    peer = sockets.new_peer(handshake, await handshakes.standing_of(handshake))
    living = asyncio.create_task(_live(hub, peer, handshake.address))
    hub.living.add(living)
    living.add_done_callback(hub.living.discard)
    await asyncio.sleep(0)  # it is among the peers, or was refused
    if living.done():
        living.result()
    return packets.opening(peer.sid, max_payload=sockets.MAX_MESSAGE, upgrades=["websocket"])


async def _live(hub: Hub, peer: Peer, address: str) -> None:
    with sockets.counted(hub, address, peer):
        await peer.ended.wait()


async def _take(hub: Hub, peer: Peer, receive: Receive) -> str:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("The request was broken off")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    try:
        for text in _texts(body.decode()):
            await sockets.take(hub, peer, packets.parse(text), text)
    except (Malformed, UnicodeDecodeError):
        peer.cut()
        raise InvalidInput("This is not what a Socket.IO client sends") from None
    return "ok"


def _texts(body: str) -> list[str]:
    """The packets of a request. Raises Malformed."""
    texts = body.split(_SEPARATOR)
    if len(texts) > _MOST_PACKETS:
        raise Malformed("too many packets")
    return texts


async def _wait(peer: Peer, receive: Receive) -> str:
    """The packets that wait, or the next one: a ping comes at the latest."""
    if peer.is_polled:
        peer.cut()
        raise InvalidInput("This connection is polled already", field="sid")
    peer.is_polled = True
    waiting = asyncio.create_task(peer.next())
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return ""  # nobody reads it
        text = waiting.result()
        return packets.CLOSE if text is None else _SEPARATOR.join([text, *peer.rest(_MOST_BYTES)])
    finally:
        peer.is_polled = False
        for task in (waiting, gone):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
