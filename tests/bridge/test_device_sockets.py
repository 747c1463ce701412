"""Phones and companions on their sockets, played by the published client."""

import logging
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from bridge import sockets
from bridge.devices import registry
from bridge.devices.events import REPORTS
from bridge.devices.models import Device, QueuedCommand
from bridge.devices.orders import COMMANDS
from bridge.events import EVENTS
from bridge.hub import ClientKind
from bridge.models import Command
from roocloud.asgi import application
from tests.bridge.conftest import cookies_of, instance, message, token_of
from tests.bridge.paired import order, paired, waiting
from tests.bridge.raw import opened as opened_raw
from tests.bridge.raw import said
from tests.live import serving

State = QueuedCommand.State


def opened(world, credentials, *, url="", acks="ok"):
    client = world.device(credentials.token, url=url, acks=acks)
    client.wait("connect")
    return client


def envelope(key, target=None, **changes):
    payload = changes.pop("payload", {"text": "Mend the till"})
    return {"id": key, "timestamp": 1, "targetDeviceId": target, "payload": payload, **changes}


def settled(key, *, patience_s=10):
    deadline = time.monotonic() + patience_s
    while True:
        row = QueuedCommand.unscoped.get(key=key)
        if row.settled_at is not None or time.monotonic() > deadline:
            return row
        time.sleep(0.05)


@pytest.fixture
def phone(alice):
    return paired(alice)


@pytest.fixture
def desk(alice):
    return paired(alice, "desk-00001", kind="desktop")


class TestASocket:
    def test_is_opened_by_a_token_of_a_device_alone(self, world, alice, phone):
        """B3, R1"""
        for token in (token_of(alice), phone.refresh_token, "x", None):
            refused = world.device(token)
            assert "not valid" in refused.wait("connect_error")[0]

        opened(world, phone)

        row = Device.unscoped.get()
        assert row.is_connected(timezone.now())

    def test_ends_within_five_seconds_of_the_devices(self, world, phone):
        """B4, R4"""
        client = opened(world, phone)

        registry.remove(device=phone.device, by=None, at=timezone.now())

        began = time.monotonic()
        assert "ended" in client.wait("auth_error")[0]["message"]
        assert "not valid" in client.wait("connect_error")[0]
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("first", ["", "42[]", "40/other,", "40{", '40{"token": 5}'])
    def test_that_does_not_say_who_comes_ends(self, world, caplog, first):
        """F3: silent ones too, and those that hang up."""
        caplog.set_level(logging.ERROR)
        with (
            pytest.MonkeyPatch.context() as patch,
            opened_raw(world.url, clientType="device") as plug,
        ):
            patch.setattr(sockets, "_CONNECT_S", 0.2)
            plug.recv(5)
            if first:
                plug.send(first)
            said(plug)
        with opened_raw(world.url, clientType="device") as plug:
            plug.recv(5)
        assert [record.getMessage() for record in caplog.records] == []

    def test_makes_way_for_a_newer_one_of_the_same_device(self, world, phone, desk):
        old, new = opened(world, desk), opened(world, desk)

        old.wait("disconnect")
        old.close()

        assert opened(world, phone).ask("new_task", envelope("command-1", "desk-00001"))["success"]
        new.wait("new_task")

    def test_tells_the_others_that_it_is_there_and_goes(self, world, phone, desk):
        one = opened(world, phone)
        other = opened(world, desk)
        assert one.wait("device_status")[0]["payload"] == {
            "deviceId": "desk-00001", "status": "online",
        }  # fmt: skip

        goodbye = other.ask("device_disconnect", envelope("goodbye-1", payload={}))

        assert goodbye == {"success": True, "id": "goodbye-1", "status": "delivered"}
        assert one.wait("device_disconnect")[0]["payload"] == {"deviceId": "desk-00001"}


