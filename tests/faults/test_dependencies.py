"""E1: component by surface → declared behaviour while the component is down. B5: a token route that
cannot tell never says 401 or 404, on which editors delete their credentials."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from accounts import tokens
from accounts.bearer import rights_cache
from roocloud.celery import app as celery_app
from telemetry.models import Backfill
from tests import factories, outage

pytestmark = pytest.mark.django_db(transaction=True)

Calls = dict[str, Callable[[], Any]]
EVENT = {"type": "Task Created", "properties": {"taskId": "t-1"}}
SNAPSHOT = {"taskId": "t-1", "messages": [{"ts": 1, "type": "say", "say": "text", "text": "x"}]}
#: How each surface says 503, as a path into its body; None for a page.
SHAPES: dict[str, tuple[tuple[str | int, ...], object] | None] = {
    "token": (("errors", 0, "code"), "unavailable"),
    "me": (("errors", 0, "code"), "unavailable"),
    "event": (("code",), "unavailable"),
    "backfill": (("code",), "unavailable"),
    "settings": (("code",), "unavailable"),
    "models": (("error", "code"), "unavailable"),
    "trpc": ((0, "error", "json", "data", "httpStatus"), 503),
    "page": None,
    "admin": None,
    "sign-in": None,
}
#: Without the cache a sign-in is refused, since nothing counts the guesses (M1). All else works.
WITHOUT_REDIS = dict.fromkeys(SHAPES, 200) | {"sign-in": 503}


@pytest.fixture
def calls(alice, acme) -> Calls:
    """One call per surface, as alice's editor, browser and scripts make them."""
    alice.is_staff = alice.is_superuser = True
    alice.save()
    session, secret = factories.client_session(alice)
    client_token = {"Authorization": f"Bearer {secret}"}
    bearer = factories.bearer(alice, acme)
    browser, stranger = (Client(raise_request_exception=False) for _ in range(2))
    browser.force_login(alice)

    def post(path: str, body: object) -> Any:
        return stranger.post(path, body, content_type="application/json", headers=bearer)

    return {
        "token": lambda: stranger.post(
            f"/v1/client/sessions/{session.pk}/tokens",
            {"organization_id": acme.pk},
            headers=client_token,
        ),
        "me": lambda: stranger.get("/v1/me", headers=client_token),
        "event": lambda: post("/api/events", EVENT),
        "backfill": lambda: post("/api/events/backfill", SNAPSHOT),
        "settings": lambda: stranger.get("/api/extension-settings", headers=bearer),
        "models": lambda: stranger.get("/proxy/v1/models", headers=bearer),
        "trpc": lambda: stranger.get("/trpc/auth.me?batch=1", headers=bearer),
        "page": lambda: browser.get("/tasks"),
        "admin": lambda: browser.get("/admin/"),
        "sign-in": lambda: Client(raise_request_exception=False).post(
            "/accounts/login/", {"login": "bob@acme.example", "password": "wrong"}
        ),
    }


@pytest.fixture
def database_down(calls) -> Iterator[None]:
    """Once there was something in it."""
    rights_cache.clear()
    tokens.keys.forget()
    with outage.of_database():
        yield


@pytest.fixture
def closed_port() -> Iterator[int]:
    with outage.closed_port() as port:
        yield port


@pytest.fixture
def redis_down(calls, closed_port, settings, monkeypatch) -> Iterator[None]:
    """Cache and queue are where nothing answers."""
    url = f"redis://127.0.0.1:{closed_port}"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    }
    monkeypatch.setitem(celery_app.conf, "broker_url", url)
    monkeypatch.setitem(celery_app.conf, "task_always_eager", False)
    celery_app._after_fork()  # it forgets its connections
    yield
    celery_app._after_fork()


def expect_unavailable(answer: Any, name: str) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    if (shape := SHAPES[name]) is None:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"try again in a moment" in answer.content
        return
    path, said = shape
    found = answer.json()
    for step in path:
        found = found[step]
    assert found == said


@pytest.mark.parametrize("name", SHAPES)
def test_without_the_database_everything_is_unavailable(calls, database_down, name):
    expect_unavailable(calls[name](), name)


@pytest.mark.parametrize("name", SHAPES)
def test_without_redis(calls, redis_down, name):
    answer = calls[name]()
    if WITHOUT_REDIS[name] == 503:
        expect_unavailable(answer, name)
    else:
        assert answer.status_code == WITHOUT_REDIS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_with_both_everything_works(calls, name):
    """The control: the calls above are good ones."""
    assert calls[name]().status_code == 200


def test_an_upload_that_finds_no_queue_waits_for_the_sweep(calls, redis_down):
    """D4: what was answered with 200 is stored."""
    assert calls["backfill"]().status_code == 200
    waiting = Backfill.unscoped.get()
    assert waiting.state == Backfill.State.QUEUED
    with waiting.body.open("rb") as body:
        assert body.read()
