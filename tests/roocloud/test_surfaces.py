"""Errors in the shape of their surface; paths as clients build them; nothing secret in logs."""

import json
import logging
import time

import aiohttp
import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from redis.exceptions import ConnectionError as RedisConnectionError

from roocloud import health, tasks
from roocloud.errors import Surface, surface_of
from tests import factories


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/nope", "errors"),
        ("/api/nope", "success"),
        ("/proxy/v1/nope", "error"),
        ("/trpc/nope", 0),
    ],
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_unknown_routes_and_methods_answer_in_json(client, db, path, shape, method):
    """Trap 25."""
    answer = getattr(client, method)(path, headers={"Accept": "text/html"})
    assert answer.status_code in (401, 404, 405)
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert shape == 0 or shape in body


def test_pages_get_a_page(client, db):
    answer = client.get("/nope")
    assert answer.status_code == 404
    assert b"Go to the start page" in answer.content
    assert answer.headers["X-Request-ID"].encode() in answer.content


def test_a_request_id_of_the_proxy_is_kept_and_a_bad_one_is_not(client, db):
    assert (
        client.get("/health", headers={"X-Request-ID": "abcdefgh-1"})["X-Request-ID"]
        == "abcdefgh-1"
    )
    assert client.get("/health", headers={"X-Request-ID": "<x>"})["X-Request-ID"].startswith("req_")


def test_surfaces():
    assert surface_of("/v1/me") is Surface.CLERK
    assert surface_of("/api") is Surface.API
    assert surface_of("/apix") is Surface.PAGE
    assert surface_of("/api/docs") is Surface.PAGE


@pytest.mark.parametrize(
    "path", ["/api/extension-settings", "/v1/me", "/api/extension/credit-balance"]
)
def test_a_dead_database_is_503_with_retry_after(client, alice, path):
    """E1"""
    headers = factories.bearer(alice)

    def dead(execute, sql, params, many, context):
        raise OperationalError("password=hunter2 host=db")

    with connection.execute_wrapper(dead):
        answer = client.get(path, headers=headers)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert b"hunter2" not in answer.content


@pytest.mark.django_db(transaction=True)
async def test_no_post_is_ever_redirected_and_doubled_slashes_are_one(live_url):
    """Traps 22 and 29."""
    async with aiohttp.ClientSession() as session:
        for path in (
            "/api/events/",
            "//api//events",
            "/v1/client/sign_ins/",
            "/api/extension/share/",
        ):
            async with session.post(live_url + path, json={}, allow_redirects=False) as answer:
                assert answer.status in (400, 401, 404), path
                assert "json" in answer.headers["Content-Type"]
        async with session.get(f"{live_url}//v1//me") as answer:
            assert answer.status == 401


def test_secrets_and_conversations_stay_out_of_logs_and_audit(client, alice, acme, caplog):
    """I1"""
    from audit.models import Entry

    caplog.set_level(logging.DEBUG)
    headers = factories.bearer(alice, acme)
    secret = headers["Authorization"].removeprefix("Bearer ")
    canary = "canary-conversation-text"
    message = {"ts": 1, "type": "say", "say": "text", "text": canary}
    event = {"type": "Task Message", "properties": {"taskId": "t-1", "message": message}}
    created = {"type": "Task Created", "properties": {"taskId": "t-1"}}
    for body in (created, event, {"type": 5, "x": canary}):
        client.post(
            "/api/events", json.dumps(body), content_type="application/json", headers=headers
        )
    share = {"taskId": "t-1", "visibility": "public"}
    shared = client.post(
        "/api/extension/share", json.dumps(share), content_type="application/json", headers=headers
    )
    token = shared.json()["shareUrl"].rpartition("/")[2]
    client.get(f"/share/{token}x?secret={secret}")
    client.post("/accounts/login/", {"login": alice.email, "password": factories.PASSWORD + "x"})

    logged = "\n".join(
        f"{record.getMessage()} {record.args}"
        for record in caplog.records
        if record.name != "django.db.backends"
    )
    trail = str(list(Entry.objects.values()))
    for planted in (secret, canary, factories.PASSWORD, token):
        assert planted not in logged.replace(f"/share/{token}x", ""), planted
        assert planted not in trail


class TestHealth:
    def test_names_its_parts(self, client, db, monkeypatch):
        monkeypatch.setattr(health, "_started", time.monotonic())
        assert client.get("/health").json() == {
            "status": "ok",
            "parts": {"database": True, "cache": True, "jobs": True},
        }

    def test_is_degraded_and_up_while_no_job_runs(self, client, db, monkeypatch):
        monkeypatch.setattr(health, "_started", float("-inf"))
        silent = client.get("/health")
        assert (silent.status_code, silent.json()["status"]) == (200, "degraded")
        assert silent.json()["parts"]["jobs"] is False
        tasks.sign_of_life()
        assert client.get("/health").json()["status"] == "ok"

    def test_is_down_without_a_cache(self, client, db, monkeypatch):
        def broken(*_, **__):
            raise RedisConnectionError

        monkeypatch.setattr(cache, "set", broken)
        monkeypatch.setattr(cache, "get", broken)
        down = client.get("/health")
        assert (down.status_code, down.json()["status"]) == (503, "down")


def test_the_api_is_described(client, db):
    document = json.loads(client.get("/api/docs/openapi.json").content)
    for path in (
        "/v1/client/sign_ins",
        "/api/events",
        "/proxy/v1/chat/completions",
        "/api/extension-settings",
    ):
        assert path in document["paths"]
    page = client.get("/api/docs")
    assert page.status_code == 200