class TestCommands:
    def test_are_acknowledged_and_whoever_gave_them_is_told(self, world, phone, desk):
        """D1"""
        giver, taker = opened(world, phone), opened(world, desk)

        answer = giver.ask("new_task", envelope("command-1", "desk-00001"))

        assert answer == {"success": True, "id": "command-1", "status": "queued"}
        [got] = taker.wait("new_task")
        assert (got["id"], got["type"], got["sourceDeviceId"]) == (
            "command-1", "new_task", "phone-0001",
        )  # fmt: skip
        assert got["payload"] == {"text": "Mend the till"}
        told = giver.wait("sync_status")[0]
        assert told["payload"] == {"id": "command-1", "status": "acknowledged"}
        assert told["sourceDeviceId"] == "desk-00001"
        again = giver.ask("new_task", envelope("command-1", "desk-00001"))
        assert again["status"] == "duplicate"

    def test_wait_for_a_device_that_is_away(self, world, phone, desk):
        """RC12"""
        giver = opened(world, phone)
        for key in ("command-1", "command-2", "command-3"):
            giver.ask("user_message", envelope(key, "desk-00001", payload={"taskId": "a"}))

        taker = opened(world, desk)

        got = [taker.wait("user_message")[0]["id"] for _ in range(3)]
        assert got == ["command-1", "command-2", "command-3"]
        assert settled("command-3").state == State.ACKNOWLEDGED

    def test_come_again_over_the_next_socket_until_they_are_acknowledged(self, world, phone, desk):
        """D1"""
        taker = opened(world, desk, acks="none")
        waiting(desk.device, "command-1")
        taker.wait("new_task")

        taker.cut()
        taker.wait("new_task")
        taker.close()
        opened(world, desk).wait("new_task")

        assert settled("command-1").state == State.ACKNOWLEDGED

    def test_may_be_refused_by_the_device(self, world, phone, desk):
        giver = opened(world, phone)
        opened(world, desk, acks="refuse")

        giver.ask("new_task", envelope("command-1", "desk-00001"))

        told = giver.wait("sync_status")[0]["payload"]
        assert told == {"id": "command-1", "status": "failed", "error": "no such folder"}

    def test_that_no_server_can_read_are_passed_on_unread(self, world, phone, desk):
        sealed = {"ciphertext": "b3BhcXVl", "nonce": "bm9uY2U=", "senderDeviceId": "phone-0001"}
        giver, taker = opened(world, phone), opened(world, desk)

        giver.ask("new_task", envelope("command-1", "desk-00001", payload=sealed))

        assert taker.wait("new_task")[0]["payload"] == sealed

    @pytest.mark.parametrize(
        ("changes", "error", "path"),
        [
            ({"targetDeviceId": None}, "invalid_input", "targetDeviceId"),
            ({"id": "x"}, "invalid_event", "id"),
            ({"payload": "text"}, "invalid_input", "payload"),
            ({"payload": {"text": "x" * 2_000}}, "too_large", "payload"),
            ({"expiresAt": 5}, "invalid_input", "expiresAt"),
        ],
    )
    def test_that_are_wrong_are_refused_by_the_name_of_the_field(
        self, world, phone, desk, settings, changes, error, path
    ):
        """F5"""
        settings.ROOCLOUD_DEVICE_PAYLOAD_LIMIT = 1_000
        giver = opened(world, phone)

        answer = giver.ask("new_task", {**envelope("command-1", "desk-00001"), **changes})

        assert (answer["success"], answer["status"]) == (False, "rejected")
        assert (answer["error"], answer["issues"][0]["path"]) == (error, path)

    def test_of_a_device_that_was_not_confirmed_for_long_are_refused(self, world, phone, desk):
        """R2"""
        Device.unscoped.update(proven_at=timezone.now() - timedelta(days=8))

        answer = opened(world, phone).ask("new_task", envelope("command-1", "desk-00001"))

        assert answer["error"] == "forbidden"
        assert "Confirm" in answer["issues"][0]["message"]


