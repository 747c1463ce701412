"""Requests to issuers that organizations named: by the rules of all outbound requests (K1), and
with answers checked before allauth reads them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import msgspec
from django.conf import settings

from roocloud.lib import outbound

_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
_MAX_ANSWER = 2**20
_DISCOVERY = "/.well-known/openid-configuration"


class BadAnswer(OSError):
    """What the issuer said is not what an issuer says."""


class Discovery(msgspec.Struct):
    """What must be in the document; more is in it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str


class UserInfo(msgspec.Struct):
    sub: str
    email: str


class Answer:
    """A JSON object, as allauth reads an answer of ``requests``."""

    status_code = 200

    def __init__(self, headers: Mapping[str, str], content: bytes) -> None:
        self.headers = headers
        self.content = content

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    def raise_for_status(self) -> None:
        """Other statuses never become an answer."""


class IssuerSession:
    """As allauth uses a session of ``requests``. Every failure is an OSError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Each request has a connection of its own."""

    def get(self, url: str, **options: Any) -> Answer:
        return self.request("GET", url, **options)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
    ) -> Answer:
        """auth: what ``requests`` calls HTTPBasicAuth."""
        named = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        if auth is not None:
            named["Authorization"] = aiohttp.encode_basic_auth(auth.username, auth.password)
        if settings.PRODUCTION and not url.startswith("https://"):
            raise BadAnswer("An issuer is reached over https alone")
        try:
            answer = asyncio.run(_asked(method, url, params, data, named))
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise BadAnswer(str(fault) or "no answer in time") from fault
        _check(url, named, answer.content)
        return answer


async def _asked(
    method: str,
    url: str,
    params: Mapping[str, str] | None,
    data: Mapping[str, str] | None,
    headers: Mapping[str, str],
) -> Answer:
    async with (
        outbound.errand() as session,
        session.request(
            method,
            url,
            params=params,
            data=data,
            headers=headers,
            timeout=_TIMEOUT,
            allow_redirects=False,
        ) as response,
    ):
        if response.status not in (200, 201):
            raise BadAnswer(f"answered {response.status}")
        content = b""
        async for piece in response.content.iter_chunked(2**16):
            content += piece
            if len(content) > _MAX_ANSWER:
                raise BadAnswer("said too much")
        return Answer(response.headers, content)


def _check(url: str, headers: Mapping[str, str], content: bytes) -> None:
    """Raises BadAnswer for what would make allauth stumble."""
    kind: Any = dict[str, Any]
    if url.endswith(_DISCOVERY):
        kind = Discovery
    elif headers.get("Authorization", "").startswith("Bearer "):
        kind = UserInfo
    try:
        msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadAnswer(str(fault)) from fault


def check_issuer(issuer: str) -> None:
    """Whether its discovery document can be had and makes sense. Raises OSError."""
    answer = IssuerSession().get(f"{issuer}{_DISCOVERY}")
    named = msgspec.json.decode(answer.content, type=Discovery).issuer
    if named.rstrip("/") != issuer:
        raise BadAnswer(f"it calls itself {named[:200]}")
