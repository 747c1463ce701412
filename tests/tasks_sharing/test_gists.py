"""What overviews are told of messages when these are stored: the same as the messages tell."""

import pytest
from django.utils import timezone

from tasks_sharing import guard, queries
from tasks_sharing.models import Message, Task
from tasks_sharing.transcript import WINDOW, Transcript
from tests import factories
from tests.tasks_sharing.everything import BEGAN, messages, say, tool
from tests.tasks_sharing.test_task_page import hear, store, texts

pytestmark = pytest.mark.django_db


def overview(task, masks=None):
    """All that pages show of it."""
    transcript = Transcript(task, path="/x", **({"masks": masks} if masks else {}))
    view = transcript.overview
    return (
        view.contents, view.files, view.todos, view.result, view.result_entry, view.commands,
        view.questions, view.failures,
    )  # fmt: skip


def read_again(task) -> Task:
    """The task as an earlier version stored it."""
    task.messages.update(gist=None)
    return task


@pytest.fixture
def task(alice, acme):
    return store(alice, acme, messages())


def test_an_overview_is_the_same_without_them(task):
    told = overview(task)
    assert told[1]
    assert told[2]
    assert told[5:] > (0, 0, 0)
    assert overview(read_again(task)) == told


def test_a_message_that_comes_again_has_another(alice, acme, task):
    edit = {"ts": BEGAN + 10**6, **tool("newFileCreated", path="new.py", content="one\n")}
    hear(alice, acme, edit)
    hear(alice, acme, {**edit, **tool("newFileCreated", path="new.py", content="one\ntwo\n")})
    (added,) = [file.added for file in overview(task)[1] if file.path == "new.py"]
    assert added == 2


@pytest.mark.parametrize("path", ["\ud800.py", "x" * 2_000, "\x00.py"])
def test_odd_paths_are_as_they_are_without_them(alice, acme, path):
    edit = {"ts": BEGAN + 1, **tool("newFileCreated", path=path, content="one\n")}
    task = store(alice, acme, [*texts(1), edit])
    told = overview(task)
    assert len(told[1]) == 1
    assert overview(read_again(task)) == told


class TestWhatIsHidden:
    """Of a file, a message or a text: an overview tells no more than the page does."""

    PATH = "src/hunter22/keys.py"

    @pytest.fixture
    def task(self, alice, acme):
        rows = [
            *texts(1),
            {"ts": BEGAN + 1, **tool("newFileCreated", path=self.PATH, content="one\ntwo\n")},
            {"ts": BEGAN + 2, **tool("newFileCreated", path="b.py", content="one\n")},
            {"ts": BEGAN + 3, **say("user_edit_todos", {"tool": "updateTodoList", "todos": [
                {"id": "1", "content": "Say hunter22", "status": "pending"}]})},
        ]  # fmt: skip
        return store(alice, acme, rows)

    @pytest.fixture
    def shown(self, task, alice, acme):
        """``shown()``: files and to-dos of the overview for strangers."""
        guard.scan(task, at=timezone.now())

        def shown():
            _, files, todos, *_ = overview(task, guard.masks_of(task))
            return [(file.path, file.added) for file in files], todos

        return shown

    def test_a_text(self, shown, task, alice, acme):
        actor = factories.actor(alice, acme)
        guard.mask_text(task=task, text="hunter22", by=actor, at=timezone.now())
        files, todos = shown()
        assert files == [("b.py", 1), ("src/[masked: text #1]/keys.py", 2)]
        assert todos == [("pending", "Say [masked: text #1]")]

    def test_a_message(self, shown, task, alice, acme):
        message = task.messages.get(ts=BEGAN + 1)
        guard.hide_message(message=message, by=factories.actor(alice, acme), at=timezone.now())
        assert shown()[0] == [("b.py", 1)]

    def test_a_file(self, shown, task, alice, acme):
        actor = factories.actor(alice, acme)
        guard.mask_file(task=task, path=self.PATH, by=actor, at=timezone.now())
        files, _ = shown()
        assert dict(files)[self.PATH] < 2
        assert dict(files)["b.py"] == 1


def test_a_first_page_reads_what_it_shows(alice, acme, monkeypatch):
    """F7: and of the rest, the texts of its contents."""
    edit = tool("newFileCreated", path="a.py", content="one\n" * 100)
    rows = [*texts(1), *({"ts": BEGAN + n, **edit} for n in range(1, 4 * WINDOW))]
    task = store(alice, acme, rows)
    read = []
    original = queries.read
    monkeypatch.setattr(
        queries, "read", lambda rows, **how: (read.append(r) or r for r in original(rows, **how))
    )
    transcript = Transcript(task, path="/x")
    assert transcript.overview.added == 100 * (4 * WINDOW - 1)
    assert len(transcript.window(transcript.page(1)).items) == WINDOW
    assert len(read) == WINDOW + 1


def test_only_what_is_told_of_is_noted(task):
    noted = set(Message.unscoped.exclude(gist="").values_list("kind", flat=True))
    assert "text" not in noted
    assert {"tool", "command", "followup"} <= noted
