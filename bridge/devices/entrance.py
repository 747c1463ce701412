"""How a device says who it is: by the token in its CONNECT, which no address or log has."""

import asyncio

import msgspec

from bridge import packets
from bridge.packets import Kind, Malformed
from roocloud.lib.asgi import Receive
from roocloud.lib.ids import digest

#: Characters that a token, and what comes with it, may have.
_MOST = 4_000


class _Auth(msgspec.Struct):
    token: str


_reader = msgspec.json.Decoder(_Auth)


async def credential(receive: Receive, *, within_s: float) -> str:
    """The hash of the token in the CONNECT that has to come first; of what is none, some hash that
    nobody has. Raises TimeoutError, and Malformed for anything else and for the end."""
    async with asyncio.timeout(within_s):
        text = (await receive()).get("text") or ""
    packet = packets.parse(text[:_MOST])
    if packet.kind is not Kind.CONNECT or packet.name != "/":
        raise Malformed("a CONNECT has to come first")
    try:
        return digest(_reader.decode(packet.payload).token)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return digest("")
