"""What the bridge deletes after a while, and what it keeps."""

from datetime import timedelta

from django.utils import timezone

from bridge import tasks
from bridge.models import BridgeToken, Command, Instance
from tests.bridge.conftest import token_of


def ago(days):
    return timezone.now() - timedelta(days=days)


def test_tokens_of_windows_that_were_not_open_for_ninety_days_go(alice):
    token_of(alice)
    BridgeToken.unscoped.update(last_used_at=ago(91))
    token_of(alice)

    tasks.forget()

    assert BridgeToken.unscoped.get().last_used_at > ago(1)


def test_instances_that_ended_a_month_ago_go(alice):
    for number, ended in enumerate((None, ago(29), ago(31))):
        Instance.unscoped.create(
            owner=alice,
            instance_id=f"window-{number}",
            snapshot="{}",
            first_seen_at=ago(40),
            last_seen_at=ago(32),
            ended_at=ended,
        )

    tasks.forget()

    assert set(Instance.unscoped.values_list("instance_id", flat=True)) == {"window-0", "window-1"}


def test_commands_that_ended_ninety_days_ago_go_and_waiting_ones_stay(alice):
    facts = {"sender": alice, "kind": "start_task", "given_at": ago(100)}
    ended = {"state": "confirmed", "sent_at": ago(100), "settled_at": ago(91)}
    Command.unscoped.create(id="cmd_1", key="1", **facts, **ended)
    waits = {"state": "queued", "expires_at": ago(-1)}
    Command.unscoped.create(id="cmd_2", key="2", **facts, **waits)

    tasks.forget()

    assert Command.unscoped.get().pk == "cmd_2"
