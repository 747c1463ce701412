"""Two bridges on Redis are restarted one after the other, with editors and a browser that the
published client plays."""

import asyncio
import time

import pytest

from roocloud.editor import Editor
from tests.bridge.clients import running
from tests.bridge.conftest import instance, message
from tests.e2e.balancer import balancer
from tests.e2e.conftest import is_well
from tests.e2e.test_round import PASSWORD, PEOPLE, TOKEN

pytestmark = pytest.mark.postgresql

EDITORS = 8
BACK_S = 5
#: As editors come back: protocol/bridge.md §3.
SCHEDULE = {"reconnectionDelay": 1_000, "reconnectionDelayMax": 30_000}


@pytest.fixture
def door():
    with balancer(is_well) as made:
        yield made


async def signed_in(url):
    """The cookies of a browser."""
    async with Editor([url]) as browser:
        await browser.sign_in("alice@acme.example", PASSWORD, organization_id="")
        return "; ".join(f"{one.key}={one.value}" for one in browser._http.cookie_jar)


async def bridge_token(url, job_token):
    async with Editor([url]) as editor:
        headers = {"Authorization": f"Bearer {job_token}"}
        async with editor._http.get(
            f"{url}/api/extension/bridge/config", headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["token"]


class Windows:
    """Editors that register and join at each connection, as the extension does."""

    def __init__(self, clients, url, token):
        self.token, self.url, self.clients = token, url, clients
        self.editors = [self.open(f"window-{number}") for number in range(EDITORS)]
        for number, editor in enumerate(self.editors):
            self.register(number)
            editor.ask("task:join", {"taskId": f"task-{number}"})

    def open(self, window):
        query = {"token": self.token, "clientType": "extension", "instanceId": window}
        editor = self.clients.open("editor", self.url, query=query, **SCHEDULE)
        editor.wait("connect")
        return editor

    def register(self, number):
        described = instance(
            instanceId=f"window-{number}",
            workspacePath=f"/w/{number}",
            task={"taskId": f"task-{number}"},
        )
        self.editors[number].emit("extension:register", described, None)
        self.editors[number].emit("task:join", {"taskId": f"task-{number}"}, None)

    def come_back(self):
        """Wait for those that were cut; how many have been so far."""
        for editor in self.editors:
            editor.ask("task:leave", {"taskId": "-"})  # answered once it is connected
        cut = [number for number, editor in enumerate(self.editors) if editor.count("disconnect")]
        for number in cut:
            self.register(number)
        return len(cut)


def heard_from_all(browser, windows, ts):
    """Each editor's task reaches the browser; what is published until rooms are joined everywhere
    may be missed."""
    left = set(range(EDITORS))
    deadline = time.monotonic() + 20
    while left:
        assert time.monotonic() < deadline, f"nothing heard from {left}"
        for number in left:
            event = message(ts, "here") | {"taskId": f"task-{number}"}
            windows.editors[number].emit("task:event", event, None)
        while left:
            try:
                fits = lambda e: e["message"]["ts"] == ts  # noqa: E731
                [event] = browser.wait("task:relayed_event", fits, patience_s=1)
            except AssertionError:
                break
            left.discard(int(event["taskId"].removeprefix("task-")))


def test_a_rolling_restart_loses_no_editor_and_no_start_that_waits(launch, door):
    """Every editor is back by itself within five seconds; a waiting start arrives once (D1)."""
    made = launch.embedded(processes=2, env={"ROOCLOUD_PUBLIC_URL": door.url})
    door.backends = list(made.urls)
    *_, job_token = made.manage_all(PEOPLE, TOKEN)
    cookies = asyncio.run(signed_in(door.url))
    token = asyncio.run(bridge_token(door.url, job_token))
    with running() as clients:
        windows = Windows(clients, door.url, token)
        browser = clients.open(
            "browser",
            door.url,
            query={"clientType": "web"},
            headers={"Cookie": cookies, "Origin": door.url},
            **SCHEDULE,
        )
        browser.wait("connect")
        follow(browser)
        heard_from_all(browser, windows, 1)
        gone = windows.open("window-gone")
        place = {"workspacePath": "/w/gone", "instanceId": "window-gone"}
        gone.emit(
            "extension:register", instance(**place, task={"taskId": "", "taskStatus": "none"}), None
        )
        gone.wait("extension:connected")
        gone.emit("extension:unregister", instance(**place), None)
        browser.wait(
            "extension:relayed_event",
            lambda e: e["type"] == "instance_unregistered",
        )
        gone.close()
        start = {"type": "start_task", "instanceId": "window-gone", "payload": {"text": "x"}}
        given = browser.ask("extension:command", {**start, "mayWait": True, "commandId": "c-1"})
        assert given["queued"] is True

        for number, url in enumerate(made.urls):
            made.processes[number].terminate()
            made.processes[number].wait(timeout=30)
            began = time.monotonic()
            cut = windows.come_back()
            assert time.monotonic() - began < BACK_S
            assert 0 < cut < EDITORS or number, "each process held some"
            launch.start_again(made, url)
            if browser.count("disconnect") == browser.count("connect"):
                browser.wait("connect")
            follow(browser)
            heard_from_all(browser, windows, 10 + number)

        assert all(editor.count("connect_error") == 0 for editor in windows.editors)
        back = windows.open("window-back")
        idle = {"taskId": "", "taskStatus": "none"}
        back.emit(
            "extension:register",
            instance(instanceId="window-back", workspacePath="/w/gone", task=idle),
            None,
        )
        [heard] = back.wait("extension:relayed_command")
        assert heard["payload"] == {"text": "x"}
        again = browser.ask("extension:command", {**start, "mayWait": True, "commandId": "c-1"})
        assert again["commandId"] == given["commandId"]
        heard_from_all(browser, windows, 20)
        assert back.count("extension:relayed_command") == 1


def follow(browser):
    for number in range(EDITORS):
        browser.ask("task:join", {"taskId": f"task-{number}"})
