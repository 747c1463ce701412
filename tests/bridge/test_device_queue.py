"""Commands that wait for devices, as rows (D1, C6)."""

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import DataError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Entry
from bridge import tasks
from bridge.devices import courier, orders, queue, registry
from bridge.devices.models import Device, QueuedCommand
from bridge.devices.queue import Acknowledgement, Reach
from roocloud.lib.refusals import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from tests.bridge.paired import bearer, order, paired, waiting

PATH = "/api/devices/desk-00001/commands"
State = QueuedCommand.State


@pytest.fixture
def phone(alice):
    return paired(alice)


@pytest.fixture
def desk(alice):
    """Connected, by the socket sid_1."""
    device = paired(alice, "desk-00001").device
    connect(device, "sid_1")
    return device


def connect(device, sid):
    Device.unscoped.filter(pk=device.pk).update(sid=sid, node="node", last_seen_at=timezone.now())


def give(phone, key, **changes):
    return orders.place_one(order(phone.device, "desk-00001", key, **changes))


def claimed(device, sid="sid_1", *, free=queue.WINDOW, at=None):
    going, _ = queue.claim([Reach(device.pk, sid, free)], at=at or timezone.now())
    return going


def keys(going):
    return [one.key for one in going]


def acknowledge(*going, fault=""):
    at = timezone.now()
    return queue.acknowledge([Acknowledgement(one, fault, at) for one in going])


def queries_of(act):
    with CaptureQueriesContext(connection) as asked:
        act()
    return len(asked)


def of_task(task_id):
    return {"type": "user_message", "payload": {"taskId": task_id, "text": "go on"}}


class TestTheOrder:
    def test_of_one_task_is_kept_and_the_next_waits_for_the_one_before(self, phone, desk):
        """D1"""
        give(phone, "first-00", **of_task("a"))
        give(phone, "second-0", **of_task("a"), priority=100)
        give(phone, "other-00", **of_task("b"))

        going = claimed(desk)
        assert keys(going) == ["first-00", "other-00"]
        assert claimed(desk) == []
        acknowledge(going[0])

        assert keys(claimed(desk)) == ["second-0"]

    def test_between_tasks_is_by_priority_and_then_by_age(self, phone, desk):
        for key, priority in (("low-0000", -1), ("old-0000", 5), ("new-0000", 5)):
            give(phone, key, **of_task(key), priority=priority)

        assert keys(claimed(desk)) == ["old-0000", "new-0000", "low-0000"]

    def test_of_what_cannot_be_read_is_that_of_the_envelope(self, phone, desk):
        sealed = {"ciphertext": "…", "nonce": "…", "senderDeviceId": "phone-0001"}
        for key in ("first-00", "second-0"):
            give(phone, key, type="user_message", taskId="a", payload=sealed)

        [going] = claimed(desk)

        assert going.key == "first-00"
        assert json.loads(going.frame[3:])[1]["payload"] == sealed

    def test_a_device_takes_so_much_at_once(self, phone, desk):
        for number in range(5):
            give(phone, f"command-{number}")

        assert len(claimed(desk, free=3)) == 3
        assert len(claimed(desk, free=9)) == 2


