"""K1: the one outbound client connects to nothing inside, however a URL spells it. The judge is the
interpreter itself: it reports every connect, and here it lets none through."""

import asyncio
import ipaddress
import random
import socket
import sys
from collections.abc import Iterator

import aiohttp
import pytest
import pytest_socket

from roocloud.lib import outbound

V4 = [
    "127.0.0.1", "127.255.1.2", "10.0.0.5", "172.16.3.4", "172.31.255.254", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "198.18.0.1", "192.0.2.1",  # noqa: S104
    "198.51.100.7", "203.0.113.9", "192.0.0.9", "192.88.99.1", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255",
]  # fmt: skip
V6 = [
    "::", "::1", "0:0:0:0:0:0:0:1", "fe80::1", "fe80::1%25lo", "fe80::1%25eth0", "febf::1",
    "fec0::1", "feff::1", "fc00::1", "fd12:3456::1", "ff02::1", "ff0e::1", "100::1", "100:0:0:1::1",
    "2001::1", "2001:0:53aa:64c:0:5efe:80ff:fffe", "2001:2::1", "2001:10::1", "2001:20::1",
    "2001:db8::1", "2002::1", "3fff::1", "3fff:fff::1", "5f00::1", "4000::1", "::ffff:0:7f00:1",
]  # fmt: skip
NAMES = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a@localhost",
    "a:b@127.0.0.1",
    "example.com@[::1]",
]
OUTSIDE = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "2a00:1450:4001::5"]


def spellings(address: str) -> Iterator[str]:
    """Hosts of URLs that some parser on the way takes for an IPv4 address."""
    a, b, c, d = (int(part) for part in address.split("."))
    whole = int(ipaddress.IPv4Address(address))
    low, high = f"{whole & 0xFFFF:x}", f"{whole >> 16:x}"
    yield from (address, f"{address}.", f"0{address}", str(whole), f"{whole:#x}", f"0{whole:o}")
    yield from (f"{whole:#X}", f"{whole:#012x}", f"{whole + 2**32}")
    yield from (f"{a}.{whole & 0xFFFFFF}", f"{a}.{b}.{whole & 0xFFFF}", f"{a:#x}.{b}.{c}.0{d:o}")
    yield ".".join(f"{part:#x}" for part in (a, b, c, d))
    yield ".".join(f"0{part:o}" for part in (a, b, c, d))
    yield ".".join(f"{part:04o}" for part in (a, b, c, d))
    yield ".".join(f"{part:03d}" for part in (a, b, c, d))
    yield address.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
    yield address.replace(".", "\u3002")
    yield address.replace(".", "%2E")
    yield from (f"[::ffff:{address}]", f"[::ffff:{high}:{low}]", f"[0:0:0:0:0:FFFF:{high}:{low}]")
    yield from (f"[::{address}]", f"[::{high}:{low}]", f"[::ffff:0:{address}]")
    yield from (f"[64:ff9b::{address}]", f"[64:ff9b:1::{high}:{low}]", f"[2002:{high}:{low}::]")
    yield f"[2001:0:{high}:{low}:0:ffff:{whole >> 16 ^ 0xFFFF:x}:{whole & 0xFFFF ^ 0xFFFF:x}]"
    yield f"[::ffff:{address}%25lo]"


HOSTS = [*(s for address in V4 for s in spellings(address)), *(f"[{a}]" for a in V6), *NAMES]


class _Judge:
    """connects: addresses that sockets were about to connect to, since it was armed."""

    def __init__(self) -> None:
        self.armed = False
        self.connects: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and self.armed:
            address = arguments[1]
            self.connects.append(address[0] if isinstance(address, tuple) else repr(address))
            raise ConnectionRefusedError("the judge lets nothing through")


_judge = _Judge()
sys.addaudithook(_judge)  # for ever: the interpreter has no way to take one back


@pytest.fixture
def judge() -> Iterator[_Judge]:
    pytest_socket._remove_restrictions()  # for this test: they would hide what the judge must see
    _judge.connects, _judge.armed = [], True
    yield _judge
    _judge.armed = False


@pytest.fixture
async def ask():
    """Asks for URLs, and says what came of each."""

    async def get(url: str) -> str:
        try:
            async with outbound.session().get(url, allow_redirects=False):
                return "answered"
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            return type(fault).__name__

    yield get
    await outbound.close()


async def test_no_spelling_of_an_inner_address_is_connected_to(ask, judge, settings):
    settings.ROOCLOUD_INTERNAL_NETWORKS = []
    assert len(HOSTS) >= 400
    seen = [
        await ask(f"{scheme}://{host}:8080/v1") for host in HOSTS for scheme in ("http", "https")
    ]
    assert judge.connects == []
    assert "answered" not in seen


@pytest.mark.parametrize("address", OUTSIDE)
async def test_outer_addresses_are(ask, judge, settings, address):
    """The control: the judge sees connects, and the client tries them."""
    settings.ROOCLOUD_INTERNAL_NETWORKS = []
    host = f"[{address}]" if ":" in address else address
    await ask(f"http://{host}/v1")
    assert judge.connects == [address]


async def test_inner_addresses_are_where_the_operator_said_so(ask, judge, settings):
    settings.ROOCLOUD_INTERNAL_NETWORKS = ["127.0.0.0/8", "fd12::/16"]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[fd12::1]", "10.0.0.1", "[::1]"):
        await ask(f"http://{host}:9/")
    assert {ipaddress.ip_address(a) for a in judge.connects} == {
        ipaddress.ip_address(a) for a in ("127.0.0.1", "::ffff:127.0.0.1", "fd12::1")
    }


async def test_a_name_that_changes_its_mind_gains_nothing(ask, judge, settings, monkeypatch):
    """10,000 tries on a resolver that answers at random, out, in and both, and never twice alike."""
    settings.ROOCLOUD_INTERNAL_NETWORKS = []
    dice, asked = random.Random(1), []  # noqa: S311 - reproducible on purpose

    def resolve(host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 - as in socket
        asked.append(host)
        chosen = [dice.choice(V4 + OUTSIDE[:2] * 10) for _ in range(dice.randint(1, 3))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in chosen]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for start in range(0, 10_000, 200):
        await asyncio.gather(*(ask(f"http://r{n}.example/") for n in range(start, start + 200)))

    assert set(judge.connects) == set(OUTSIDE[:2])
    assert len(asked) == len(set(asked)) == 10_000
