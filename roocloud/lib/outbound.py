"""The one outbound HTTP client (K1).

It connects only to addresses that are global unicast, or inside ``ROOCLOUD_INTERNAL_NETWORKS``; the
check is made on the address that is connected to, so a name that changes its mind between look-up
and connection gains nothing. Redirects are never followed, bodies never decoded.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from django.conf import settings

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

#: Seconds. Nothing limits the total: an answer may stream for an hour.
CONNECT_S = 10
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=300)
_SHORT = aiohttp.ClientTimeout(total=15, sock_connect=5)
_LIMIT = 1000


#: What is assigned to hosts. Outside of it lie loopback, site-local, IPv4-compatible and NAT64.
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")
#: What Python calls global, and is not or leads to another address than it shows.
_NOT_GLOBAL = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays to 6to4
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, around an IPv4 address
        "3fff::/20",  # documentation
    )
]


class ForbiddenAddress(OSError):
    """The host resolves to an address that this deployment does not connect to."""


def is_allowed(address: str) -> bool:
    """Whether an IP address may be connected to."""
    ip = _address(address)
    if any(ip in ipaddress.ip_network(network) for network in settings.ROOCLOUD_INTERNAL_NETWORKS):
        return True
    return is_public(address)


def is_public(address: str) -> bool:
    """Whether an IP address is of the internet, whatever the operator opened beside that."""
    ip = _address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _IPV6_UNICAST:
        return False
    return (
        ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_GLOBAL)
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(text.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


class _CheckedResolver(AbstractResolver):
    def __init__(self, allows: Callable[[str], bool]) -> None:
        self._inner = ThreadedResolver()
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [entry for entry in found if self._allows(entry["host"])]
        if not allowed:
            raise ForbiddenAddress(f"{host} is at an address that is not allowed")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class _CheckedConnector(aiohttp.TCPConnector):
    """A literal address in a URL skips the resolver, so it is checked here too."""

    def __init__(self, allows: Callable[[str], bool]) -> None:
        super().__init__(resolver=_CheckedResolver(allows), limit=_LIMIT, ttl_dns_cache=10)
        self._allows = allows

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        try:
            literal = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return await super()._resolve_host(host, port, traces)
        if not self._allows(str(literal)):
            raise ForbiddenAddress(f"{host} is an address that is not allowed")
        return await super()._resolve_host(host, port, traces)


def session() -> aiohttp.ClientSession:
    """The session of the running event loop, made on first use. Call it from a coroutine."""
    loop = asyncio.get_running_loop()
    existing = _sessions.get(loop)
    if existing is None or existing.closed:
        existing = _sessions[loop] = _new_session()
    return existing


@asynccontextmanager
async def errand() -> AsyncIterator[aiohttp.ClientSession]:
    """A session like that of the running loop, which ends with what it was made for: for commands
    and pages, whose loops end with them."""
    async with _new_session() as session:
        yield session


@asynccontextmanager
async def to_strangers() -> AsyncIterator[aiohttp.ClientSession]:
    """The same for addresses that anybody may give: those inside are closed to it, also where
    upstreams may be in them, and each call ends soon."""
    async with _new_session(is_public, timeout=_SHORT) as session:
        yield session


def _new_session(
    allows: Callable[[str], bool] = is_allowed, *, timeout: aiohttp.ClientTimeout = TIMEOUT
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_CheckedConnector(allows),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=timeout,
        trust_env=False,
    )


def visitor() -> aiohttp.ClientSession:
    """A browser-like session with cookies, for calls to this deployment's own public address, which
    the operator named: no address check, redirects by the caller's choice. The caller closes it."""
    timeout = aiohttp.ClientTimeout(total=60, sock_connect=10)
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout)


async def close() -> None:
    """End the running loop's session, for shutdown."""
    existing = _sessions.pop(asyncio.get_running_loop(), None)
    if existing is not None:
        await existing.close()