class TestDelivery:
    def test_is_repeated_by_a_new_socket_at_once(self, phone, desk):
        """D1"""
        give(phone, "command-1")
        assert keys(claimed(desk)) == ["command-1"]
        connect(desk, "sid_2")

        assert claimed(desk, "sid_1") == [], "it has a newer socket"
        assert keys(claimed(desk, "sid_2")) == ["command-1"]
        assert QueuedCommand.unscoped.get().retry_count == 0

    def test_is_repeated_to_a_silent_device_later_and_later_and_then_fails(self, phone, desk):
        give(phone, "command-1")
        at, waits = timezone.now(), []
        for _ in range(1 + queue.MAX_RETRIES):
            assert keys(claimed(desk, at=at)) == ["command-1"]
            due_at = QueuedCommand.unscoped.get().due_at
            assert claimed(desk, at=due_at - timedelta(seconds=0.1)) == []
            waits.append((due_at - at).total_seconds())
            at = due_at

        going, ended = queue.claim([Reach(desk.pk, "sid_1", 9)], at=at)

        assert waits == [10, 11, 12, 14]
        assert (going, [(one.key, one.state) for one in ended]) == ([], [("command-1", "failed")])

    def test_ends_with_the_acknowledgement_and_forgets_what_was_said(self, phone, desk):
        """I1"""
        give(phone, "command-1")
        [going] = claimed(desk)

        assert [one.state for one in acknowledge(going)] == ["acknowledged"]

        assert acknowledge(going) == [], "again"
        row = QueuedCommand.unscoped.get()
        assert (row.state, row.payload) == (State.ACKNOWLEDGED, "")

    def test_may_be_refused_by_the_device(self, phone, desk):
        give(phone, "command-1")

        [ended] = acknowledge(*claimed(desk), fault="no such folder")

        assert (ended.state, ended.reason) == ("failed", "no such folder")
        assert ended.sender == (phone.device.owner_id, "phone-0001")

    def test_never_comes_after_the_end(self, phone, desk):
        """D1"""
        at = timezone.now()
        ends_ms = int(at.timestamp() * 1000) + 5_000
        give(phone, "command-1", expiresAt=ends_ms, **of_task("a"))
        give(phone, "command-2", **of_task("a"))

        late = at + timedelta(seconds=6)

        assert keys(claimed(desk, at=late)) == ["command-2"]
        assert [(one.key, one.state) for one in queue.expire(at=late)] == [("command-1", "expired")]

    def test_is_for_devices_whose_rights_still_hold(self, phone, desk, alice):
        """D1, B4"""
        give(phone, "command-1")
        registry.remove(device=desk, by=None, at=timezone.now())
        assert claimed(desk) == []
        assert QueuedCommand.unscoped.get().state == State.CANCELLED

        again = paired(alice, "desk-00001").device
        connect(again, "sid_1")
        give(phone, "command-2")
        type(alice).objects.filter(pk=alice.pk).update(is_active=False)
        assert claimed(again) == []

    def test_of_what_a_removed_device_gave_does_not_happen(self, phone, desk):
        """A phone that was stolen."""
        give(phone, "command-1")

        registry.remove(device=phone.device, by=None, at=timezone.now())

        assert claimed(desk) == []

    def test_of_what_a_removed_device_gives_yet_is_refused(self, phone, desk, alice):
        """B4: by a socket that does not know of it for a moment yet."""
        registry.remove(device=phone.device, by=None, at=timezone.now())
        other = paired(alice, "phone-0002")

        refused, none, kept = orders.place(
            [
                order(phone.device, "desk-00001", "command-1"),
                order(phone.device, "no-device-1", "command-2"),
                order(other.device, "desk-00001", "command-3"),
            ]
        )

        assert isinstance(refused, Unauthenticated)
        assert isinstance(none, Unauthenticated), "nor is it asked whether it is for an editor"
        assert (kept.is_new, keys(claimed(desk))) == (True, ["command-3"])

    def test_of_what_a_removed_device_left_behind_does_not_happen(self, phone, desk):
        """B4"""
        give(phone, "command-1")
        Device.unscoped.filter(pk=phone.device.pk).update(revoked_at=timezone.now())

        assert claimed(desk) == []


class TestAnAnswer:
    """What a device says of a command, as far as a process writes it down."""

    def hub(self, *acknowledged):
        return SimpleNamespace(
            acknowledged=list(acknowledged), lost_devices=[], node="node", counts=Counter(),
            wake=lambda *_: None, emit=lambda *_: None,
        )  # fmt: skip

    @pytest.mark.parametrize("error", ["\0", "\ud800", "\0" * 200, " ", ""])
    def test_is_stored_by_either_database(self, phone, desk, error):
        give(phone, "command-1")
        [going] = claimed(desk)
        peer = SimpleNamespace(
            in_flight={going.key: going}, standing=SimpleNamespace(device_pk=desk.pk)
        )
        hub = self.hub()

        receipt = {"id": going.key, "success": False, "error": error}
        courier.hear(hub, peer, json.dumps([receipt]))
        queue.acknowledge(hub.acknowledged)

        row = QueuedCommand.unscoped.get()
        assert row.state == State.FAILED
        assert row.reason == (
            error.replace("\0", "\ufffd").replace("\ud800", "\ufffd").strip() or "refused"
        )

    def test_that_the_database_does_not_take_holds_up_no_other(self, phone, desk, monkeypatch):
        give(phone, "command-1")
        give(phone, "command-2")
        bad, good = claimed(desk)
        at = timezone.now()
        hub = self.hub(Acknowledgement(bad, "bad", at), Acknowledgement(good, "", at))
        written = []

        async def run(_, given):
            if any(one.fault for one in given):
                raise DataError
            written.extend(one.command.key for one in given)
            return []

        monkeypatch.setattr(courier, "run_db", run)

        asyncio.run(courier.Courier(hub)._write())

        assert (written, hub.acknowledged) == (["command-2"], [])

    def test_waits_for_a_database_that_is_away(self, phone, desk, monkeypatch):
        give(phone, "command-1")
        [going] = claimed(desk)
        hub = self.hub(Acknowledgement(going, "", timezone.now()))

        async def run(*_):
            raise OperationalError

        monkeypatch.setattr(courier, "run_db", run)

        with pytest.raises(OperationalError):
            asyncio.run(courier.Courier(hub)._write())
        assert len(hub.acknowledged) == 1


