"""History that editors kept on a computer (N1): every client's form, once, whole, and whoever made it."""

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from accounts.actions import deactivate
from audit.models import Entry
from orgs.actions import remove_member
from roocloud.lib import wire
from tasks_sharing import actions as tasks
from tasks_sharing import images
from tasks_sharing.imports import actions, files, formats, storing
from tasks_sharing.imports.files import Archive, Folder
from tasks_sharing.models import Image, Import, Message, Task
from tests import factories
from tests.tasks_sharing.test_sharing import set_policy

RECORDING = Path(__file__).resolve().parents[1] / "recordings"
ROO = "01a1fc28-e533-74cc-bdea-72d893efeccd"
NASTY = "nul \x00 lone \ud83d end \udc00"
PNG = b"\x89PNG\r\n\x1a\n...."
PNG_URL = f"data:image/png;base64,{b64encode(PNG).decode()}"
T0 = 1_760_000_000_000  # 9 October 2025


def said(text="Hello", ts=T0, say="text", **more):
    return {"ts": ts, "type": "say", "say": say, "text": text, **more}


def request(ts=T0 + 1, **told):
    return said(json.dumps(told), ts, "api_req_started")


def packed(content, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of ``{path: bytes, text or what becomes JSON}``."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path, value in content.items():
            if isinstance(value, str):
                value = value.encode("utf-8", "surrogatepass")
            archive.writestr(path, value if isinstance(value, bytes) else wire.dumps(value))
    return file.getvalue()


def archive(content, **options) -> Archive:
    return Archive(io.BytesIO(packed(content, **options)))


def take(person, content, org=None):
    """Import an archive at once; (outcome, reason) of each folder."""
    source = content if isinstance(content, Archive | Folder) else archive(content)
    done = actions.import_folders(
        actor=factories.actor(person, org), source=source, at=timezone.now()
    )
    return {folder: (str(outcome), reason) for folder, outcome, reason, _ in done}


def one(messages, task_id="t-1", **others):
    named = {f"tasks/{task_id}/{name}.json": value for name, value in others.items()}
    return {f"tasks/{task_id}/ui_messages.json": messages, **named}


def recording() -> dict[str, str]:
    return {
        f"tasks/{ROO}/{name}.json": (RECORDING / f"task-slug.{name}.json").read_text()
        for name in ("ui_messages", "history_item", "task_metadata")
    }


def everything():
    """All that is on record of tasks, to see that it did not change."""
    return (
        list(Task.unscoped.order_by("pk").values()),
        list(Message.unscoped.order_by("pk").values()),
        list(Image.unscoped.order_by("pk").values_list("tenant_id", "digest")),
    )


class TestRooCode:
    def test_a_recorded_task_comes_in_whole(self, alice, acme):
        assert take(alice, recording(), acme) == {f"tasks/{ROO}": ("new", "")}
        task = Task.unscoped.get()
        item = json.loads((RECORDING / "task-slug.history_item.json").read_text())

        assert (task.task_id, task.owner, task.organization) == (ROO, alice, acme)
        assert task.title == item["task"]
        assert (task.mode, task.workspace, task.status) == ("code", "/home/dev/slug", "completed")
        assert (task.tokens_in, task.tokens_out) == (item["tokensIn"], item["tokensOut"])
        assert task.cost_nanos == 88_740_000
        assert task.last_activity_at == datetime.fromtimestamp(item["ts"] / 1000, UTC)
        sent = json.loads((RECORDING / "task-slug.ui_messages.json").read_text())
        stored = [row.document for row in task.messages.order_by("ts", "pk")]
        assert [m["text"] for m in stored] == [m["text"] for m in sent]

    def test_is_shared_without_asking_its_editor(self, alice, acme):
        """Whatever it begins with: there is no editor any more that has more of it."""
        take(alice, recording() | one([said(say="reasoning")]), acme)
        for task_id in (ROO, "t-1"):
            shared = tasks.share_task(
                actor=factories.actor(alice, acme),
                task_id=task_id,
                visibility="public",
                at=timezone.now(),
            )
            assert shared.is_new

    def test_mode_model_and_folder_are_what_the_model_was_told(self, alice):
        details = "# Current Mode\n<slug>{}</slug>\n<name>💻 Code</name>\n<model>{}</model>\n"
        told = [
            {"role": "user", "content": details.format("ask", "acme/small")},
            {"role": "assistant", "content": "x" * 3_000_000},
            {"role": "user", "content": details.format("code", "acme/large:free")
             + "# Current Workspace Directory (/home/alice/été) Files\na.py"},
        ]  # fmt: skip
        history = json.dumps(told, ensure_ascii=False)
        take(alice, one([said()], api_conversation_history=history))
        task = Task.unscoped.get()
        assert (task.mode, task.model, task.workspace) == (
            "code",
            "acme/large:free",
            "/home/alice/été",
        )

    @pytest.mark.parametrize("cut_at", range(0, 400, 7))
    def test_what_the_model_was_told_is_found_wherever_it_is_cut(self, cut_at):
        text = rb"x" * 200 + rb"<slug>code</slug>\n<name>C</name>\n<model>m</model>\n" + b"y" * 200

        class Source:
            def has(self, folder, name):
                return True

            def pieces(self, path):
                yield from (text[:cut_at], text[cut_at:])

        assert formats._said_to_models(Source(), "")["model"] == "m"

    def test_a_list_of_tasks_says_what_a_task_does_not(self, alice):
        entry = {"id": "t-1", "task": "From the list", "mode": "architect", "totalCost": 0.5,
                 "tokensIn": 10, "cacheReads": 90, "tokensOut": 3, "parentTaskId": "t-0"}  # fmt: skip
        content = one([said("", say="reasoning")])
        take(alice, {**content, "tasks/_index.json": {"version": 1, "entries": [entry, 5, {}]}})
        task = Task.unscoped.get()
        assert (task.title, task.mode, task.parent_task_id) == ("From the list", "architect", "t-0")
        assert (task.tokens_in, task.tokens_out, task.cost_nanos) == (100, 3, 500_000_000)


class TestCline:
    CONVERSATION = [
        said("Fix it", T0, "task", images=[PNG_URL]),
        request(tokensIn=100, tokensOut=20, cacheReads=900, cacheWrites=50, cost=0.1),
        said(json.dumps({"response": "My plan", "options": []}), T0 + 2) | {"type": "ask", "ask": "plan_mode_respond"},
        said(json.dumps({"question": "Which?", "options": ["a", "b"]}), T0 + 3) | {"type": "ask", "ask": "followup"},
        said("ls", T0 + 4, "command", modelInfo={"providerId": "anthropic", "modelId": "claude-x", "mode": "act"}),
        said("", T0 + 5, "checkpoint_created", lastCheckpointHash="abc"),
        said(json.dumps({"tokensIn": 5, "tokensOut": 5, "cost": 0.2}), T0 + 6, "deleted_api_reqs"),
    ]  # fmt: skip

    def test_comes_in_by_the_names_that_pages_know(self, alice, client):
        take(alice, one(self.CONVERSATION, "1760000000000"))
        task = Task.unscoped.get()

        kinds = list(task.messages.order_by("ts").values_list("type", "kind"))
        assert kinds == [
            ("say", "text"), ("say", "api_req_started"), ("say", "text"), ("ask", "followup"),
            ("ask", "command"), ("say", "checkpoint_saved"), ("say", "api_req_deleted"),
        ]  # fmt: skip
        assert (task.title, task.status) == ("Fix it", "stopped")
        assert (task.model, task.provider, task.mode) == ("claude-x", "anthropic", "act")
        assert (task.tokens_in, task.tokens_out, task.cost_nanos) == (1055, 25, 300_000_000)
        client.force_login(alice)
        page = client.get("/task/1760000000000").content.decode()
        for shown in ("Fix it", "My plan", "Which?", "suggestions", "ls", "/image/"):
            assert shown in page
        assert bytes(images.find(task.messages.earliest("ts"), 0).data) == PNG

    def test_models_folder_and_older_names_are_found(self, alice):
        usage = [{"model_id": "m1", "model_provider_id": "p", "mode": "plan"}, {"model_id": "m2"}]
        content = {
            "data/tasks/176/claude_messages.json": [said()],
            "data/tasks/176/task_metadata.json": {"model_usage": usage},
            "data/state/taskHistory.json": [{"id": "176", "cwdOnTaskInitialization": "C:\\src"}],
        }
        take(alice, content)
        task = Task.unscoped.get()
        assert (task.task_id, task.model, task.workspace) == ("176", "m2", "C:\\src")


def test_kilo_code_comes_in(alice):
    item = {"id": "k-1", "number": 1, "ts": T0, "task": "Do", "isFavorited": True, "mode": "code",
            "workspace": "/w", "tokensIn": 1, "tokensOut": 1, "totalCost": 0, "status": "completed"}  # fmt: skip
    messages = [
        said("Do", metadata={"kiloCode": {"x": 1}}),
        request(
            tokensIn=10, tokensOut=1, cost=0.25, inferenceProvider="acme", apiProtocol="openai"
        ),
        {"ts": T0 + 9, "type": "ask", "ask": "payment_required_prompt", "text": "{}"},
    ]
    take(alice, one(messages, "any-folder", history_item=item))
    task = Task.unscoped.get()
    assert (task.task_id, task.status, task.cost_nanos) == ("k-1", "completed", 250_000_000)


class TestOnceATask:
    def test_again_changes_nothing(self, alice, acme):
        first = recording() | one(TestCline.CONVERSATION, "1760000000000")
        take(alice, first, acme)
        before = everything()

        assert {outcome for outcome, _ in take(alice, first, acme).values()} == {"same"}
        assert {outcome for outcome, _ in take(alice, first).values()} == {"same"}
        assert everything() == before

    def test_newer_messages_are_added(self, alice):
        take(alice, one([said("One"), said("Tw", T0 + 5, partial=True)]))
        row = Message.unscoped.earliest("ts")
        later = [said("One"), said("Two", T0 + 5), said("Done", T0 + 9, "completion_result")]

        assert take(alice, one(later)) == {"tasks/t-1": ("added", "")}
        stored = Message.unscoped.order_by("ts")
        assert [m.document["text"] for m in stored] == ["One", "Two", "Done"]
        assert stored[0] == row
        assert Task.unscoped.get().status == "completed"

    def test_what_an_editor_sent_is_completed_and_kept(self, alice, acme):
        """A task that was followed from its middle gets its beginning; its own facts stay."""
        actor = factories.actor(alice, acme)
        live = {"taskId": "t-1", "mode": "debug", "inputTokens": 7, "cost": 9.0}
        told = said("live", T0 + 50, partial=False)
        with transaction.atomic():
            for event in (
                tasks.Event("LLM Completion", live),
                tasks.Event("Task Message", {**live, "message": told}),
            ):
                tasks.record_event(actor=actor, event=event, at=timezone.now())
        messages = [said("The prompt"), request(tokensIn=900, cost=0.5), said("disk", T0 + 50)]

        assert take(alice, one(messages, history_item={"mode": "code", "workspace": "/w"})) == {
            "tasks/t-1": ("added", "")
        }
        task = Task.unscoped.get()
        assert (task.organization, task.status, task.mode) == (acme, "running", "debug")
        assert (task.title, task.workspace) == ("The prompt", "/w")
        assert (task.tokens_in, task.cost_nanos) == (900, 9_000_000_000)
        assert [m.document["text"] for m in task.messages.order_by("ts")][::2] == [
            "The prompt",
            "live",
        ]

    def test_a_snapshot_on_its_way_is_not_lost(self, alice):
        at = timezone.now()
        actor = factories.actor(alice)
        task = tasks.expect_backfill(actor=actor, task_id="t-1", properties={}, at=at)
        take(alice, one([said("imported")]))
        stored = tasks.replace_messages(
            task_pk=task.pk, messages=[said("imported"), said("more", T0 + 1)], requested_at=at
        )
        assert stored == 2

    def test_of_two_copies_in_an_archive_is_one_task(self, alice):
        copies = {"Code/t-1/ui_messages.json": [said()], "Cursor/t-1/ui_messages.json": [said()]}
        assert [outcome for outcome, _ in take(alice, copies).values()] == ["new", "same"]

    def test_another_persons_is_never_touched(self, alice, mallory, acme, evil):
        """A1, D5: and an id that is somebody's is answered as one that is nobody's."""
        take(alice, one([said("alice's", images=[PNG_URL])]), acme)
        hers = Task.unscoped.filter(owner=alice).values().get()
        bodies = list(Message.unscoped.values_list("pk", "body"))
        content = one([said("mallory's"), said("more", T0 + 1)]) | one([said()], "nobodys")

        assert set(take(mallory, content, evil).values()) == {("new", "")}
        assert Task.unscoped.filter(owner=alice).values().get() == hers
        assert list(Message.unscoped.filter(task__owner=alice).values_list("pk", "body")) == bodies
        assert {t.organization for t in Task.unscoped.filter(owner=mallory)} == {evil}

    def test_in_an_organization_that_was_left_is_out_of_reach(self, alice, bob, acme):
        """A4"""
        take(bob, one([said()]), acme)
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        before = everything()
        ((outcome, reason),) = take(bob, one([said(), said("more", T0 + 1)])).values()
        assert outcome == "skipped"
        assert "do not belong" in reason
        assert everything() == before

    def test_is_not_put_where_conversations_are_not_recorded(self, alice, acme):
        take(alice, one([said()], "t-0"), acme)
        set_policy(acme, alice, recordTaskMessages=False)
        with pytest.raises(actions.Refusal, match="does not record"):
            take(alice, one([said()]), acme)
        ((outcome, reason),) = take(alice, one([said("x", T0 + 1)], "t-0")).values()
        assert (outcome, "does not record" in reason) == ("skipped", True)
        assert Message.unscoped.count() == 1


def test_any_text_survives(alice, client):
    """F5"""
    take(
        alice,
        one([said(NASTY), said(f"{NASTY}2", T0 + 1, say=NASTY)], history_item={"task": NASTY}),
    )
    assert Message.unscoped.earliest("ts").document["text"] == NASTY
    client.force_login(alice)
    assert client.get("/task/t-1").status_code == 200


@pytest.mark.parametrize(
    ("ts", "year"), [(0, 1970), (T0, 2025), (2**53, timezone.now().year), (0.5, 1970)]
)
def test_a_clock_that_is_wrong_fails_nothing(alice, ts, year):
    take(alice, one([said(ts=ts)]))
    assert Task.unscoped.get().created_at.year == year


#: Shapes of everything but the messages that say nothing, and fail nothing.
NOISE = [
    "", "{", "[]", "5", "null", {"id": 5}, {"id": "../x"}, {"id": ""}, {"task": ["x"], "mode": 5, "workspace": {}},
    {"totalCost": "1", "tokensIn": -5, "tokensOut": 1e300, "status": 5}, {"parentTaskId": "a/b"},
    {"model_usage": 5}, {"model_usage": []}, {"model_usage": [5]}, {"model_usage": [{"model_id": 5}]}, b"\xff\xfe",
    "[" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
def test_broken_files_beside_the_messages_lose_nothing(alice, noise):
    """F5"""
    names = ("history_item", "task_metadata", "api_conversation_history")
    content = one([said()], **dict.fromkeys(names, noise))
    content |= {"tasks/_index.json": noise, "state/taskHistory.json": noise}
    assert take(alice, content) == {"tasks/t-1": ("new", "")}


@pytest.mark.parametrize(
    "message",
    [
        5, None, [], {}, {"ts": "x"}, {"ts": T0, "type": 5}, {"ts": T0, "type": "say", "say": 5},
        {"ts": T0, "type": ["say"], "ask": {}}, said(5), said(None), said("{", say="api_req_started"),
        said("[]", say="api_req_started"), said('{"tokensIn":"x","cost":1e308}', say="api_req_started"),
        said(say="condense_context", contextCondense=5), said(modelInfo=5), said(modelInfo={"modelId": 5}),
        said("{") | {"type": "ask", "ask": "followup"}, said('{"options":[5]}') | {"type": "ask", "ask": "followup"},
        said("[]") | {"type": "ask", "ask": "plan_mode_respond"}, said(images={"a": 1}), said(images=[[]]),
        said('{"screenshot": 5, "x": "data:image/"}', say="browser_action_result"),
    ],
)  # fmt: skip
def test_broken_messages_lose_no_others(alice, message):
    """F5"""
    take(alice, one([message, said("whole", T0 + 7)]))
    assert "whole" in [m.document.get("text") for m in Message.unscoped.all()]


UNREADABLE = {
    "not JSON": "{", "empty": "", "not UTF-8": b"[\xff]", "not a list": {"messages": []}, "no message": [],
    "nothing with a time": [{"say": "text"}, 5], "deep": "[" * 100_000, "deeper than allowed": "[" * 80 + "]" * 80,
    "a number too large": '[{"ts":1e999}]', "NaN": '[{"ts":NaN}]', "digits": "[" + "9" * 5000 + "]",
}  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_skipped_with_a_reason(alice, body):
    """F5: and the tasks beside it come in."""
    done = take(alice, one(body, "bad") | one([said()], "good"))
    outcome, reason = done["tasks/bad"]
    assert (outcome, done["tasks/good"]) == ("skipped", ("new", ""))
    assert reason
    assert "The body" not in reason


class TestHostileArchives:
    """Whoever made the archive may have made it to do harm."""

    def reason(self, alice, source) -> str:
        ((outcome, reason),) = take(alice, source).values()
        assert outcome == "skipped"
        assert not Task.unscoped.exists()
        return reason

    @pytest.mark.parametrize(
        "path", ["../../etc/t-1", "/etc/t-1", "a/../t-1", "C:/t-1", "..\\..\\t-1", "a\\..\\t-1"]
    )
    def test_paths_that_lead_out(self, alice, path):
        assert "leads out" in self.reason(alice, archive({f"{path}/ui_messages.json": [said()]}))

    def test_symbolic_links(self, alice):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as out:
            link = zipfile.ZipInfo("t-1/ui_messages.json")
            link.external_attr = 0o120777 << 16
            out.writestr(link, "/etc/passwd")
        assert "symbolic link" in self.reason(alice, Archive(file))

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_methods_that_take_any_memory(self, alice, method):
        assert "not supported" in self.reason(alice, archive(one([said()]), compression=method))

    def test_encrypted_entries(self, alice):
        body = bytearray(packed(one([said()])))
        body[body.index(b"PK\x01\x02") + 8] |= 1
        assert "encrypted" in self.reason(alice, Archive(io.BytesIO(body)))

    def test_damage(self, alice):
        body = bytearray(packed(one([said("x" * 100)]), zipfile.ZIP_STORED))
        body[body.index(b"xxxx")] ^= 1
        assert "damaged" in self.reason(alice, Archive(io.BytesIO(body)))

    def test_a_bomb_is_read_up_to_the_limit(self, alice, settings, monkeypatch):
        settings.ROOCLOUD_IMPORT_FILE_LIMIT = 2 * 2**20
        bomb = archive(one(b"[" + b" " * 60 * 2**20 + b"]"))
        sizes = []
        pieces = Archive.pieces

        def counted(self, path):
            for piece in pieces(self, path):
                sizes.append(len(piece))
                yield piece

        monkeypatch.setattr(Archive, "pieces", counted)
        assert self.reason(alice, bomb) == "ui_messages.json is larger than 2 MiB"
        assert sum(sizes) <= 3 * 2**20

    def test_an_entry_that_is_longer_than_it_says(self, alice):
        body = bytearray(packed(one(wire.dumps([said()]) + " " * 10**6)))
        at = body.index(b"PK\x01\x02") + 24
        body[at : at + 4] = (100).to_bytes(4, "little")
        assert self.reason(alice, Archive(io.BytesIO(body)))

    def test_many_bombs_are_too_much_together(self, settings):
        settings.ROOCLOUD_IMPORT_UNPACKED_LIMIT = 5 * 2**20
        content = {f"{n}/ui_messages.json": b" " * 2**20 for n in range(6)}
        with pytest.raises(actions.InvalidInput, match="unpacks to more than 5 MiB"):
            archive(content)

    def test_a_file_of_empty_objects(self, alice, monkeypatch):
        """A hundred thousand bytes that would be gigabytes of objects."""
        monkeypatch.setattr(formats, "_MAX_NODES", 1000)
        assert "too many values" in self.reason(alice, one("[" + "{}," * 2000 + "{}]"))

    def test_a_list_of_contents_without_end(self, settings):
        settings.ROOCLOUD_IMPORT_LISTING_LIMIT = 70_000
        with pytest.raises(actions.InvalidInput, match="too many files"):
            archive({f"{n:080}": b"" for n in range(800)})

    @pytest.mark.parametrize(
        "body", [b"", b"PK", b"x" * 100_000, packed({})[:-5], packed(one([said()]))[:60], b"PK\x05\x06" + b"\xff" * 18],
        ids=["empty", "two bytes", "letters", "cut end", "cut middle", "no entries"],
    )  # fmt: skip
    def test_what_is_no_archive(self, body):
        with pytest.raises(actions.InvalidInput):
            Archive(io.BytesIO(body))

    @pytest.mark.parametrize(
        "content", [{}, {"a.txt": b"x"}, {"inner.zip": packed(one([said()]))}, {"t/history_item.json": {}},
                    {"__MACOSX/t/._ui_messages.json": b"x"}]
    )  # fmt: skip
    def test_what_has_no_task(self, alice, content):
        """An archive in an archive is not opened."""
        with pytest.raises(actions.NothingToImport):
            take(alice, content)

    @pytest.mark.parametrize("name", ["", "x" * 65, "a b", "é", "a\x07b"])
    def test_folders_that_are_no_id(self, alice, name):
        path = f"{name}/ui_messages.json" if name else "ui_messages.json"
        assert "task's id" in self.reason(alice, {path: [said()]})

    def test_archivers_of_windows_and_nested_folders(self, alice):
        content = {"a\\b\\tasks\\t-1\\ui_messages.json": [said()]}
        assert take(alice, content) == {"a/b/tasks/t-1": ("new", "")}


class TestAFolder:
    def fill(self, root, task_id="t-1"):
        folder = root / "tasks" / task_id
        folder.mkdir(parents=True)
        (folder / "ui_messages.json").write_text(json.dumps([said()]))
        return folder

    @pytest.mark.parametrize("inside", ["", "tasks", "tasks/t-1"])
    def test_is_found_from_wherever_one_points(self, alice, tmp_path, inside):
        self.fill(tmp_path)
        assert list(take(alice, Folder(tmp_path / inside)).values()) == [("new", "")]
        assert Task.unscoped.get().task_id == "t-1"

    def test_links_and_pipes_are_not_followed(self, alice, tmp_path):
        secret = tmp_path / "secret.json"
        secret.write_text(json.dumps([said("secret")]))
        outside = self.fill(tmp_path / "outside", "t-2").parent
        for name in ("link", "pipe"):
            (tmp_path / "tasks" / name).mkdir(parents=True)
        (tmp_path / "tasks/link/ui_messages.json").symlink_to(secret)
        os.mkfifo(tmp_path / "tasks/pipe/ui_messages.json")
        (tmp_path / "tasks/elsewhere").symlink_to(outside)

        done = take(alice, Folder(tmp_path / "tasks"))

        assert {folder: outcome for folder, (outcome, _) in done.items()} == {
            "tasks/link": "skipped", "tasks/pipe": "skipped",
        }  # fmt: skip
        assert not Task.unscoped.exists()

    def test_snapshots_of_workspaces_are_passed_over(self, alice, tmp_path):
        folder = self.fill(tmp_path)
        inner = folder / "checkpoints" / "repo"
        inner.mkdir(parents=True)
        (inner / "ui_messages.json").write_text("[]")
        assert list(take(alice, Folder(tmp_path))) == [f"{tmp_path.name}/tasks/t-1"]

    def test_by_the_command(self, alice, acme, tmp_path, capsys):
        self.fill(tmp_path)
        (tmp_path / "t.zip").write_bytes(packed(one([said()], "zipped") | one("{", "bad")))
        call_command("import_tasks", str(tmp_path), user=alice.email, org="Acme")
        call_command("import_tasks", str(tmp_path / "t.zip"), user=alice.email)
        told = capsys.readouterr().out
        assert "1/1 Imported" in told
        assert "Skipped: tasks/bad (ui_messages.json is not JSON" in told
        assert "1 imported, 0 messages added, 0 already here, 1 skipped" in told
        assert set(Task.unscoped.values_list("task_id", "organization")) == {
            ("t-1", acme.pk), ("zipped", None),
        }  # fmt: skip

    def test_the_command_says_what_is_wrong(self, alice, mallory, acme, evil, tmp_path):
        (tmp_path / "no.zip").write_text("x")
        for path, user, org, words in (
            (tmp_path, "nobody@x.example", None, "no account"), (tmp_path, alice.email, "Nowhere", "no organization"),
            (tmp_path, alice.email, "Evil Corp", "not a member"), (tmp_path, alice.email, None, "No task"),
            (tmp_path / "absent", alice.email, None, "No such file"), (tmp_path / "no.zip", alice.email, None, "not a zip"),
        ):  # fmt: skip
            with pytest.raises(CommandError, match=words):
                call_command("import_tasks", str(path), user=user, org=org)


# --- The job ----------------------------------------------------------------------------------


def start(person, content, org=None) -> Import:
    return actions.start_import(
        by=factories.actor(person, org),
        upload=ContentFile(content if isinstance(content, bytes) else packed(content), "t.zip"),
        at=timezone.now(),
    )


def work(run, *, tasks_a_turn=1000) -> bool:
    left = iter([False] * (tasks_a_turn - 1) + [True])
    return actions.run_import(import_id=run.pk, is_time_up=lambda: next(left))


def many(count):
    content = {}
    for n in range(count):
        content |= one([said(f"task {n}")], f"t-{n:03}")
    return content


class TestTheJob:
    def test_stores_reports_and_drops_the_archive(
        self, alice, acme, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            run = start(alice, many(3) | one("{", "bad"), acme)
        run.refresh_from_db()
        assert (run.state, run.total, run.upload.name) == ("done", 4, "")
        assert sorted(run.tasks.values_list("task_id", "outcome", "message_count")) == [
            ("", "skipped", 0), ("t-000", "new", 1), ("t-001", "new", 1), ("t-002", "new", 1),
        ]  # fmt: skip
        assert Task.unscoped.filter(owner=alice, organization=acme).count() == 3
        assert Entry.objects.filter(action="import.started", target_id=run.pk).count() == 1

    def test_takes_turns_with_other_jobs(self, alice):
        run = start(alice, many(5))
        assert [work(run, tasks_a_turn=2) for _ in range(4)] == [True, True, False, False]
        assert run.tasks.count() == Task.unscoped.count() == 5

    @pytest.mark.parametrize("fault", [KeyboardInterrupt, OperationalError, OSError])
    def test_goes_on_after_an_interruption(self, alice, monkeypatch, fault):
        run = start(alice, many(5))
        store = actions.store_task
        left = iter(range(3))

        def interrupted(**known):
            if next(left, None) is None:
                raise fault
            return store(**known)

        with monkeypatch.context() as patch:
            patch.setattr(actions, "store_task", interrupted)
            with pytest.raises(fault):
                work(run)
        assert (run.tasks.count(), Task.unscoped.count()) == (3, 3)
        at = timezone.now()
        assert actions.due_imports(at=at) == []
        assert actions.due_imports(at=at + timedelta(minutes=3)) == [run.pk]

        read, asked = actions.read_task, []
        monkeypatch.setattr(
            actions, "read_task", lambda *of, **known: asked.append(of) or read(*of, **known)
        )
        work(run)
        assert len(asked) == 2
        assert set(run.tasks.values_list("outcome", flat=True)) == {"new"}
        assert (run.tasks.count(), Message.unscoped.count()) == (5, 5)

    def test_skips_a_task_that_ends_it_again_and_again(self, alice, monkeypatch):
        run = start(alice, many(3))
        read = actions.read_task

        def deadly(source, folder, **known):
            if folder.endswith("001"):
                raise MemoryError
            return read(source, folder, **known)

        monkeypatch.setattr(actions, "read_task", deadly)
        for _ in range(actions.MAX_ATTEMPTS):
            with pytest.raises(MemoryError):
                work(run)
        work(run)
        run.refresh_from_db()
        assert run.state == "done"
        assert list(run.tasks.order_by("position").values_list("outcome", flat=True)) == [
            "new", "skipped", "new",
        ]  # fmt: skip

    def test_what_the_database_refuses_is_skipped_whole(self, alice, monkeypatch):
        run = start(alice, many(2))
        monkeypatch.setattr(storing, "_facts", lambda task, history: {"tokens_in": 2**70})
        work(run)
        assert set(run.tasks.values_list("outcome", "reason")) == {
            ("skipped", "It could not be stored")
        }
        assert not Task.unscoped.exists()

    def test_is_cancelled_between_two_tasks(self, alice, django_capture_on_commit_callbacks):
        run = start(alice, many(5))
        work(run, tasks_a_turn=2)
        name = run.upload.name
        with django_capture_on_commit_callbacks(execute=True):
            by = factories.actor(alice)
            assert actions.cancel_import(run=run, by=by, at=timezone.now())
            assert not actions.cancel_import(run=run, by=by, at=timezone.now())
        assert not work(run)
        assert (run.tasks.count(), Task.unscoped.count()) == (2, 2)
        assert not default_storage.exists(name)
        assert Import.unscoped.get().state == "cancelled"

    def test_one_person_has_one_at_a_time(self, alice, bob):
        start(alice, many(1))
        kept = len(default_storage.listdir("imports")[1])
        with pytest.raises(actions.Conflict), transaction.atomic():
            start(alice, many(1))
        assert len(default_storage.listdir("imports")[1]) == kept
        start(bob, many(1))

    def test_ends_with_its_persons_rights(self, alice, bob, acme, monkeypatch):
        """A4"""
        run = start(bob, many(2), acme)
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        assert not work(run)
        run.refresh_from_db()
        assert (run.state, Task.unscoped.count()) == ("failed", 0)
        assert "do not belong" in run.error

        run = start(bob, many(2))
        deactivate(user_id=bob.pk, at=timezone.now())
        assert not work(run)
        assert not Task.unscoped.exists()

    def test_says_that_its_archive_is_gone(self, alice):
        run = start(alice, many(2))
        default_storage.delete(run.upload.name)
        assert not work(run)
        assert Import.unscoped.get().error == "The archive is gone"

    def test_leaves_no_archive_behind(self, alice, bob, django_capture_on_commit_callbacks):
        """Neither that of a deleted account, nor one whose process died at the end."""
        names = []
        for person in (alice, bob):
            run = start(person, many(1))
            names.append(run.upload.name)
            if person is bob:
                work(run)
        actions.drop_uploads()
        with django_capture_on_commit_callbacks(execute=True):
            alice.delete()
        assert [default_storage.exists(name) for name in names] == [False, False]
        assert [run.upload.name for run in Import.unscoped.all()] == [""]

    @pytest.mark.django_db(transaction=True)
    def test_run_twice_at_once_stores_each_task_once(self, alice, settings, monkeypatch):
        monkeypatch.setattr("tasks_sharing.tasks.run_import.delay", lambda **_: None)
        run = start(alice, many(12))

        def worker():
            work(run)
            connections.close_all()

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(worker) for _ in range(3)]:
                done.result()
        run.refresh_from_db()
        assert run.state == "done"
        assert set(run.tasks.values_list("outcome", flat=True)) == {"new"}
        assert (run.tasks.count(), Task.unscoped.count(), Message.unscoped.count()) == (12, 12, 12)

    @pytest.mark.django_db(transaction=True)
    def test_survives_being_killed(self, alice, settings, monkeypatch, tmp_path):
        """SIGKILL in the middle of a task, three times, in a process of its own."""
        monkeypatch.setattr("tasks_sharing.tasks.run_import.delay", lambda **_: None)
        run = start(alice, many(8))
        for number in (1, 3, 2):
            done = subprocess.run(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _DIES, run.pk, str(number)],
                env={**os.environ, "DATABASE_URL": _database_url(), "PYTEST_DB_SUFFIX": ""},
                cwd=RECORDING.parents[1],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == -signal.SIGKILL, done.stderr
        assert run.tasks.count() == Task.unscoped.count() == 6
        work(run)
        assert set(run.tasks.values_list("outcome", flat=True)) == {"new"}
        assert (run.tasks.count(), Message.unscoped.count()) == (8, 8)


#: Works on an import, and dies while it stores the task after so many.
_DIES = """
import os, signal, sys
import django
django.setup()
from tasks_sharing.imports import actions, storing
left = int(sys.argv[2])
keep = storing.images.keep
def deadly(task, found):
    global left
    keep(task, found)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
storing.images.keep = deadly
actions.run_import(import_id=sys.argv[1], is_time_up=lambda: False)
"""


def _database_url() -> str:
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    return f"postgres://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


# --- Pages ------------------------------------------------------------------------------------


def send(client, body, **options):
    return client.post("/tasks/import", {"archive": ContentFile(body, "t.zip")}, **options)


@pytest.mark.django_db(transaction=True)
class TestThePages:
    def test_an_archive_is_sent_and_its_report_shown(self, client, alice, acme):
        client.force_login(alice)
        answer = send(client, packed(recording() | one("{", "bad")), follow=True)
        page = answer.content.decode()
        for words in ("Acme", "2 of 2 tasks", "38 messages", "not JSON", f'href="/task/{ROO}"'):
            assert words in page
        (path, _) = answer.redirect_chain[0]
        assert ROO not in client.get(f"{path}?show=skipped").content.decode()
        assert client.get(f"/task/{ROO}").status_code == 200
        assert Task.unscoped.get().organization == acme
        assert path in client.get("/tasks/import").content.decode()

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            (b"x", 400, "not a zip"), (b"", 400, "empty"), (packed({"a": b"x"}), 400, "No task"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, client, alice, body, status, words):
        client.force_login(alice)
        answer = send(client, body)
        assert answer.status_code == status
        assert words in answer.content.decode()
        assert not Import.unscoped.exists()

    def test_a_second_one_waits(self, client, alice, monkeypatch):
        monkeypatch.setattr("tasks_sharing.tasks.run_import.delay", lambda **_: None)
        client.force_login(alice)
        report = send(client, packed(many(2))).url
        answer = send(client, packed(many(2)))
        assert answer.status_code == 409
        assert "is running" in answer.content.decode()
        assert "0 of 2 tasks" in client.get(report).content.decode()

        answer = client.post(f"{report}/cancel", follow=True)
        assert "What was imported stays" in answer.content.decode()

    def test_an_organization_that_records_nothing_takes_none(self, client, alice, acme):
        set_policy(acme, alice, recordTaskMessages=False)
        client.force_login(alice)
        assert send(client, packed(many(1))).status_code == 403

    def test_the_report_asks_as_often_for_many_as_for_one(
        self, client, alice, django_assert_num_queries, django_assert_max_num_queries
    ):
        client.force_login(alice)
        few = send(client, packed(many(1))).url
        more = send(client, packed(many(40))).url
        with django_assert_max_num_queries(13) as asked:  # eight are of the sign-in
            client.get(few)
        with django_assert_num_queries(len(asked.captured_queries)):
            client.get(more)

    def test_the_empty_list_leads_here(self, client, alice):
        client.force_login(alice)
        assert client.get("/tasks").content.decode().count('href="/tasks/import"') == 2


class TestBeforeTheUpload:
    """Half a gigabyte is laid on the disk for nobody but people who are signed in."""

    @pytest.fixture
    def send(self, live_url, monkeypatch):
        """``send(cookies)``: status, where it leads, and bytes of the body that were kept."""
        kept = []
        write = tempfile.SpooledTemporaryFile.write

        def watched(file, data):
            kept.append(len(data))
            return write(file, data)

        monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", watched)

        def send(cookies="", path="/tasks/import"):
            kept.clear()
            address = urlsplit(live_url)
            with closing(http.client.HTTPConnection(address.hostname, address.port)) as browser:
                kind = "multipart/form-data; boundary=x"
                browser.request(
                    "POST", path, b"x" * 6_000_000, {"Cookie": cookies, "Content-Type": kind}
                )
                answer = browser.getresponse()
                answer.read()
            return answer.status, answer.headers.get("Location", ""), sum(kept)

        return send

    @pytest.mark.parametrize("cookies", ["", "sessionid=x", "roocloud_session=x; a=b", "=;;"])
    @pytest.mark.parametrize("path", ["/tasks/import", "//tasks//import"])
    def test_strangers_are_led_to_the_sign_in_page(self, send, cookies, path):
        status, place, kept = send(cookies, path)
        assert (status, kept) == (302, 0)
        assert place.endswith("?next=/tasks/import")

    def test_of_somebody_who_is_signed_in_it_is_taken_in(self, send, client, alice):
        client.force_login(alice)
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        status, _, kept = send(cookies)
        assert (status, kept) == (403, 6_000_000)  # it has no token of the form

    def test_of_somebody_who_was_is_not(self, send, client, alice):
        client.force_login(alice)
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        deactivate(user_id=alice.pk, at=timezone.now())
        assert send(cookies)[2] == 0


def test_reading_a_file_names_its_limit(settings):
    settings.ROOCLOUD_IMPORT_FILE_LIMIT = 2**20
    source = archive({"t/ui_messages.json": b" " * (2**20 + 1)})
    with pytest.raises(files.Unreadable, match="larger than 1 MiB"):
        files.read(source, "t/ui_messages.json")
