"""Sockets that say exactly what a test tells them to, well-formed or not."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 20
TEXT, BINARY, CLOSE = 1, 2, 8


def address_of(url: str, **query: str) -> str:
    """Of the bridge of the server at ``url``, for one who presents ``query``."""
    asked = {"EIO": "4", "transport": "websocket", **query}
    return f"{url.replace('http', 'ws', 1)}/socket.io/?{urlencode(asked)}"


@contextmanager
def opened(url: str, **query: str) -> Iterator[ClientConnection]:
    """A WebSocket to the bridge."""
    with connect(
        address_of(url, **query), compression=None, proxy=None, max_size=None, ping_interval=None
    ) as connection:
        yield connection


def said(connection: ClientConnection, *, until: str = "") -> list[str]:
    """What the server says up to a packet that begins so, which is left out, or to the end."""
    heard: list[str] = []
    try:
        while True:
            packet = connection.recv(PATIENCE_S)
            assert isinstance(packet, str)
            if until and packet.startswith(until):
                return heard
            heard.append(packet)
    except ConnectionClosed:
        return heard


def frame(payload: bytes, opcode: int = TEXT, *, first: int = 0x80) -> bytes:
    """A WebSocket frame of a client. first: the bits around the opcode, FIN by default."""
    key = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first | opcode, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", first | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first | opcode, 0x80 | 127, size)
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload) ^ int.from_bytes(mask)
    return head + key + masked.to_bytes(size)


def plugged(url: str, **query: str) -> socket.socket:
    """A TCP connection on which the handshake of a WebSocket was answered."""
    target = urlsplit(address_of(url, **query))
    plug = socket.create_connection((target.hostname or "", target.port or 0), PATIENCE_S)
    request = (
        f"GET {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    plug.sendall(request.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        got = plug.recv(4096)
        assert got, answer
        answer += got
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return plug


def drained(plug: socket.socket) -> None:
    """Read until the server ends the connection, and answer its close as a client does."""
    unread = b""
    try:
        while got := plug.recv(65536):
            unread += got
            while (size := _size(unread)) is not None and len(unread) >= size:
                if unread[0] & 0x0F == CLOSE:
                    plug.sendall(frame(b"", CLOSE))
                unread = unread[size:]
    except (ConnectionResetError, BrokenPipeError):
        pass
    finally:
        plug.close()


def _size(unread: bytes) -> int | None:
    """Of the server's frame that begins here, with its head; None if too little is there."""
    if len(unread) < 10:
        return 2 + unread[1] if len(unread) >= 2 and unread[1] < 126 else None
    match unread[1]:
        case 126:
            return 4 + int.from_bytes(unread[2:4])
        case 127:
            return 10 + int.from_bytes(unread[2:10])
        case size:
            return 2 + size
