"""Every kind of message, and every tool, is shown in a form of its own."""

import json
from pathlib import Path

import pytest
from django.template.loader import get_template

from roocloud.lib import wire
from tasks_sharing import tools
from tasks_sharing.conversation import items, spoken
from tasks_sharing.models import Message
from tests.tasks_sharing.everything import BEGAN, known_kinds, known_tools, messages, say, tool

#: What a kind says when its text is nothing to go by; nothing to read is nothing to show.
SAMPLES = {
    "api_req_started": '{"tokensIn": 1, "tokensOut": 2}',
    "api_req_finished": '{"tokensIn": 1, "tokensOut": 2}',
    "tool": '{"tool": "readFile", "path": "a"}',
    "user_feedback_diff": '{"tool": "editedExistingFile", "path": "a", "diff": "@@ -1 +1 @@\\n-a\\n+b\\n"}',
    "user_edit_todos": '{"tool": "updateTodoList", "todos": []}',
}


def rows(documents) -> list[Message]:
    return [
        Message(
            pk=number,
            ts=document["ts"],
            type=document["type"],
            kind=document[document["type"]],
            body=wire.dumps(document),
        )
        for number, document in enumerate(documents, start=1)
    ]


def one(type_, kind, text="said", **more):
    document = {"ts": BEGAN, "type": type_, type_: kind, "text": text, **more}
    return spoken(rows([document]), opens=False)


def test_the_schemas_were_found():
    assert len(known_kinds()) > 40
    assert len(known_tools()) == 17


@pytest.mark.parametrize(("type_", "kind"), known_kinds(), ids="-".join)
def test_no_kind_falls_through_to_the_generic_form(type_, kind):
    (shown,) = one(type_, kind, SAMPLES.get(kind, "said"))
    assert shown.block.form != "unknown"
    get_template(f"tasks_sharing/kinds/{shown.block.form}.html")


@pytest.mark.parametrize("name", known_tools())
def test_no_tool_falls_through_to_the_generic_form(name):
    (shown,) = one("ask", "tool", json.dumps({"tool": name, "path": "a.py", "content": "x"}))
    assert shown.block.form != "unknown"
    assert name in tools.TOOLS


def test_an_unheard_of_kind_and_tool_are_shown_as_text():
    (kind,) = one("say", "from_the_future", "hello")
    (future,) = one("ask", "tool", json.dumps({"tool": "teleport", "to": "mars"}))
    assert [kind.block.form, future.block.form] == ["unknown", "unknown"]
    assert "hello" in kind.block.parts[0][1].text
    assert "mars" in future.block.parts[0][1].text


def test_every_form_has_its_template_and_every_template_its_form():
    folder = get_template("tasks_sharing/kinds/note.html").origin.name
    templates = {p.stem for p in Path(folder).parent.glob("*.html") if not p.stem.startswith("_")}
    made = {shown.block.form for shown in spoken(rows(messages()), opens=True)}
    assert templates == made | {
        "output"
    }  # output stands alone where its command is on another page


@pytest.mark.stored
def test_the_made_conversation_has_every_kind_and_tool():
    """What the browser tests look at leaves nothing out."""
    said = messages()
    has = {(message["type"], message[message["type"]]) for message in said}
    used = {json.loads(m["text"]).get("tool") for m in said if m.get(m["type"]) == "tool"}
    assert set(known_kinds()) <= has
    assert set(known_tools()) <= used
    assert len(items(rows(said), opens=True)) > 50


def at(documents):
    return [{"ts": BEGAN + number, **document} for number, document in enumerate(documents)]


class TestJoined:
    def test_a_command_opens_to_its_output(self):
        (command,) = spoken(rows(at([
            {"type": "ask", "ask": "command", "text": "make"}, {"type": "ask", "ask": "command_output", "text": ""},
            say("command_output", "one\ntwo"), say("command_output", "three"),
        ])), opens=False)  # fmt: skip
        assert (command.block.target, command.block.hint) == ("make", "3 lines")
        assert [part.text for _, part in command.block.parts] == ["one\ntwo", "three"]

    def test_files_that_are_read_in_a_row_are_one_line(self):
        (read,) = spoken(rows(at([tool("readFile", path=name) for name in "abc"])), opens=False)
        assert read.block.label == "Read 3 files"
        assert read.block.parts[0][1].text == "a\nb\nc"

    def test_the_chosen_suggestion_is_marked(self):
        question = {"type": "ask", "ask": "followup", "text": json.dumps(
            {"question": "Which?", "suggest": [{"answer": "This  one"}, {"answer": "That"}]})}  # fmt: skip
        asked, _ = spoken(rows(at([question, say("user_feedback", "This one")])), opens=False)
        assert [s.is_chosen for s in asked.block.suggestions] == [True, False]


def test_an_edit_that_nobody_approved_is_refused_only_where_that_shows():
    """Approvals are in snapshots of the whole conversation, never in single events."""
    edit = {"path": "a", "diff": "@@ -1 +1 @@\n-a\n+b\n"}
    documents = at([tool("appliedDiff", **edit) for _ in range(4)])
    for document, is_answered in zip(documents, [True, None, True, None], strict=True):
        document["isAnswered"] = is_answered
    shown = spoken(rows(documents), opens=False)
    assert [one.block.state for one in shown] == ["", "refused", "", ""]


def test_a_message_that_was_left_out_says_so():
    (row,) = rows(at([say("text", "hello")]))
    row.body = ""
    (shown,) = items([row], opens=False)
    assert "too large" in shown.block.label


def test_paths_of_the_authors_computer_stay_there():
    (image,) = one(
        "say",
        "image",
        json.dumps({"imageUri": "file:///home/dev/x/a.png", "imagePath": "/home/dev/x/a.png"}),
    )
    assert image.block.target == "a.png"
    assert "/home" not in image.block.source
