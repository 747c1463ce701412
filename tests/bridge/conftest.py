"""A bridge with the published client on both ends: ``connect`` makes editors and browsers."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.utils import timezone

from bridge import tokens
from roocloud.asgi import application
from tests import factories
from tests.bridge.clients import PATIENCE_S, Client, Clients, running
from tests.live import serving

INSTANCE: dict[str, Any] = {
    "instanceId": "window-1",
    "userId": "user_of_the_payload",
    "workspacePath": "/home/alice/shop",
    "appProperties": {
        "appName": "roo-code", "appVersion": "3.50.0", "vscodeVersion": "1.100.0",
        "platform": "linux", "editorName": "Visual Studio Code", "hostname": "desk",
    },
    "gitProperties": {"repositoryName": "acme/shop", "defaultBranch": "main"},
    "lastHeartbeat": 1_790_000_000_000,
    "task": {"taskId": "task-1", "taskStatus": "running", "task": "Mend the till"},
    "taskHistory": ["task-0"],
    "mode": "code",
}  # fmt: skip


def instance(**changes: Any) -> dict[str, Any]:
    """An ExtensionInstance; of ``task`` the given fields are exchanged."""
    made = copy.deepcopy(INSTANCE)
    made["task"] |= changes.pop("task", {})
    return made | changes


def message(ts: int, text: str = "…", **changes: Any) -> dict[str, Any]:
    """A TaskBridgeEvent with a ClineMessage."""
    said = {"ts": ts, "type": "say", "say": "text", "text": text, "partial": False} | changes
    return {"type": "message", "taskId": "task-1", "action": "created", "message": said}


def question(ts: int, kind: str = "command", text: str = "npm test") -> dict[str, Any]:
    return message(ts, text, type="ask", say=None, ask=kind)


def token_of(person: Any, organization: Any = None, session: Any = None) -> str:
    session = session or factories.client_session(person)[0]
    actor = factories.actor(person, organization)
    actor = type(actor)(
        actor.user_id, actor.organization_id, actor.role, actor.kind, session_id=session.pk
    )
    return tokens.issue(actor, at=timezone.now())


def cookies_of(person: Any) -> str:
    """Of a browser that signed in just now by its form."""
    browser = Browser()
    browser.post("/accounts/login/", {"login": person.email, "password": factories.PASSWORD})
    return "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())


def wait_until(holds: Callable[[], bool]) -> None:
    """For what follows within a moment, such as a row after its socket."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


class World:
    """Opens editors and browsers at one server."""

    def __init__(self, clients: Clients, url: str) -> None:
        self.clients, self.url = clients, url

    def editor(
        self, token: str, *, window: str = "window-1", url: str = "", **options: Any
    ) -> Client:
        query = {"token": token, "clientType": "extension", "instanceId": window}
        return self.clients.open("editor", url or self.url, query=query, **options)

    def browser(self, cookies: str, *, url: str = "", origin: str = "", **options: Any) -> Client:
        headers = {"Cookie": cookies, "Origin": origin or settings.ROOCLOUD_PUBLIC_URL}
        return self.clients.open(
            "browser",
            url or self.url,
            query={"clientType": "web"},
            headers=headers,
            **options,
        )

    def device(self, token: str | None, *, url: str = "", acks: str = "ok") -> Client:
        """A paired one. acks: how it answers what is to be acknowledged: ok, refuse or none."""
        return self.clients.open(
            "device",
            url or self.url,
            query={"clientType": "device"},
            acks=acks,
            auth={"token": token},
            transports=["websocket"],
        )

    def working_editor(self, token: str, **changes: Any) -> Client:
        """One that has registered and publishes task-1, as an editor does at a task's start."""
        editor = self.editor(token)
        editor.wait("connect")
        editor.emit("extension:register", instance(**changes), None)
        assert editor.ask("task:join", {"taskId": "task-1"})["success"] is True
        return editor

    def following_browser(self, cookies: str) -> Client:
        browser = self.browser(cookies)
        browser.wait("connect")
        assert browser.ask("task:join", {"taskId": "task-1"})["success"] is True
        return browser


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    with running() as made:
        yield made


@pytest.fixture
def world(transactional_db, clients) -> Iterator[World]:
    with serving(application) as url:
        yield World(clients, url)
        clients.close()
