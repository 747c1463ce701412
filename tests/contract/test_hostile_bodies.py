"""F5: bodies that are no JSON, or JSON that no client writes, on every route that reads one.

Generated cases (test_fuzzing) hold what a JSON library writes; these hold what a parser reads.
"""

import re

import pytest

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from tests import factories
from tests.routes import walk

NUMBERS = [
    "1e999", "-1e999", "1e308", "-1e308", "5e-324", "1E400", "9" * 99, "9" * 101, "9" * 5000, "-0",
    "0.1e1", "123456789012345678901234567890.5", "1." + "9" * 5000, "NaN", "Infinity", "-Infinity",
]  # fmt: skip
VALUES = [
    *NUMBERS, '"\\u0000"', '"\\ud83d"', '"\\udc00\\ud83d"', '"' + "x" * 100_000 + '"', "null", "true",
    "[" * 60 + "]" * 60, "[" * 70 + "]" * 70, "[" * 50_000, '{"a":' * 50_000, "[" * 20_000 + "]" * 20_000,
    '{"a": 1, "a": 2}', "{}", "[]", '{"": {"\\u0000": 1}}', '{"__proto__": 1}',
]  # fmt: skip
SHAPES = [
    "{}", "[{}]",
    '{{"type": "LLM Completion", "properties": {{"taskId": "t", "cost": {}, "inputTokens": {}}}}}',
    '{{"type": "Task Message", "properties": {{"taskId": "t", "message": {{"ts": {}, "say": "text", "text": {}}}}}}}',
    '{{"taskId": "t", "properties": {{"mode": {}}}, "messages": [{{"ts": 1, "type": "say", "cost": {}}}]}}',
    '{{"taskId": {}, "visibility": {}}}',
    '{{"settings": {{"taskSyncEnabled": {}}}, "version": {}}}',
    '{{"json": {}}}',
]  # fmt: skip
BODIES = [
    *(shape.format(*[value] * 2).encode() for shape in SHAPES for value in VALUES),
    b"", b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf{}", b"{", b"}" * 9, b'{"a"}', b"[,]",
]  # fmt: skip
ROUTES = sorted(
    {
        "/" + re.sub(r"<[^>]+>", "1", route.path)
        for route in walk()
        if route.is_ours
        and route.view is not None
        and route.access
        and route.access.who in ("bearer", "client_token")
    }
)


@pytest.mark.parametrize("path", ROUTES)
def test_no_body_makes_a_route_fail(client, alice, acme, path):
    """F5"""
    _, client_token = factories.client_session(alice)
    headers = factories.bearer(alice, acme, "job")
    if path.startswith("/v1/"):
        headers = {"Authorization": f"Bearer {client_token}"}
    failed = []
    for method in ("POST", "PATCH", "PUT"):
        for body in BODIES:
            answer = client.generic(
                method, path, body, content_type="application/json", headers=headers
            )
            if answer.status_code == 405:
                break
            if answer.status_code >= 500:
                failed.append((method, body[:100], answer.status_code))
    assert failed == []


def test_there_are_enough_of_them():
    assert len(BODIES) >= 250
    assert len(ROUTES) >= 10


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_read_can_be_stored(body):
    """F5: losslessly, or it is refused."""
    try:
        value = wire.loads(body)
    except InvalidInput:
        return
    assert wire.loads(wire.dumps(value).encode()) == value
