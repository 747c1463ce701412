"""What our validator lets in, every released client accepts (trap 16)."""

import random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from orgs import documents
from orgs.web_urls import is_web_url
from roocloud.lib.refusals import InvalidInput
from tests.contract.zod import problems

COUNT = 400


def value_of(rng: random.Random, kind: Any) -> Any:
    """A value that the declared type allows, often at the edge of its bounds."""
    origin = get_origin(kind)
    if origin is Annotated:
        return bounded(rng, *get_args(kind))
    if origin is Literal:
        return rng.choice(get_args(kind))
    if origin in (Union, type(int | str)):
        return value_of(rng, rng.choice([k for k in get_args(kind) if k is not UnsetType]))
    if origin is list:
        return [value_of(rng, get_args(kind)[0]) for _ in range(rng.randint(0, 3))]
    if origin is dict:
        return {
            value_of(rng, get_args(kind)[0]): value_of(rng, get_args(kind)[1])
            for _ in range(rng.randint(0, 3))
        }
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct_of(rng, kind)
    return {bool: rng.random() < 0.5, type(None): None, str: "text", int: 3, float: 0.5}[kind]


def bounded(rng: random.Random, kind: Any, meta: msgspec.Meta) -> Any:
    if kind is str:
        if meta.pattern:
            return f"cloud_{rng.randrange(10**9)}"
        return rng.choice(
            ["https://a.example/x", "é", "a" * 50, *([] if meta.min_length else [""])]
        )
    low = meta.ge if meta.ge is not None else -5
    numbers = [low, low + 1, 1000]
    return rng.choice([int(n) for n in numbers] if kind is int else [*numbers, low + 0.5])


def struct_of(rng: random.Random, shape: type[msgspec.Struct]) -> dict[str, Any]:
    made = {}
    for field in msgspec.structs.fields(shape):
        if field.default is UNSET and rng.random() < 0.5:
            continue
        made[field.encode_name] = value_of(rng, field.type)
    return made


def test_generated_documents_that_we_accept_are_accepted_by_both_versions():
    rng = random.Random(11)  # noqa: S311 - repeatable, not secret
    accepted = []
    while len(accepted) < COUNT:
        document = struct_of(rng, documents.OrganizationSettings)
        for mcp in document.get("mcps", []):
            mcp["url"] = "https://a.example/x"
            if isinstance(mcp["content"], str):
                mcp["content"] = "{}"
            else:
                for method in mcp["content"]:
                    method["content"] = "{}"
            if "authorUrl" in mcp:
                mcp["authorUrl"] = "http://b.example:8080/path?q=1"
        try:
            settings = documents.parse(document)
        except InvalidInput:
            continue
        accepted.append({"version": 1, **documents.dump(settings)})

    seen = problems([("organizationSettingsSchema", document) for document in accepted])

    objections = {problem for found in seen for version in found.values() for problem in version}
    assert objections == set()
    assert len(seen) == COUNT
    keys = {key for document in accepted for key in document}
    assert keys == {
        "version",
        *(f.encode_name for f in msgspec.structs.fields(documents.OrganizationSettings)),
    }


#: Pieces that hosts are made of, many of them traps for one parser or the other.
PIECES = [
    "a", "Ab", "exa-mple", "com", "localhost", "1", "08", "256", "999", "0x", "0x1f", "1e3", "-", "--",
    "xn--", "xn--a", "xn--mnchen-3ya", "XN--MNCHEN-3YA", "xn--strae-oqa", "xn--p1ai", "xn--4dbrk0ce",
    "xn--1-zhcc8a", "xn--fsq", "xn--n3h", "xn--osd", "xn--y9e", "xn--11b0a", "xn--xn---epa", "a_b",
    "%7a", "%zz", "", ".", "[", "]", "::1", "::", "fe80::1%25eth0", "1.2.3.4", "ffff", "v1.a", "1::2:3",
    "\x7f", "\x00", " ", "é", "ß", "\u200d", "\u00ad", "。", "\uff11", "\ud800", "@", "u:p@", ":", "*",
]  # fmt: skip
TAILS = [
    "",
    "/",
    ":80",
    ":0",
    ":65535",
    ":65536",
    ":",
    ":8080/x?y#z",
    "/a%zz",
    "?q",
    "#",
    "x/",
    "\\",
]
hosts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).flatmap(
    lambda pieces: st.sampled_from([".".join(pieces), "".join(pieces), f"[{pieces[0]}]"])
)
punycode = st.text(min_size=1, max_size=8).map(
    lambda text: "xn--" + text.encode("punycode", "surrogatepass").decode() + ".example"
)
urls = st.builds(
    "{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTPS://", "http:", "ftp://", "http:///"]),
    hosts | punycode | st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip)),
    st.sampled_from(TAILS),
)
plain_urls = st.from_regex(
    r"https?://[a-z0-9.:\[\]-]{1,20}(?::[0-9]{1,5})?(?:/[!-~]{0,10})?", fullmatch=True
)


def test_urls_that_we_accept_are_accepted_by_both_versions():
    accepted: set[str] = set()

    @settings(
        max_examples=1_000, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(url=urls | plain_urls)
    def generate(url):
        if is_web_url(url):
            accepted.add(url)

    generate()
    cases = sorted(accepted)
    mcp = {"id": "a", "name": "a", "description": "", "content": "{}"}
    seen = problems([("mcpMarketplaceItemSchema", {"type": "mcp", **mcp, "url": u}) for u in cases])

    refused = [url for url, found in zip(cases, seen, strict=True) if any(found.values())]
    assert refused == []
    assert all(found for found in seen)
    assert len(accepted) > 100