class TestGiving:
    def test_of_one_id_happens_once(self, phone, desk):
        """D1, C6"""
        first, second = give(phone, "command-1"), give(phone, "command-1")

        assert (first.is_new, second.is_new) == (True, False)
        assert QueuedCommand.unscoped.count() == 1
        assert Entry.objects.filter(action="device_command.queued").count() == 1

    def test_many_at_once_costs_as_many_queries_as_one(self, phone, desk):
        given = [order(phone.device, "desk-00001", f"command-{n}") for n in range(51)]

        one = queries_of(lambda: (orders.place(given[:1]), claimed(desk)))
        many = queries_of(lambda: (orders.place(given[1:]), claimed(desk)))

        assert one == many
        assert QueuedCommand.unscoped.filter(state=State.SENT).count() == 1 + queue.WINDOW

    def test_leaves_a_trace_without_words(self, phone, desk):
        """R2, I1"""
        give(phone, "command-1", payload={"taskId": "a", "text": "a secret"})

        entry = Entry.objects.get(action="device_command.queued")
        assert entry.after["source"] == "phone-0001"
        assert len(entry.after["textHash"]) == 64
        assert "secret" not in json.dumps(entry.after)

    def test_needs_a_device_that_was_confirmed_of_late(self, phone, desk):
        """R2"""
        phone.device.proven_at -= timedelta(days=8)

        with pytest.raises(Forbidden, match="Confirm this device"):
            give(phone, "command-1")

    def test_to_somebody_elses_device_is_as_to_none(self, phone, bob):
        """A1, R1"""
        paired(bob, "bobs-phone")
        for target in ("bobs-phone", "no-device"):
            with pytest.raises(NotFound, match="There is no such device"):
                orders.place_one(order(phone.device, target, "command-1"))

    def test_goes_no_further_than_the_queue_is_long(self, phone, desk, settings):
        settings.ROOCLOUD_DEVICE_QUEUE = 2
        give(phone, "command-1")
        given = [order(phone.device, "desk-00001", f"command-{n}") for n in (1, 2, 3)]

        known, new, full = orders.place(given)

        assert (known.is_new, new.is_new) == (False, True)
        assert isinstance(full, Conflict)
        assert full.field == "targetDeviceId"

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("type", {"type": "format_disk"}), ("payload", {"payload": []}),
            ("payload.taskId", {"payload": {"taskId": 5}}), ("priority", {"priority": 101}),
            ("expiresAt", {"expiresAt": 1000}), ("expiresAt", {"expiresAt": 9e12}),
            ("id", {"id": None}), ("id", {"id": "a b c d e"}), ("taskId", {"taskId": "\0"}),
            ("targetDeviceId", {"targetDeviceId": "desk\0"}),
        ],
    )  # fmt: skip
    def test_names_the_field_at_fault(self, phone, field, changes):
        """F5"""
        with pytest.raises(InvalidInput) as refused:
            order(phone.device, "desk-00001", **{"key": "command-1", **changes})

        assert refused.value.field == field

    def test_takes_no_more_than_a_mebibyte(self, phone, settings):
        settings.ROOCLOUD_DEVICE_PAYLOAD_LIMIT = 100

        with pytest.raises(TooLarge) as refused:
            order(phone.device, "desk-00001", "command-1", payload={"text": "x" * 100})

        assert refused.value.field == "payload"


