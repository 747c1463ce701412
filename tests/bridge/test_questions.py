"""D3: an approval goes out only while exactly the question that was seen is pending, and once."""

import random
from collections import Counter

import msgspec
import pytest

from bridge import events
from bridge.effects import Question
from bridge.hub import ClientKind, Delivery, Hub, Peer
from bridge.schemas import ExtensionInstance, TaskEvent
from bridge.tokens import Standing
from tests.bridge.conftest import instance, message, question

RACES = 1_000
TASK = "task-1"


@pytest.fixture
async def editor():
    peer = Peer(
        sid="sid_1",
        kind=ClientKind.EXTENSION,
        standing=Standing("user_1"),
        credential="hash",
        device="",
    )
    peer.pk, peer.tasks[TASK] = "inst_1", "task:user_1:task-1"
    return peer


@pytest.fixture
async def hub():
    return Hub(redis_url="", deliver=events.deliver)


async def publish(hub: Hub, peer: Peer, event: dict) -> None:
    text = msgspec.json.encode(event).decode()
    await events.task_event(hub, peer, msgspec.json.decode(text, type=TaskEvent), text)


def approve(peer: Peer, ts: int, number: int = 0) -> str:
    return events.deliver(
        peer, Delivery(peer.sid, f"cmd_{ts}_{number}", "approve_ask", TASK, ts, f"approval of {ts}")
    )


def sent(peer: Peer) -> list[str]:
    return [text for text in peer.rest(10**9) if text.startswith("approval")]


async def test_a_thousand_races_between_a_desk_and_two_phones(hub, editor):
    """Questions, answers at the desk and approvals from two phones in any order, against a model of
    what is pending: what goes out is what the model lets out, each question once."""
    chance = random.Random(3)  # noqa: S311 - it shuffles a test
    expected: list[str] = []
    outcomes: Counter[str] = Counter()
    for race in range(RACES):
        ts = 10 * race + 5
        acts = ["ask", "phone", "phone", "desk"]
        chance.shuffle(acts)
        pending = approved = False
        for number, act in enumerate(acts):
            if act == "ask":
                await publish(hub, editor, question(ts))
                pending = True
            elif act == "desk":
                await publish(hub, editor, message(ts + 1))
                pending = False
            else:
                result = approve(editor, ts, number)
                outcomes[result] += 1
                may = pending and not approved
                assert (result == "sent") is may, (race, acts, result)
                if may:
                    expected.append(f"approval of {ts}")
                    approved = True

    assert sent(editor) == expected
    assert len(expected) == len(set(expected))
    assert set(outcomes) == {"sent", "too_late", "already_answered"}
    assert min(outcomes.values()) > 50


async def test_a_question_that_the_editor_has_not_mentioned_for_a_minute_takes_no_approval(editor):
    editor.questions[TASK] = Question(5, heard_ms=events._now_ms() - 61_000)

    assert approve(editor, 5) == "not_heard_of"
    assert sent(editor) == []


async def test_heartbeats_keep_a_question_pending(hub, editor):
    editor.questions[TASK] = Question(5, heard_ms=0)
    ask = {"ts": 5, "type": "ask", "ask": "command", "text": "npm test"}

    described = msgspec.convert(instance(taskAsk=ask), ExtensionInstance)
    await events.heartbeat(hub, editor, described, "")

    assert approve(editor, 5) == "sent"


async def test_a_heartbeat_without_the_question_takes_it_back(hub, editor):
    editor.questions[TASK] = Question(5, heard_ms=events._now_ms() - 5_000)

    await events.heartbeat(hub, editor, msgspec.convert(instance(), ExtensionInstance), "")

    assert approve(editor, 5) == "too_late"


async def test_a_new_question_is_not_taken_back_before_it_can_be_mentioned(hub, editor):
    """An instance names its question two seconds after it was raised (bridge.md §5)."""
    await publish(hub, editor, question(5))

    await events.heartbeat(hub, editor, msgspec.convert(instance(), ExtensionInstance), "")

    assert approve(editor, 5) == "sent"


async def test_a_question_that_is_still_being_written_takes_no_approval(hub, editor):
    half = question(5)
    half["message"]["partial"] = True
    await publish(hub, editor, half)

    assert approve(editor, 5) == "too_late"
