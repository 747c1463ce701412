"""Starts of tasks that wait for their editor (D1)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.signals import post_init
from django.utils import timezone

from accounts import actions
from accounts.actors import TokenKind
from audit.models import Entry
from bridge import commands, waiting
from bridge.devices import registry
from bridge.models import Command, Instance
from bridge.schemas import StartTask, StartTaskCommand
from bridge.waiting import Window
from roocloud.lib.refusals import Conflict, NotFound
from tests import factories
from tests.bridge.conftest import cookies_of, instance, token_of, wait_until
from tests.bridge.paired import paired

IDLE = {"taskId": "", "taskStatus": "none"}
START = {
    "type": "start_task", "instanceId": "window-1", "payload": {"text": "Mend the till"},
    "mayWait": True,
}  # fmt: skip


def gone_editor(world, person, **changes):
    """Whose window is closed; its token."""
    token = token_of(person)
    editor = world.working_editor(token, **changes)
    editor.emit("extension:unregister", instance(**changes), None)
    editor.close()
    wait_until(lambda: Instance.unscoped.filter(ended_at__isnull=False).exists())
    return token


def reopened(world, token, window="window-2", **changes):
    """The same folder again: an editor that was restarted has another instance id."""
    editor = world.editor(token, window=window)
    editor.wait("connect")
    editor.emit("extension:register", instance(instanceId=window, **changes), None)
    return editor


def test_it_goes_to_the_successor_of_the_window_once(world, alice):
    token = gone_editor(world, alice)
    browser = world.following_browser(cookies_of(alice))
    answer = browser.ask("extension:command", START)
    assert (answer["success"], answer["delivered"], answer["queued"]) == (True, False, True)

    editor = reopened(world, token, task=IDLE)

    [heard] = editor.wait("extension:relayed_command")
    assert (heard["type"], heard["instanceId"]) == ("start_task", "window-2")
    assert heard["payload"] == {"text": "Mend the till"}
    told = browser.wait("command:updated")[0]
    assert (told["commandId"], told["state"]) == (answer["commandId"], "sent")
    event = {"type": "taskStarted", "instance": instance(instanceId="window-2"), "timestamp": 1}
    editor.emit("extension:event", event, None)
    assert browser.wait("command:updated")[0]["state"] == "confirmed"
    again = reopened(world, token, window="window-3", task=IDLE)
    again.wait("extension:connected")
    browser.ask("extension:command", {**START, "instanceId": "window-3", "mayWait": False})
    again.wait("extension:relayed_command")
    assert editor.count("extension:relayed_command") == 1
    assert again.count("extension:relayed_command") == 1
    assert Command.unscoped.get(pk=answer["commandId"]).payload == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"workspacePath": "/home/alice/other"},
        {"appProperties": {**instance()["appProperties"], "hostname": "laptop"}},
        {"task": {"taskStatus": "running"}},
        {"task": {"taskStatus": "interactive"}},
    ],
    ids=["another folder", "another host", "a window at work", "a window that asks"],
)
def test_it_does_not_go_to(world, alice, changes):
    token = gone_editor(world, alice)
    browser = world.following_browser(cookies_of(alice))
    browser.ask("extension:command", START)

    editor = reopened(world, token, **{"task": IDLE} | changes)
    editor.wait("extension:connected")
    # What waits for a window that came later went out, so this one was looked at too.
    queued(alice, place="/later")
    later = reopened(world, token, window="window-9", task=IDLE, workspacePath="/later")

    later.wait("extension:relayed_command")
    assert editor.count("extension:relayed_command") == 0
    assert Command.unscoped.queued().count() == 1


def test_it_does_not_go_to_somebody_elses_window_of_the_same_folder(world, alice, mallory):
    """R1"""
    gone_editor(world, alice)
    world.following_browser(cookies_of(alice)).ask("extension:command", START)

    theirs = reopened(world, token_of(mallory), task=IDLE)
    theirs.wait("extension:connected")
    own = {**START, "instanceId": "window-2", "payload": {"text": "their own"}}
    world.following_browser(cookies_of(mallory)).ask("extension:command", own)

    assert theirs.wait("extension:relayed_command")[0]["payload"] == {"text": "their own"}
    assert theirs.count("extension:relayed_command") == 1


@pytest.mark.parametrize("kind", ["stop_task", "resume_task"])
def test_nothing_else_waits(world, alice, kind):
    """D3: an approval least of all; it names no instance, so it cannot even ask to."""
    gone_editor(world, alice)
    browser = world.following_browser(cookies_of(alice))

    answer = browser.ask(
        "extension:command", {**START, "type": kind, "payload": {"taskId": "task-1"}}
    )
    approval = {"type": "approve_ask", "taskId": "task-1", "askTs": 1, "mayWait": True}

    assert answer["error"] == "instance_offline"
    assert browser.ask("task:command", approval)["error"] == "task_not_found"
    assert not Command.unscoped.queued().exists()


def test_it_can_be_taken_back_by_whoever_gave_it_alone(world, alice, mallory):
    gone_editor(world, alice)
    browser = world.following_browser(cookies_of(alice))
    ref = {"commandId": browser.ask("extension:command", START)["commandId"]}

    foreign = world.browser(cookies_of(mallory))
    foreign.wait("connect")
    unknown = foreign.ask("command:cancel", {"commandId": "cmd_unknown"})
    assert foreign.ask("command:cancel", ref) == unknown | ref
    assert browser.ask("command:cancel", ref)["state"] == "cancelled"
    assert browser.ask("command:cancel", ref)["error"] == "conflict"
    assert Entry.objects.filter(action="command.cancelled").count() == 1
    assert Command.unscoped.get().payload == ""


# --- The queue itself -------------------------------------------------------------------------


def queued(person, count=1, *, place="/w", host="desk", **facts):
    at = timezone.now()
    return Command.unscoped.bulk_create(
        Command(
            id=f"cmd_{place}_{number:05}",
            key=f"{place}-{number}",
            sender=person,
            kind="start_task",
            state=Command.State.QUEUED,
            host=host,
            workspace_path=place,
            payload='{"text":"x"}',
            given_at=at + timedelta(milliseconds=number),
            expires_at=at + timedelta(days=1),
            **facts,
        )
        for number in range(count)
    )


def window_of(person, place="/w", number=0):
    return Window(f"sid_{number}", person.pk, f"window-{number}", "desk", place)


def test_a_window_gets_one_at_a_time_and_the_oldest_first(alice):
    queued(alice, 3)

    got = [waiting.claim([window_of(alice)], at=timezone.now()) for _ in range(4)]

    assert [[row.pk for _, row, _ in claimed] for claimed in got] == [
        ["cmd_/w_00000"], ["cmd_/w_00001"], ["cmd_/w_00002"], [],
    ]  # fmt: skip


def test_a_look_at_many_windows_costs_as_much_as_at_one(alice, django_assert_max_num_queries):
    windows = [window_of(alice, f"/w{number}", number) for number in range(50)]
    for number in range(50):
        queued(alice, 1, place=f"/w{number}")

    with django_assert_max_num_queries(4):
        assert len(waiting.claim(windows, at=timezone.now())) == 50


def test_what_waits_for_absent_hosts_holds_up_nobody_and_is_not_read(
    alice, bob, django_assert_max_num_queries
):
    """Ids are random, so that those of another's starts may all come first."""
    queued(alice, 1_001, place="/absent", host="gone")
    queued(alice, 5, place="/w")
    queued(bob, 1, place="/w-bob")
    mine, theirs = window_of(alice), window_of(bob, "/w-bob", 1)
    read = []

    def note(instance, **_):
        read.append(instance.pk)

    post_init.connect(note, Command)
    try:
        with django_assert_max_num_queries(4):
            claimed = waiting.claim([mine, theirs], at=timezone.now())
    finally:
        post_init.disconnect(note, Command)

    assert {row.pk for _, row, _ in claimed} == {"cmd_/w_00000", "cmd_/w-bob_00000"}
    assert sorted(read) == ["cmd_/w-bob_00000", "cmd_/w_00000"]


