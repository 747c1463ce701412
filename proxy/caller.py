"""The side of the caller, in ASGI: its body comes in, its answer or refusal goes out."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from typing import Any

from roocloud.lib.asgi import Message, Receive, Send
from roocloud.lib.refusals import Refusal

#: Seconds that a client may pause within its body, and that a refused one is given to finish it.
_BODY_PAUSE_S = 60
_DISCARD_S = 10


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Client:
    """The side of the caller. started: its answer has begun, so that an error must be an event."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.started = False
        self.extra_headers: list[tuple[bytes, bytes]] = []

    def record(self, most: int) -> "Recording":
        """Keep what goes to the client from now on, at most so many bytes. Whatever it does, it is
        taken to be there until the recording is over."""
        recording = Recording(self, self._receive, self._send, most)
        self._receive, self._send = recording.receive, recording.send
        return recording

    def restore(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def repeat(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """An answer that was recorded."""
        await self._start(status, [*headers, (b"idempotent-replayed", b"true")])
        await self.end_stream(body)

    async def body(self) -> bytes:
        """Raises ClientGone."""
        parts = []
        while True:
            async with asyncio.timeout(_BODY_PAUSE_S):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def discard_body(self) -> None:
        """Take in and drop what a refused client still sends: it would lose the answer with the
        connection."""
        try:
            async with asyncio.timeout(_DISCARD_S):
                while (message := await self._receive())["type"] == "http.request":
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return

    async def gone(self) -> None:
        """Returns when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin_stream(self, upstream: str) -> None:
        if not self.started:
            await self._start(
                200,
                [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                    (b"x-roocloud-upstream", upstream.encode("ascii", "replace")),
                ],
            )

    def write(self, data: bytes) -> Awaitable[None]:
        return self._send({"type": "http.response.body", "body": data, "more_body": True})

    def end_stream(self, data: bytes = b"") -> Awaitable[None]:
        return self._send({"type": "http.response.body", "body": data})

    async def send_json(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        standard = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await self._start(status, standard + (headers or []))
        await self.end_stream(body)

    async def refuse(self, refused: Refusal) -> None:
        """In OpenAI's envelope; after the first byte, as an event (traps 30, 32)."""
        body = json.dumps(_error_body(refused)).encode()
        if self.started:
            await self.end_stream(b"\n\ndata: " + body + b"\n\n")
            return
        headers = []
        if refused.retry_after_s is not None:
            headers.append((b"retry-after", str(refused.retry_after_s).encode()))
        await self.send_json(refused.status, body, headers)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        headers = headers + self.extra_headers
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


class Recording:
    """What an answer is made of, while it goes to its client. The last of it waits for ``finish``:
    the client shall not have the whole before it is stored. is_over: there is such a last part."""

    def __init__(self, client: Client, receive: Receive, send: Send, most: int) -> None:
        self._client = client
        self._receive = receive
        self._send = send
        self._left = most
        self._parts: list[bytes] = []
        self._last: Message | None = None
        self.is_over = False
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def body(self) -> bytes | None:
        """None for one that is too large."""
        return None if self._left < 0 else b"".join(self._parts)

    async def receive(self) -> Message:
        """Nothing more, not even that the client is gone."""
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await never

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = self._client.extra_headers
            self.status = message["status"]
            self.headers = [header for header in message["headers"] if header not in own]
        else:
            self._keep(message.get("body", b""))
            if not message.get("more_body"):
                self._last, self.is_over = message, True
                return
        await self._send(message)

    def _keep(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._parts.append(data)
        else:
            self._parts.clear()

    async def finish(self) -> None:
        """Let the client have the rest, and speak to it directly again."""
        self._client.restore(self._receive, self._send)
        if self._last is not None:
            await self._send(self._last)


def _error_body(refused: Refusal) -> dict[str, Any]:
    message = f"{refused.field}: {refused.message}" if refused.field else refused.message
    error = {"message": message, "type": refused.code, "code": refused.code}
    return {"error": error | ({"param": refused.field} if refused.field else {})}
