"""The reverse proxy of docs/operator.md: TLS, forwarding headers, nothing buffered."""

import asyncio
import itertools
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme
from aiohttp import ClientSession, DummyCookieJar, web

_PER_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


class FrontDoor:
    """port: where it listens. backends: filled in once they run, and then used in turn."""

    def __init__(self, host: str, folder: Path) -> None:
        authority = trustme.CA()
        self.trusted = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.trusted))
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(self.tls)
        self.port = 0
        self._backends: Iterator[str] = iter(())

    def lead_to(self, backends: Sequence[str]) -> None:
        self._backends = itertools.cycle(backends)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _PER_CONNECTION]
        headers += [
            ("X-Forwarded-For", request.remote or ""),
            ("X-Forwarded-Proto", "https"),
        ]
        async with (
            ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False) as inside,
            inside.request(
                request.method,
                f"{next(self._backends)}{request.raw_path}",
                headers=headers,
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
            ) as answer,
        ):
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _PER_CONNECTION:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


@contextmanager
def front_door(host: str, folder: Path) -> Iterator[FrontDoor]:
    """A running one, for ``https://{host}:{port}``."""
    door = FrontDoor(host, folder)
    app = web.Application(client_max_size=100 * 2**20)
    app.router.add_route("*", "/{path:.*}", door.pass_on)
    runner = web.AppRunner(app)
    loop = asyncio.new_event_loop()

    async def open_it() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=door.tls).start()
        door.port = runner.addresses[0][1]

    loop.run_until_complete(open_it())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield door
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
