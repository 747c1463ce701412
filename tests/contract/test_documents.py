"""What our validator lets in, every released client accepts (trap 16)."""

import random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from orgs import documents
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
