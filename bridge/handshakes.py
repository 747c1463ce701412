"""Who opens a socket, as its handshake says, and what that person may do."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from django.db import DatabaseError

from accounts import browsers
from bridge import upkeep
from bridge.hub import ClientKind
from bridge.tokens import Standing
from roocloud.lib.addresses import client_address
from roocloud.lib.asgi import Scope
from roocloud.lib.batches import Batches
from roocloud.lib.ids import digest
from roocloud.lib.origins import is_own_page
from roocloud.lib.refusals import Forbidden, InvalidInput, Unauthenticated, Unavailable
from roocloud.lib.text import clean_label

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handshake:
    """credential: hash of the token, or key of the web session. address: where it comes from. sid:
    the connection that it belongs to, if it is there already."""

    kind: ClientKind
    credential: str
    address: str
    device: str
    sid: str = ""


def read(scope: Scope) -> Handshake:
    """What a request says.

    Raises InvalidInput, Unauthenticated, or Forbidden for a page of another origin (R3).
    """
    try:
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=50)
    except ValueError:
        raise InvalidInput("Too many fields") from None
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if query.get("EIO") != ["4"]:
        raise InvalidInput("Engine.IO 4 is spoken here", field="EIO")
    # A page over a WebSocket always names its origin; over HTTP its own origin need not be named.
    is_page = scope["type"] == "websocket" and query.get("clientType") == ["web"]
    if (is_page and b"origin" not in headers) or not is_own_page(headers):
        raise Forbidden("Only pages of this server may connect")
    forwarded_for = headers.get(b"x-forwarded-for", "")
    address = client_address((scope.get("client") or ("",))[0], forwarded_for)
    device = clean_label(headers.get(b"user-agent", ""), 200)
    match query.get("clientType"):
        case ["extension"]:
            token = query.get("token", [""])[0]
            if not token:
                raise Unauthenticated("A bridge token is needed")
            return Handshake(ClientKind.EXTENSION, digest(token), address, device)
        case ["device"]:  # which shows its token in its CONNECT
            return Handshake(ClientKind.DEVICE, "", address, device)
        case ["web"]:
            key = browsers.session_key(headers.get(b"cookie", ""))
            if key is None:
                raise Unauthenticated("Sign in first")
            return Handshake(ClientKind.WEB, key, address, device, query.get("sid", [""])[0])
    raise InvalidInput("Unknown kind of client", field="clientType")


async def _find(asked: Sequence[tuple[ClientKind, str]]) -> list[Standing | None]:
    found: dict[tuple[ClientKind, str], Standing | None] = {}
    for kind in ClientKind:
        credentials = [credential for which, credential in asked if which is kind]
        if credentials:
            known = await upkeep.standings_of(kind, credentials)
            found |= dict(zip(((kind, one) for one in credentials), known, strict=True))
    return [found[one] for one in asked]


_standings: Batches[tuple[ClientKind, str], Standing | None] = Batches(_find)


async def standing_of(handshake: Handshake) -> Standing | None:
    """Who comes; None for a credential that opens nothing. Raises Unavailable."""
    try:
        return await _standings.submit((handshake.kind, handshake.credential))
    except DatabaseError:
        logger.warning("A socket was not let in: the database does not answer")
        raise Unavailable("This server cannot answer right now", retry_after_s=2) from None