class TestOverHttp:
    def post(self, client, phone, **changes):
        document = {"id": "command-1", "type": "new_task", "payload": {"text": "Mend it"}}
        key = changes.pop("key", None)
        headers = bearer(phone) | ({"Idempotency-Key": key} if key else {})
        return client.post(
            PATH, document | changes, content_type="application/json", headers=headers
        )

    def test_it_is_given_listed_and_taken_back(self, client, phone, desk):
        answer = self.post(client, phone)
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        [listed] = client.get(PATH, headers=bearer(phone)).json()["commands"]
        assert (listed["id"], listed["status"]) == ("command-1", "pending")
        assert (listed["sourceDeviceId"], "payload" in listed) == ("phone-0001", False)

        one = f"{PATH}/command-1"
        assert client.delete(one, headers=bearer(phone)).json()["status"] == "cancelled"
        told = client.get(one, headers=bearer(phone)).json()["command"]
        assert (told["id"], told["status"]) == ("command-1", "cancelled")

        assert client.delete(one, headers=bearer(phone)).status_code == 409
        assert client.delete(f"{PATH}/command-2", headers=bearer(phone)).status_code == 404
        assert claimed(desk) == []

    def test_what_went_out_is_not_taken_back(self, client, phone, desk):
        self.post(client, phone)
        claimed(desk)

        assert client.delete(f"{PATH}/command-1", headers=bearer(phone)).status_code == 409

    def test_a_key_names_the_command(self, client, phone, desk):
        """C6"""
        first = self.post(client, phone, key="the-key-of-it", id=None)
        second = self.post(client, phone, key="the-key-of-it", id=None)
        other = self.post(client, phone, key="the-key-of-it", id=None, payload={"text": "Else"})
        bad = self.post(client, phone, key="ü" * 20)

        assert first.json() == second.json() == {
            "success": True, "id": "the-key-of-it", "status": "queued",
        }  # fmt: skip
        assert ("Idempotent-Replayed" in first, "Idempotent-Replayed" in second) == (False, True)
        assert (other.status_code, bad.status_code) == (422, 400)
        assert bad.json()["field"] == "Idempotency-Key"
        assert QueuedCommand.unscoped.count() == 1

    @pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"payload": tru}', b'{"payload": 1}'])
    def test_a_bad_body_is_refused(self, client, phone, desk, body):
        """F5"""
        answer = client.post(PATH, body, content_type="application/json", headers=bearer(phone))

        assert answer.status_code == 400

    def test_a_person_takes_it_back_on_the_page(self, client, phone, desk, alice):
        client.force_login(alice)
        waiting(desk, "command-1")
        page = f"/roomote/devices/{desk.pk}"
        assert "Start of a task" in client.get(page).content.decode()

        client.post(f"{page}/commands/command-1/cancel")

        assert "Nothing waits for it" in client.get(page).content.decode()


def test_its_page_and_list_ask_as_much_for_sixty_commands_as_for_three(client, phone, desk, alice):
    client.force_login(alice)
    page = f"/roomote/devices/{desk.pk}"
    given = [order(phone.device, "desk-00001", f"command-{n}") for n in range(60)]

    def look():
        client.get(PATH, headers=bearer(phone))
        return client.get(page)

    orders.place(given[:3])
    look()  # the first use of a token is noted
    few = queries_of(look)
    orders.place(given[3:])

    assert queries_of(look) == few
    assert "Page 1 of 2" in look().content.decode()


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_by_one_key_are_one_command(alice):
    """C6"""
    phone, _ = paired(alice), paired(alice, "desk-00001")
    given = order(phone.device, "desk-00001", "command-1")

    def place(_):
        try:
            return orders.place_one(given)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(place, range(50)))

    assert sum(one.is_new for one in placed) == 1
    assert {one.key for one in placed} == {"command-1"}
    assert QueuedCommand.unscoped.count() == 1


def test_what_ended_ninety_days_ago_is_forgotten(phone, desk):
    for key in ("command-1", "command-2"):
        give(phone, key)
    acknowledge(*claimed(desk))
    old = QueuedCommand.unscoped.filter(key="command-1")
    old.update(settled_at=timezone.now() - timedelta(days=91))

    tasks.forget()

    assert QueuedCommand.unscoped.get().key == "command-2"
