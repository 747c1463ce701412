"""How upstreams do, as an administrator sees it (PX9)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from proxy import actions, health
from proxy.models import Completion
from tests import factories

NOW = factories.NOON


@pytest.fixture
def seen(alice):
    """``seen(upstream, status=…, ago=…)`` is a completion that ended."""
    for name in ("east", "west"):
        actions.put_upstream(
            name=name, base_url="https://a.example/v1", api_key="k", by=None, at=NOW
        )

    def put(
        upstream,
        *,
        status="done",
        ago=timedelta(minutes=5),
        first_byte_ms=None,
        attempts=(),
        error="",
    ):
        return Completion.unscoped.create(
            user_id=alice.pk, model_id="v/m", upstream_name=upstream, is_stream=True, status=status,
            started_at=NOW - ago, saved_at=NOW - ago, ended_at=NOW - ago, first_byte_ms=first_byte_ms,
            attempts=list(attempts), error=error,
        )  # fmt: skip

    return put


def failure(upstream, error="upstream_failed"):
    return {"upstream": upstream, "error": error}


def of(name):
    return next(one for one in health.upstreams(at=NOW) if one.name == name)


def test_counts_successes_of_the_hour_and_the_day(seen):
    for _ in range(3):
        seen("east")
    seen("east", status="cut")
    seen("east", ago=timedelta(hours=3))
    seen("east", ago=timedelta(hours=30))
    seen("east", status="running")
    seen("west")

    assert (of("east").hour.answered, of("east").day.answered) == (4, 5)
    assert of("east").hour.success_percent == 100


def test_an_error_that_another_upstream_made_good_is_one_of_the_first(seen):
    seen("west", attempts=[failure("east")])
    seen(
        "east",
        status="failed",
        attempts=[failure("east", "upstream_timeout")],
        ago=timedelta(hours=2),
    )
    seen("east")

    assert (of("east").hour.errors, of("east").day.errors) == (1, 2)
    assert of("east").hour.success_percent == 50
    assert of("east").last_error == "upstream_failed"
    assert of("east").last_error_at == NOW - timedelta(minutes=5)
    assert of("west").day.errors == 0


def test_a_stream_that_broke_off_is_an_error_once(seen):
    seen("east", status="failed", error="upstream_failed")
    seen("east", status="failed", attempts=[failure("west")], error="broke")
    assert (of("east").day.errors, of("west").day.errors) == (2, 1)


@pytest.mark.parametrize("error", ["context_length_exceeded", "upstream_refused"])
def test_a_request_that_was_wrong_in_itself_is_no_error_of_the_upstream(seen, error):
    seen("east", status="failed", attempts=[failure("east", error)], error=error)
    assert (of("east").day.errors, of("east").day.success_percent) == (0, None)


def test_times_are_of_the_newest_answers(seen):
    for ms in range(1, 101):
        seen("east", first_byte_ms=ms)
    seen("east", first_byte_ms=99_999, ago=timedelta(days=2))
    assert (of("east").p50_ms, of("east").p95_ms) == (51, 96)
    assert (of("west").p50_ms, of("west").last_error_at) == (None, None)


def test_the_page_is_for_staff_with_the_right_and_asks_by_upstream_alone(
    client, seen, alice, django_assert_num_queries, django_assert_max_num_queries
):
    path = "/admin/proxy/upstream/health/"
    clerk = factories.user("clerk@x.example", is_staff=True)
    for person in (alice, clerk):
        client.force_login(person)
        assert client.get(path).status_code in (302, 403)

    client.force_login(factories.user("root@x.example", is_staff=True, is_superuser=True))
    assert path in client.get("/admin/proxy/upstream/").content.decode()
    Completion.unscoped.all().delete()
    client.get(path)
    with django_assert_max_num_queries(12) as few:
        assert "no traffic" in client.get(path).content.decode()
    for number in range(50):
        Completion.unscoped.create(
            user_id=alice.pk, model_id="v/m", upstream_name="east", is_stream=True, status="failed",
            started_at=timezone.now(), saved_at=timezone.now(), error=f"e{number}",
        )  # fmt: skip
    with django_assert_num_queries(len(few.captured_queries)):
        assert "0.0 %" in client.get(path).content.decode()
