"""What an editor reports that its person is told of, and when not."""

import time

import msgspec
import pytest
from django.utils import timezone

from bridge import news
from bridge.schemas import ExtensionInstance
from notifications import preferences
from notifications.models import Delivery, Notice
from tests.bridge.conftest import cookies_of, instance, token_of

SECRET = "canary-of-the-question"


def asking(kind="command", ts=5, **changes):
    ask = {"ts": ts, "type": "ask", "ask": kind, "text": f"rm -rf {SECRET}"}
    task = {"taskStatus": "interactive", "taskAsk": ask, "task": f"{SECRET} as a prompt"}
    return instance(task=task, taskAsk=ask, **changes)


def read(document):
    return msgspec.convert(document, ExtensionInstance)


class TestWhatIsTold:
    @pytest.mark.parametrize(
        ("ask", "kind"),
        [
            ("command", "approval"), ("tool", "approval"), ("use_mcp_server", "approval"),
            ("browser_action_launch", "approval"), ("auto_approval_max_req_reached", "approval"),
            ("followup", "question"), ("completion_result", "finished"),
            ("api_req_failed", "failed"), ("mistake_limit_reached", "failed"),
            ("resume_task", None), ("resume_completed_task", None), ("command_output", None),
            ("of_a_fork", None),
        ],
    )  # fmt: skip
    def test_goes_by_the_question(self, ask, kind):
        told = news.of("user_1", read(asking(ask)))
        assert (told.kind if told else None) == kind

    def test_holds_no_word_of_the_task_and_no_path(self):
        told = news.of("user_1", read(asking(workspacePath="/home/alice/secret-client/shop")))
        assert told.text == "acme/shop · desk"
        shown = f"{told.title} {told.text}"
        assert SECRET not in shown
        assert "/home" not in shown
        assert told.path == "/roomote/window-1"

    @pytest.mark.parametrize(
        ("path", "name"),
        [("/home/alice/shop", "shop"), ("C:\\work\\shop\\", "shop"), ("/", ""), ("", "")],
    )
    def test_names_the_folder_where_there_is_no_repository(self, path, name):
        told = news.of("user_1", read(asking(workspacePath=path, gitProperties=None)))
        assert told.text == " · ".join(filter(None, (name, "desk")))

    def test_is_nothing_where_nothing_waits(self):
        assert news.of("user_1", read(instance())) is None


def wait_until(is_so, patience_s=10):
    deadline = time.monotonic() + patience_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


def notices(count):
    """Once that many are written down: [(kind, key, silence)]."""
    wait_until(lambda: Notice.unscoped.count() >= count)
    return list(Notice.unscoped.order_by("pk").values_list("kind", "key", "silence"))


class TestAPerson:
    @pytest.fixture
    def told(self, alice):
        preferences.begin(user_id=alice.pk, time_zone="UTC", at=timezone.now())
        return alice

    def test_is_told_once_of_a_question_however_often_it_is_mentioned(
        self, world, told, mailoutbox
    ):
        editor = world.working_editor(token_of(told))
        for _ in range(3):
            editor.emit("extension:heartbeat", asking())
        editor.cut()
        editor.wait("connect")
        editor.emit("extension:register", asking(), None)
        editor.emit("extension:heartbeat", asking("followup", ts=6))

        assert notices(2) == [
            ("approval", "ask:task-1:5", ""),
            ("question", "ask:task-1:6", ""),
        ]
        wait_until(lambda: Delivery.unscoped.filter(state="sent").count() == 2)
        assert set(Delivery.unscoped.values_list("channel", "label")) == {("mail", told.email)}
        assert SECRET not in str([mail.message() for mail in mailoutbox])

    def test_who_looks_at_the_task_is_not(self, world, told):
        browser = world.following_browser(cookies_of(told))
        editor = world.working_editor(token_of(told))
        editor.emit("extension:heartbeat", asking())
        assert notices(1) == [("approval", "ask:task-1:5", "seen")]

        browser.ask("task:leave", {"taskId": "task-1"})
        editor.emit("extension:heartbeat", asking(ts=6))
        assert notices(2)[1] == ("approval", "ask:task-1:6", "")

    def test_another_who_looks_is_somebody_else(self, world, told, bob):
        world.following_browser(cookies_of(bob))
        world.working_editor(token_of(told)).emit("extension:heartbeat", asking())
        assert notices(1) == [("approval", "ask:task-1:5", "")]

    def test_who_answered_before_the_editor_mentioned_it_is_not(self, world, told):
        browser = world.following_browser(cookies_of(told))
        editor = world.working_editor(token_of(told))
        question = {"ts": 5, "type": "ask", "ask": "command", "text": "x", "partial": False}
        event = {"type": "message", "taskId": "task-1", "action": "created", "message": question}
        editor.emit("task:event", event, None)
        browser.wait("task:relayed_event")
        approval = {"type": "approve_ask", "taskId": "task-1", "askTs": 5, "payload": {}}
        assert browser.ask("task:command", approval)["success"] is True
        editor.emit("extension:heartbeat", asking())
        editor.emit("extension:heartbeat", asking(ts=6))
        assert [key for _, key, _ in notices(1)] == ["ask:task-1:6"]
