"""Running the server process."""

import gc
import time
from contextlib import suppress
from socket import socket
from types import FrameType

import uvicorn
from django.conf import settings

from bridge.sockets import MAX_MESSAGE
from roocloud.entry import gate

#: Seconds between the end of the drain and the cut of what still runs.
_CUT_AFTER_S = 1


class _Server(uvicorn.Server):
    """At the first signal it lets no more requests in and waits for those under way. It goes on
    listening, so that new ones hear 503 and come back. After ROOCLOUD_DRAIN_S, or at a second
    signal, what still runs is cut, and settled as cut."""

    _signal: int | None = None
    _drain_ends_at = 0.0

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """What is loaded by now stays for good. Left out of later garbage collections, it does not
        stop every stream and socket for the 0.1 s that a look through all of it takes."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            super().handle_exit(sig, frame)
            return
        self._signal = sig
        self._drain_ends_at = time.monotonic() + settings.ROOCLOUD_DRAIN_S
        gate.is_closed = True

    async def on_tick(self, counter: int) -> bool:
        if (
            self._signal is not None
            and not self.should_exit
            and (gate.is_empty or time.monotonic() >= self._drain_ends_at)
        ):
            super().handle_exit(self._signal, None)
        return await super().on_tick(counter)


def serve(*, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. One process, one event loop: run several behind a balancer.

    Access logs are off because a query string may hold a ticket or a token (I1).
    """
    config = uvicorn.Config(
        "roocloud.asgi:application",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_CUT_AFTER_S,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=None,  # the bridge pings by itself, as Engine.IO does
        ws_per_message_deflate=False,  # 100 KB of memory for each connection
        server_header=False,
        proxy_headers=bool(settings.ROOCLOUD_TRUSTED_PROXIES),
        forwarded_allow_ips="*" if settings.ROOCLOUD_TRUSTED_PROXIES else None,
    )
    server = _Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(3)  # as uvicorn's own command does