class TestOthers:
    def test_get_nothing_and_are_told_nothing(self, world, alice, mallory, phone, desk):
        """A1, R1: over the registry of events, by somebody else's device."""
        theirs = opened(world, paired(mallory, "mallorys-phone"))
        one = opened(world, desk)
        for kind in sorted(COMMANDS):
            answer = theirs.ask(kind, envelope(f"command-{kind}", "desk-00001", payload={
                "taskId": "task-1", "text": "x",
            }))  # fmt: skip
            nobodys = theirs.ask(kind, envelope(f"another-{kind}", "desk-none1", payload={
                "taskId": "task-1", "text": "x",
            }))  # fmt: skip
            assert (answer["success"], answer["error"]) == (False, nobodys["error"])
        for kind in REPORTS:
            answer = theirs.ask(kind, envelope(f"report-{kind}", "desk-00001"))
            assert (answer["success"], answer["error"]) == (False, "device_offline")
            theirs.emit(kind, envelope(f"all-of-{kind}"))
        assert theirs.ask("device_register", envelope("register-1", payload={}))["success"]
        opened(world, phone).ask("error", envelope("fence-000", "desk-00001"))
        one.wait("error", lambda e: e["id"] == "fence-000")

        heard = {name for name, _ in one.heard}
        assert heard == {"connect", "device_status", "error"}
        assert one.count("error") == 1
        assert not QueuedCommand.unscoped.exists()

    def test_every_message_has_a_rule(self):
        """A2"""
        mine = {event.name: event for event in EVENTS.values() if event.by is ClientKind.DEVICE}

        assert set(mine) == {*COMMANDS, *REPORTS, "device_register", "device_disconnect"}
        assert all(event.rule for event in mine.values())


class TestReports:
    def test_go_to_the_device_that_is_named_or_to_all_others(self, world, alice, phone, desk):
        one, other = opened(world, phone), opened(world, desk)
        third = opened(world, paired(alice, "watch-0001"))

        answer = one.ask("tool_start", envelope("report-01", "desk-00001"))
        one.ask("tool_complete", envelope("report-02"))

        assert answer["status"] == "delivered"
        assert other.wait("tool_start")[0]["sourceDeviceId"] == "phone-0001"
        for client in (other, third):
            assert client.wait("tool_complete")[0]["id"] == "report-02"
        assert (third.count("tool_start"), one.count("tool_complete")) == (0, 0)

    def test_change_what_a_device_is_called_and_not_its_key(self, world, phone):
        """R4"""
        client = opened(world, phone)

        named = client.ask(
            "device_register", envelope("register-1", payload={"deviceName": "New name"})
        )
        keyed = client.ask(
            "device_register", envelope("register-2", payload={"publicKey": "another"})
        )

        assert named["success"] is True
        assert (keyed["error"], keyed["issues"][0]["path"]) == ("forbidden", "publicKey")
        assert Device.unscoped.get().name == "New name"


