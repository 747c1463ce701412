"""Running the server process."""

import uvicorn
from django.conf import settings

#: Bytes; the same limit as the bridge will set, since the smallest of several is the one in force.
MAX_SOCKET_MESSAGE = 50 * 2**20
#: Seconds that open connections are given at shutdown; without a limit one open poll holds it up.
GRACE_S = 5


def serve(*, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. One process, one event loop: run several behind a balancer.

    Access logs are off because a query string may hold a ticket or a token (I1).
    """
    uvicorn.run(
        "roocloud.asgi:application",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MAX_SOCKET_MESSAGE,
        server_header=False,
        proxy_headers=bool(settings.ROOCLOUD_TRUSTED_PROXIES),
        forwarded_allow_ips="*" if settings.ROOCLOUD_TRUSTED_PROXIES else None,
    )
