"""Closed load of GET requests on kept connections; loopback only. Prints JSON.

  get_load.py --url http://127.0.0.1:8000/path --keys FILE [--conditional] [--database URL]
              [--conc 16] [--duration 4]

--keys: a bearer token a line; each connection has one. --conditional: every request names the tag
of the first answer. An answer with another status than the last of the warm-up is an error.
--database: of the server, whose transactions are counted; outside of one, a query is one.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, request: bytes, expected: bytes | None, until: float) -> None:
        self.request, self.expected, self.until = request, expected, until
        self.requests = self.errors = 0
        self.times: list[float] = []
        self.head = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.head += data
        head, found, body = self.head.partition(b"\r\n\r\n")
        if not found or len(body) < length_of(head):
            return
        self.head = b""
        now = time.perf_counter()
        self.times.append(now - self.began)
        self.requests += 1
        self.errors += self.expected is not None and head[9:12] != self.expected
        if now < self.until:
            self.ask()
        else:
            self.answer = head
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed"))


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip()
    return b""


def transactions(database: str) -> int:
    """What a database has ended so far. Its idle processes tell after ten seconds."""
    time.sleep(11)
    with psycopg.connect(database, autocommit=True) as server:
        row = server.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0


async def load(url: str, tokens: list[str], *, conc: int, seconds: float, tags: dict, expected):
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    opened = {}
    for number in range(conc):
        token = tokens[number % len(tokens)]
        more = b"If-None-Match: %s\r\n" % tags[token] if token in tags else b""
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s\r\n" % (
            parts.path.encode(), token.encode(), more,
        )  # fmt: skip
        _, connection = await loop.create_connection(
            lambda request=request: Connection(request, expected, until), parts.hostname, parts.port
        )
        opened[connection] = token
    await asyncio.gather(*(connection.done for connection in opened))
    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--keys", required=True)
    parser.add_argument("--conditional", action="store_true")
    parser.add_argument("--database")
    parser.add_argument("--conc", type=int, default=16)
    parser.add_argument("--duration", type=float, default=4)
    options = parser.parse_args()
    asyncio.run(measure(options, Path(options.keys).read_text().split()))


async def measure(options: argparse.Namespace, tokens: list[str]) -> None:
    first = await load(
        options.url, tokens, conc=max(options.conc, len(tokens)), seconds=0, tags={}, expected=None
    )
    tags = {token: header(one.answer, b"etag") for one, token in first.items()}
    if not options.conditional:
        tags = {}
    warm = await load(options.url, tokens, conc=options.conc, seconds=1, tags=tags, expected=None)
    expected = next(iter(warm)).answer[9:12]
    before = transactions(options.database) if options.database else 0
    began = time.perf_counter()
    done = await load(
        options.url, tokens, conc=options.conc, seconds=options.duration, tags=tags,
        expected=expected,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    asked = transactions(options.database) - before if options.database else 0
    times = sorted(t for one in done for t in one.times)
    requests = len(times)
    print(
        json.dumps(
            {
                "status": int(expected),
                "requests": requests,
                "requests_sent_in_all": sum(
                    one.requests for group in (first, warm, done) for one in group
                ),
                "rps": round(requests / seconds, 1),
                "queries_per_1000": round(1000 * asked / requests, 3),
                "errors": sum(one.errors for one in done),
                "latency_ms": {
                    "p50": round(1000 * times[requests // 2], 3),
                    "p99": round(1000 * times[requests * 99 // 100], 3),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