class TestEditors:
    """A stock editor as a device of its owner (protocol/bridge.md §8.2)."""

    def test_take_what_a_device_says_in_their_own_words(self, world, alice, phone):
        """D2: once, confirmed by what is seen."""
        editor = world.working_editor(token_of(alice))
        client = opened(world, phone)
        said = envelope("command-1", "window-1", payload={"taskId": "task-1", "text": "go on"})

        answer = client.ask("user_message", said)

        assert answer == {"success": True, "id": "command-1", "status": "delivered"}
        [got] = editor.wait("task:relayed_command")
        assert (got["type"], got["payload"]) == ("message", {"text": "go on"})
        editor.emit("task:event", message(9, "go on", say="user_feedback"), None)
        told = client.wait("sync_status")[0]["payload"]
        assert told == {"id": "command-1", "status": "confirmed"}
        row = Command.unscoped.get()
        assert row.device.startswith("phone-0001")
        client.ask("abort_task", envelope("command-2", "window-1", payload={"taskId": "task-1"}))
        assert editor.wait("extension:relayed_command")[0]["type"] == "stop_task"

    def test_start_what_waited_when_they_come_back(self, world, alice, phone):
        """RC12"""
        editor = world.working_editor(token_of(alice))
        client = opened(world, phone)
        editor.emit("extension:unregister", instance(), None)
        client.wait("device_disconnect")

        answer = client.ask("new_task", envelope("command-1", "window-1"))

        assert answer["status"] == "queued"

    def test_are_not_asked_for_what_they_cannot_do(self, world, alice, phone):
        world.working_editor(token_of(alice))

        answer = opened(world, phone).ask(
            "pause_task", envelope("command-1", "window-1", payload={"taskId": "task-1"})
        )

        assert (answer["status"], answer["error"]) == ("rejected", "unsupported")

    def test_are_heard_by_devices_in_theirs(self, world, alice, phone):
        client = opened(world, phone)
        editor = world.working_editor(token_of(alice))
        there = client.wait("device_status")[0]
        assert (there["sourceDeviceId"], there["payload"]["deviceName"]) == ("window-1", "desk")

        created = '{"tool": "newFileCreated", "path": "src/till.py"}'
        editor.emit("task:event", message(1, created, type="ask", say=None, ask="tool"), None)
        editor.emit("task:event", message(2, "…", say="command_output", partial=True), None)

        update = client.wait("conversation_update")[0]["payload"]
        assert (update["taskId"], update["action"], update["message"]["ts"]) == (
            "task-1", "created", 1,
        )  # fmt: skip
        assert client.wait("tool_start")[0]["payload"]["tool"] == "tool"
        assert client.wait("file_create")[0]["payload"]["path"] == "src/till.py"
        assert client.wait("tool_progress")[0]["payload"]["tool"] == "command_output"

    def test_of_others_are_not_heard_nor_commanded(self, world, alice, mallory):
        """R1"""
        editor = world.working_editor(token_of(alice))
        theirs = opened(world, paired(mallory, "mallorys-phone"))
        editor.emit("task:event", message(1), None)

        answer = theirs.ask(
            "user_message",
            envelope("command-1", "window-1", payload={"taskId": "task-1", "text": "x"}),
        )

        assert answer["error"] == "task_not_found"
        assert {name for name, _ in theirs.heard} == {"connect", "answer"}
        assert editor.count("task:relayed_command") == 0


@pytest.mark.postgresql
def test_a_device_on_one_process_is_served_by_another(world, alice, phone, desk):
    """D1: joined by Redis, which rings the bell."""
    with serving(application) as elsewhere:
        giver, taker = opened(world, phone), opened(world, desk, url=elsewhere)

        for number in range(20):
            giver.ask("new_task", envelope(f"command-{number}", "desk-00001"))

        for _ in range(20):
            taker.wait("new_task")
        giver.wait("sync_status", lambda e: e["payload"]["id"] == "command-19")
        giver.ask("tool_error", envelope("report-01", "desk-00001"))
        taker.wait("tool_error")
        editor = world.working_editor(token_of(alice))
        taker.wait("device_status", lambda e: e["sourceDeviceId"] == "window-1")
        editor.emit("task:event", message(1), None)
        taker.wait("conversation_update")


def test_a_browser_hears_of_what_a_device_gave(world, alice, phone):
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    client = opened(world, phone)

    client.ask(
        "user_message",
        envelope("command-1", "window-1", payload={"taskId": "task-1", "text": "go on"}),
    )
    editor.wait("task:relayed_command")
    editor.emit("task:event", message(9, "go on", say="user_feedback"), None)

    assert browser.wait("command:updated")[0]["key"] == "command-1"


def test_what_is_too_old_does_not_come(world, phone, desk):
    """D1"""
    ends_ms = int(timezone.now().timestamp() * 1000) + 60_000
    given = order(phone.device, "desk-00001", "command-1", expiresAt=ends_ms)
    assert given.expires_at > timezone.now()
    waiting(desk.device, "command-2", expiresAt=ends_ms)
    QueuedCommand.unscoped.update(expires_at=timezone.now() - timedelta(seconds=1))
    waiting(desk.device, "command-3")

    taker = opened(world, desk)

    assert taker.wait("new_task")[0]["id"] == "command-3"
    assert settled("command-2").state == State.EXPIRED
    assert taker.count("new_task") == 1