def test_more_than_so_many_of_one_person_do_not_wait(world, alice):
    gone_editor(world, alice)
    queued(alice, waiting.MOST_WAITING - 1)
    browser = world.following_browser(cookies_of(alice))
    last = {**START, "commandId": "the-last"}
    given = browser.ask("extension:command", last)

    refused = browser.ask("extension:command", START)

    assert given["queued"] is True
    assert (refused["success"], refused["error"]) == (False, "too_many_waiting")
    row = Command.unscoped.get(pk=refused["commandId"])
    assert (row.state, row.payload) == ("failed", "")
    assert Entry.objects.filter(action="command.refused").count() == 1
    # The repetition of what waits is no further start, and one that was taken back makes room.
    assert browser.ask("extension:command", last)["commandId"] == given["commandId"]
    browser.ask("command:cancel", {"commandId": given["commandId"]})
    assert browser.ask("extension:command", START)["queued"] is True


def test_what_waited_for_a_day_has_expired(alice):
    queued(alice, 2)
    later = timezone.now() + timedelta(days=1, seconds=1)

    assert len(waiting.claim([window_of(alice)], at=later)) == 0
    assert [row.state for row in waiting.expire(at=later)] == ["expired", "expired"]
    assert set(Command.unscoped.values_list("payload", flat=True)) == {""}


