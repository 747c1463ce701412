"""What an upstream is shown to prove who asks, where that is more than the stored key.

The libraries that some kinds need are extras: they are imported with the first such call, beside
the event loop.
"""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from proxy import google_tokens
from proxy.upstream_errors import UpstreamRefused
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label

if TYPE_CHECKING:
    from proxy.dialects import Dialect

_MAX_REASON = 300


class NoAccess(UpstreamRefused):
    """Nothing was sent. reason: for an administrator; the message is for whoever asked."""

    is_passing = True

    def __init__(self, status: int, code: str, message: str, *, reason: str) -> None:
        super().__init__(status, code, message)
        self.reason = reason


def check_key(api_key: str) -> None:
    """Whether it can stand in a header. Raises InvalidInput (``api_key``)."""
    if not api_key or not api_key.isascii() or any(c.isspace() for c in api_key):
        raise InvalidInput("must be a key without spaces", field="api_key")


async def secret_for(dialect: "Dialect", api_key: str, *, upstream: str) -> str:
    """What the dialect makes its headers of. upstream: its name. Raises NoAccess."""
    if not all(map(sys.modules.get, dialect.modules)):
        await asyncio.to_thread(_load, dialect.modules, upstream)
    if dialect.trades_key:
        return await _token(api_key, upstream)
    return api_key


def renewable(dialect: "Dialect", api_key: str, refused: str) -> bool:
    """Whether a new secret may be accepted where ``refused`` was not."""
    if dialect.trades_key:
        google_tokens.forget(api_key, refused)
    return dialect.trades_key


async def _token(api_key: str, upstream: str) -> str:
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        return await google_tokens.access_token(api_key)
    except GoogleAuthError as fault:
        said = clean_label(str(fault.args[0]), _MAX_REASON) if fault.args else ""
        if isinstance(fault, TransportError) or fault.retryable:
            raise NoAccess(
                502,
                "upstream_failed",
                f"The sign-in of the upstream {upstream} cannot be reached",
                reason=f"The token_uri of the key cannot be reached: {said}.",
            ) from fault
        raise NoAccess(
            502,
            "upstream_auth_failed",
            f"The upstream {upstream} does not accept this server's key. Tell an administrator.",
            reason=f"Google gives no access token for this key: {said}.",
        ) from fault


def _load(modules: tuple[str, ...], upstream: str) -> None:
    for module in modules:
        try:
            import_module(module)
        except ImportError as fault:
            package = module.partition(".")[0]
            raise NoAccess(
                502,
                "upstream_failed",
                f"This server lacks what the upstream {upstream} needs. Tell an administrator.",
                reason=f"This server lacks {package}, which this kind of upstream needs. Install "
                "requirements-extras.txt (make extras), then start the server again.",
            ) from fault
