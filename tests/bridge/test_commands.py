"""Commands to editors as rows (C6)."""

import json

import pytest
from django.utils import timezone

from bridge import commands
from bridge.models import Command, Instance
from bridge.schemas import AnyCommand, Reader
from bridge.tokens import Standing

START = {
    "type": "start_task", "instanceId": "window-1", "commandId": "command-1",
    "payload": {"text": "Mend it", "images": ["data:one"], "mode": "code"},
}  # fmt: skip


@pytest.fixture
def windows(alice):
    at = timezone.now()
    for name in ("window-1", "window-2"):
        Instance.unscoped.create(
            owner=alice, instance_id=name, sid=f"sid-{name}", node="node", snapshot="{}",
            first_seen_at=at, last_seen_at=at,
        )  # fmt: skip


def place(person, **changes):
    command = Reader(AnyCommand).read(json.dumps({**START, **changes}))
    standing = Standing(person.pk, may_command=True)
    [placed] = commands.place([commands.Order(standing, command, "", timezone.now())])
    return placed


def of_payload(**changes):
    return {"payload": START["payload"] | changes}


def test_the_same_under_an_id_goes_out_once(alice, windows):
    """C6: when it was sent is no part of what is asked for."""
    first, second = place(alice), place(alice, timestamp=5)

    assert first.sid == "sid-window-1"
    assert (second.command_id, second.state, second.sid) == (first.command_id, "sent", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"instanceId": "window-2"}, {"mayWait": True}, of_payload(text="Else"),
        of_payload(images=["data:two"]), of_payload(images=None), of_payload(mode="ask"),
        of_payload(providerProfile="fast"),
    ],
)  # fmt: skip
def test_anything_else_under_an_id_is_refused(alice, windows, changes):
    """C6"""
    place(alice)

    again = place(alice, **changes)

    assert (again.state, again.reason, again.sid) == ("failed", commands.KEY_REUSED, "")
    assert Command.unscoped.count() == 1


def test_starts_of_images_alone_differ(alice, windows):
    """C6"""
    place(alice, **of_payload(text="", images=["data:one"]))

    again = place(alice, **of_payload(text="", images=["data:two"]))

    assert again.reason == commands.KEY_REUSED


def test_what_has_no_fingerprint_is_known_by_its_facts(alice, windows):
    """Given to the version before, and repeated to this one."""
    first = place(alice)
    Command.unscoped.update(fingerprint="")

    assert place(alice).command_id == first.command_id
    assert place(alice, **of_payload(text="Else")).reason == commands.KEY_REUSED