def test_processes_that_claim_cancel_and_expire_at_once_share_out_each_once(
    transactional_db, alice, bob
):
    """D1: none twice, none lost."""
    total = 300
    queued(alice, total)
    actor = factories.actor(alice, kind=TokenKind.WEB)

    def work(number):
        try:
            if number % 3 == 0:
                try:
                    waiting.cancel(command_id=f"cmd_/w_{number:05}", by=actor, at=timezone.now())
                except Conflict:
                    return []
                return [f"cmd_/w_{number:05}"]
            claimed = waiting.claim([window_of(alice, number=number)], at=timezone.now())
            return [row.pk for _, row, _ in claimed]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        taken = [pk for pks in pool.map(work, range(total)) for pk in pks]

    assert len(taken) == len(set(taken))
    ended = Command.unscoped.exclude(state=Command.State.QUEUED)
    assert set(ended.values_list("pk", flat=True)) == set(taken)
    assert ended.filter(state=Command.State.SENT, settled_at__isnull=False).count() == 0


def test_nobody_else_may_take_it_back(alice, bob):
    """A1"""
    [row] = queued(alice)

    with pytest.raises(NotFound):
        waiting.cancel(command_id=row.pk, by=factories.actor(bob), at=timezone.now())


def given_by(device, key="command-1"):
    """A start that waits for a window that was there."""
    command = StartTaskCommand(
        command_id=key, instance_id="window-1", payload=StartTask(text="x"), may_wait=True
    )
    at = timezone.now()
    by = registry.standing_of(device, at=at)
    return commands.place([commands.Order(by, command, "", at)])[0]


@pytest.fixture
def window(alice):
    """That was there a while ago."""
    ago = timezone.now() - timedelta(hours=1)
    return Instance.unscoped.create(
        owner=alice, instance_id="window-1", host="desk", workspace_path="/w", snapshot="{}",
        first_seen_at=ago, last_seen_at=ago,
    )  # fmt: skip


def test_what_a_removed_device_gave_does_not_start(alice, window):
    """D1, R4, B4: a phone that was stolen; what another one gave still waits."""
    stolen, other = paired(alice, "phone-0001").device, paired(alice, "phone-0002").device
    placed, kept = given_by(stolen), given_by(other, "command-2")
    assert (placed.state, kept.state) == ("queued", "queued")

    registry.remove(device=stolen, by=None, at=timezone.now())

    ended = Command.unscoped.get(pk=placed.command_id)
    assert (ended.state, ended.reason, ended.payload) == ("cancelled", "device_removed", "")
    [(_, row, _)] = waiting.claim([window_of(alice)], at=timezone.now())
    assert row.pk == kept.command_id


def test_nothing_starts_of_who_was_signed_out_everywhere(alice, bob):
    """B7: what a browser gave too; what others gave still waits."""
    queued(alice, 2)
    queued(bob, 1, place="/bobs")

    actions.end_other_sessions(by=factories.actor(alice), at=timezone.now())

    assert waiting.claim([window_of(alice)], at=timezone.now()) == []
    ended = Command.unscoped.filter(sender=alice).values_list("state", "reason", "payload")
    assert set(ended) == {("cancelled", "signed_out", "")}
    assert len(waiting.claim([window_of(bob, "/bobs")], at=timezone.now())) == 1


def test_what_a_removed_device_gives_yet_does_not_wait(alice, window):
    """B4: by a socket that does not know of it for a moment yet."""
    stolen = paired(alice).device
    registry.remove(device=stolen, by=None, at=timezone.now())

    placed = given_by(stolen)

    assert (placed.state, placed.reason, placed.sid) == ("failed", "device_removed", "")
    assert not Command.unscoped.queued().exists()
