"""F1: no input makes the server fail. Schemathesis over the OpenAPI document, against the real server:
3,000 cases, half of them on SQLite and half on PostgreSQL."""

import sys

import pytest
import schemathesis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from roocloud.asgi import application
from tests import factories
from tests.live import serving

WANTED = 1_500
#: Inputs an operation and way of making them: as the document allows, and as it does not.
EXAMPLES = 36
SEEDS = {"sqlite": 1, "postgresql": 2}


@pytest.fixture
def api(transactional_db):
    with serving(application) as url:
        yield schemathesis.openapi.from_url(f"{url}/api/docs/openapi.json")


def cases(operation, mode, headers) -> list[tuple[int, str]]:
    """(status, how to repeat it) of each case."""
    seen: list[tuple[int, str]] = []

    @seed(SEEDS[connection.vendor])
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case) -> None:
        answer = case.call(headers=headers)
        seen.append((answer.status_code, case.as_curl_command()[:400]))

    try:
        send()
    except Unsatisfiable:
        return seen  # nothing about the operation can be wrong
    return seen


@pytest.mark.django_db(transaction=True)
def test_no_case_is_answered_with_a_5xx(api, alice, acme, capsys):
    """F1, F5"""
    _, client_token = factories.client_session(alice)
    bearer = factories.bearer(alice, acme, "job")
    total, faults = 0, []
    for result in api.get_all_operations():
        operation = result.ok()
        is_clerk = operation.path.startswith("/v1/") and "sign_ins" not in operation.path
        headers = {"Authorization": f"Bearer {client_token}"} if is_clerk else bearer
        if operation.path.endswith("/remove"):
            headers = {}  # or every later case is a stranger's
        for mode in GenerationMode:
            seen = cases(operation, mode, headers)
            total += len(seen)
            faults += [(operation.path, *case) for case in seen if case[0] >= 500]

    with capsys.disabled():
        sys.stdout.write(
            f"\n{total} cases on {connection.vendor}, {len(faults)} answered with 5xx\n"
        )
    assert faults == []
    assert total >= WANTED
