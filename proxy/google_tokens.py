"""Google's access tokens, which the key of a service account is traded for.

google-auth signs and reads, in a thread; its requests go out through the one outbound client (K1).
It is an extra, so it is imported where it is used (see access). Tokens are kept in memory alone.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import aiohttp

from roocloud.lib import outbound

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_ANSWER_S = 10
_MAX_ANSWER = 2**16

#: By key: who it is, with the token that it has now.
_accounts: dict[str, "Credentials"] = {}
#: By key, on each event loop: the one request for a token that everybody waits for.
_requests: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[None]]] = (
    WeakKeyDictionary()
)


async def access_token(key: str) -> str:
    """A token that holds for some minutes at least, or as long as it can be had.

    key: the JSON of a service account. Raises google.auth.exceptions.GoogleAuthError.
    """
    from google.auth.credentials import TokenState
    from google.auth.exceptions import GoogleAuthError

    account = _accounts.get(key)
    if account is not None and account.token_state is TokenState.FRESH:
        return str(account.token)
    try:
        await asyncio.shield(_request(key))
    except GoogleAuthError:
        if account is None or account.token_state is TokenState.INVALID:
            raise
    return str(_accounts[key].token)


def forget(key: str, token: str) -> None:
    """Ask for another one next time, unless that has happened."""
    account = _accounts.get(key)
    if account is not None and account.token == token:
        account.token = None


def _request(key: str) -> asyncio.Task[None]:
    running = _requests.setdefault(asyncio.get_running_loop(), {})

    def end(task: asyncio.Task[None]) -> None:
        running.pop(key)
        if not task.cancelled():
            task.exception()  # everybody who waited for it may have gone

    if key not in running:
        running[key] = asyncio.create_task(asyncio.to_thread(_renew, key))
        running[key].add_done_callback(end)
    return running[key]


def _renew(key: str) -> None:
    from google.oauth2.service_account import Credentials

    account = _accounts.get(key) or Credentials.from_service_account_info(
        json.loads(key), scopes=_SCOPES
    )
    account.refresh(_sent)
    _accounts[key] = account


@dataclass(frozen=True, slots=True)
class _Answer:
    """As google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _sent(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **_: Any,
) -> _Answer:
    """google.auth.transport.Request, by the outbound client, on a loop of this thread's own."""
    from google.auth.exceptions import TransportError

    try:
        return asyncio.run(_asked(method, url, body, headers))
    except (aiohttp.ClientError, OSError) as fault:
        cause = getattr(fault, "os_error", fault)  # of a connection that could not be made
        raise TransportError(str(cause) or "no answer in time") from fault


async def _asked(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None
) -> _Answer:
    async with (
        asyncio.timeout(_ANSWER_S),
        outbound.errand() as session,
        session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        data = b""
        while len(data) < _MAX_ANSWER and (piece := await response.content.readany()):
            data += piece
        return _Answer(response.status, dict(response.headers), data)
