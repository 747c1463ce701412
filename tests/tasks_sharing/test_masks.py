"""N3: what a public link shows of a task, in every representation."""

import html
import json
import re
from collections.abc import Iterable

import pytest
from django.utils import timezone

from audit.models import Entry
from roocloud.lib import wire
from tasks_sharing import actions, detection, guard
from tasks_sharing.models import Mask, Message, Share, Task
from tests import factories
from tests.routes import walk
from tests.tasks_sharing.secret_shapes import SHAPES, Shape
from tests.tasks_sharing.test_sharing import IMAGES, TASK, ask, path_of, record, set_policy

GITHUB = next(shape.secret for shape in SHAPES if shape.name == "GitHub")
NPM = next(shape.secret for shape in SHAPES if shape.name == "npm")
RSA = next(shape for shape in SHAPES if shape.name == "RSA key")


def tool(**fields) -> dict:
    return {"type": "ask", "ask": "tool", "text": json.dumps(fields)}


def said(kind: str, text: str, **fields) -> dict:
    return {"type": "say", "say": kind, "text": text, **fields}


#: Every field that a client puts text into, as a message that holds ``secret`` there.
FIELDS = {
    "text": lambda secret: said("text", f"Use {secret} here"),
    "markdown": lambda secret: said("completion_result", f"```sh\n{secret}\n```\n| a |\n|-|\n"),
    "feedback": lambda secret: said("user_feedback", f"{secret}"),
    "reasoning": lambda secret: said("reasoning", f"I see {secret}, so"),
    "error": lambda secret: said("error", f"401 for {secret}"),
    "file": lambda secret: tool(tool="newFileCreated", path="a.env", content=f"{secret}\n"),
    "diff": lambda secret: tool(
        tool="appliedDiff", path="a.py", diff=f"@@ -1 +1 @@\n-old\n+{secret}\n"
    ),
    "search and replace": lambda secret: tool(
        tool="editedExistingFile",
        path="a.py",
        content=f"<<<<<<< SEARCH\nold\n=======\n{secret}\n>>>>>>> REPLACE",
    ),
    "batch": lambda secret: tool(
        tool="readFile", batchFiles=[{"path": "a", "content": secret, "lineSnippet": secret}]
    ),
    "unknown tool": lambda secret: tool(tool="teleport", cargo={"deep": [secret]}),
    "name of a field": lambda secret: tool(tool="teleport", **{secret: 1}),
    "search": lambda secret: tool(tool="searchFiles", path=".", regex=secret, content=secret),
    "path": lambda secret: tool(tool="readFile", path=f"out/{secret}"),
    "command": lambda secret: {"type": "ask", "ask": "command", "text": f"run '{secret}'\nls"},
    "output": lambda secret: said("command_output", f"\x1b[32m$\x1b[0m {secret}\n\x1b[1mok\x1b[0m"),
    "MCP arguments": lambda secret: {
        "type": "ask",
        "ask": "use_mcp_server",
        "text": json.dumps(
            {
                "serverName": "s",
                "toolName": "t",
                "arguments": json.dumps({"value": f" {secret} "}),
                "response": json.dumps([json.dumps({"inner": secret})]),
            }
        ),
    },
    "MCP answer": lambda secret: said("mcp_server_response", f'{{"got": {json.dumps(secret)}}}'),
    "to-do": lambda secret: tool(
        tool="updateTodoList", todos=[{"content": f"Rotate {secret}", "status": "pending"}]
    ),
    "question": lambda secret: {
        "type": "ask",
        "ask": "followup",
        "text": json.dumps({"question": f"Is {secret} right?", "suggest": [{"answer": secret}]}),
    },
    "codebase search": lambda secret: said(
        "codebase_search_result",
        json.dumps({"content": {"results": [{"filePath": secret, "codeChunk": secret}]}}),
    ),
    "condensed": lambda secret: said("condense_context", "", contextCondense={"summary": secret}),
    "image": lambda secret: said("image", json.dumps({"imageUri": f"file:///{secret}.png"})),
    "link to an image": lambda secret: said("text", "See", images=[f"https://x.example/{secret}"]),
    "request": lambda secret: said("api_req_started", json.dumps({"request": secret})),
    "unknown kind": lambda secret: said("prophecy", secret),
    "field nobody knows": lambda secret: said("text", "Hello", metadata={"note": secret}),
}


def snapshot(messages: list[dict]) -> list[dict]:
    return [{"ts": ts, **message} for ts, message in enumerate(messages, start=2)]


def store(messages: list[dict]) -> Task:
    task = Task.unscoped.get()
    actions.replace_messages(
        task_pk=task.pk, messages=snapshot(messages), requested_at=timezone.now()
    )
    return task


def everything(client, path: str) -> dict[str, str]:
    """Whatever a stranger gets below a link: every route, every page, every message."""
    token = path.rpartition("/")[2]
    routes = [route for route in walk() if route.path.startswith("share/")]
    task = Share.unscoped.get(token_hash=guard.digest(token)).task
    pages = task.messages.count() // 200 + 2
    got = {}
    for route in routes:
        for message_id in task.messages.values_list("pk", flat=True)[:5]:
            filled = route.path.replace("<str:token>", token)
            filled = re.sub(r"<int:message_id>", str(message_id), filled)
            filled = re.sub(r"<[^>]+>", "0", filled)
            for page in range(1, pages):
                answer = client.get(f"/{filled}?page={page}")
                body = b"".join(answer) if answer.streaming else answer.content
                got[f"{filled}?page={page}"] = body.decode("utf-8", "replace")
            if "<int:message_id>" not in route.path:
                break
    return got


def words(text: str) -> str:
    """What is left of a page without its tags."""
    return re.sub(r"<[^>]*>", "", html.unescape(text))


def assert_hidden(texts: dict[str, str], shapes: Iterable[Shape] = SHAPES) -> None:
    for where, text in texts.items():
        for seen in (text, html.unescape(text), words(text), text.replace("\\/", "/")):
            shown = [shape.name for shape in shapes for part in shape.parts if part in seen]
            assert shown == [], where


@pytest.fixture
def public(client, alice, acme):
    """Makes a task of these messages and shares it with everybody."""

    def share(messages: list[dict], *, prompt: str = "The prompt") -> str:
        record(alice, acme, text=prompt)
        store([said("text", prompt), *messages])
        return path_of(ask(client, alice, acme, visibility="public"))

    return share


class TestEveryRepresentation:
    @pytest.mark.parametrize("field", FIELDS)
    def test_no_secret_of_any_shape_in_any_field(self, client, public, field):
        path = public([FIELDS[field](shape.text) for shape in SHAPES])

        got = everything(client, path)

        assert not Mask.unscoped.exclude(scope="text").exists()  # found, not hidden in bulk
        assert "[masked: GitHub token #1]" in words("".join(got.values())) or field in {
            "image", "request", "field nobody knows", "link to an image",
        }  # fmt: skip
        assert_hidden(got)

    @pytest.mark.parametrize("padding", [0, 180])
    def test_none_in_a_title_even_where_it_is_cut(self, client, alice, acme, padding):
        for number, shape in enumerate(SHAPES):
            task_id = f"task-{number}"
            prompt = f"{'word ' * (padding // 5)}{shape.text}"
            record(alice, acme, task_id=task_id, text=prompt)
            path = path_of(ask(client, alice, acme, taskId=task_id, visibility="public"))

            text = client.get(path).content.decode()

            assert_hidden({path: text}, [shape])
            (title,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
            for part in shape.parts:
                assert part[:9] not in html.unescape(title), shape.name

    def test_the_raw_messages_hold_none(self, public):
        """What every representation is made of, downloads included."""
        public([field(shape.text) for field in FIELDS.values() for shape in SHAPES])
        share = Share.unscoped.get()
        masks = guard.masks_for(share, at=timezone.now())

        texts = [masks.message(row).body for row in share.task.messages.all()]

        assert_hidden({"the messages": "\n".join(texts)})

    def test_equal_secrets_have_equal_numbers(self, client, public):
        other = "ghp_" + GITHUB[4:][::-1]
        path = public([said("text", t) for t in (f"a {GITHUB}", f"b {other}", f"c {GITHUB}")])

        text = client.get(path).content.decode()

        assert re.findall(r"[abc] \[masked: GitHub token #\d\]", text) == [
            "a [masked: GitHub token #1]",
            "b [masked: GitHub token #2]",
            "c [masked: GitHub token #1]",
        ]

    def test_a_colour_within_a_secret_hides_nothing_from_the_guard(self, client, public):
        """``grep --color`` marks the part that it was asked for."""
        torn = f"\x1b[01;31m{GITHUB[:4]}\x1b[m{GITHUB[4:]}"
        text = client.get(public([said("command_output", torn)])).content.decode()

        assert GITHUB[4:] not in text
        assert "[masked: GitHub token #1]" in text

    def test_a_secret_that_is_spelled_in_escapes_is_read_as_clients_do(self, client, public):
        spelled = "".join(f"\\u{ord(letter):04x}" for letter in GITHUB)
        path = public([{**tool(), "text": f'{{"tool":"teleport","value":"{spelled}"}}'}])

        assert GITHUB not in client.get(path).content.decode()

    def test_a_password_that_is_a_word_is_masked_in_its_place(self, client, public):
        path = public([said("text", "postgres://app:sunshine@db/main"), said("text", "sunshine!")])

        text = client.get(path).content.decode()

        assert "postgres://app:[masked: password #1]@db/main" in text
        assert "sunshine!" in text

    def test_the_address_of_the_repository_loses_its_credentials(self, alice, acme):
        task = Task(title="x", repository_url="https://me:hunter2@git.example/a.git")
        masks = guard.Masks({detection.Needle("anything"): "[masked]"})

        assert masks.task(task).repository_url == "https://git.example/a.git"
        assert task.repository_url != masks.task(task).repository_url


class TestHostileInput:
    """J1, F7: what the author of a conversation or of a mask can do to its readers."""

    def test_markup_around_and_in_masks_stays_text(self, client, alice, public):
        evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
        path = public([said("text", f"{evil} {GITHUB}](javascript:alert(1)) {evil}")])
        client.force_login(alice)
        client.post(f"/task/{TASK}/masks/text", {"text": evil})

        for where in (path, f"/task/{TASK}/public"):
            text = client.get(where).content.decode()
            assert "<script>alert" not in text
            assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", text)
            assert 'href="javascript' not in text

    def test_a_message_of_very_many_secrets_is_hidden_whole(self, client, public):
        many = [f"ghp_{n:06d}{GITHUB[10:]}" for n in range(guard.MAX_NEEDLES + 100)]
        path = public([said("text", "\n".join(many[:450])), said("text", "\n".join(many[450:]))])

        text = client.get(path).content.decode()

        assert not [secret for secret in many if secret in text]
        assert "[masked: message #1]" in text
        assert Mask.unscoped.filter(scope="text").count() <= guard.MAX_NEEDLES

    def test_masks_that_overlap_leave_nothing_between_them(self):
        masks = guard.Masks({detection.Needle("abcdef"): "[1]", detection.Needle("defghij"): "[2]"})

        assert masks.text("xabcdefghijx abcdef") == "x[2]x [1]"

    def test_a_body_that_is_no_json_shows_nothing(self):
        row = Message(ts=1, type="say", kind="text", body=f"{{{GITHUB}")
        masks = guard.Masks({detection.Needle(GITHUB): "[1]"})

        assert GITHUB not in masks.message(row).body


@pytest.fixture
def scanned(monkeypatch):
    """The documents that are scanned from now on."""
    seen = []
    find = detection.find
    monkeypatch.setattr(
        detection, "find", lambda document: (seen.append(document), find(document))[1]
    )
    return seen


class TestScanning:
    def test_each_version_of_a_message_is_scanned_once(self, client, alice, acme, public, scanned):
        messages = [said("text", f"{n} {GITHUB}") for n in range(120)]
        path = public(messages)
        assert len(scanned) == 121
        scanned.clear()

        client.get(path)
        ask(client, alice, acme, visibility="public")
        store([said("text", "The prompt"), *messages])
        client.get(path)
        record(alice, acme, ts=3, text=messages[0]["text"])
        client.get(path)
        assert scanned == []

        record(alice, acme, ts=3, text=f"changed {NPM}")
        text = client.get(path).content.decode()
        assert [document["text"] for document in scanned] == [f"changed {NPM}"]
        assert NPM not in text

    def test_a_new_message_is_scanned_before_anyone_sees_it(self, client, alice, acme, public):
        path = public([])
        record(alice, acme, ts=99, text=f"later {GITHUB}")

        text = client.get(path).content.decode()

        assert "later [masked: GitHub token #1]" in text

    def test_a_message_that_was_on_its_way_while_the_task_was_shared(self, client, alice, public):
        """The writer read its task before it was guarded, and writes after."""
        path = public([])
        before = Task.unscoped.get()
        before.guarded_by = ""
        event = {"message": {"ts": 99, **said("text", GITHUB)}}
        actions.apply_event(
            actor=factories.actor(alice, before.organization),
            task=before,
            event=actions.Event("Task Message", event),
            at=timezone.now(),
        )

        assert Message.unscoped.get(ts=99).awaits_scan
        assert GITHUB not in client.get(path).content.decode()

    def test_a_link_from_before_the_guard_is_masked_too(self, client, public):
        path = public([said("text", GITHUB)])
        Mask.unscoped.all().delete()
        Message.unscoped.update(scan_key="")
        Task.unscoped.update(guarded_by="")

        assert GITHUB not in client.get(path).content.decode()

    def test_another_version_of_the_detector_scans_again(
        self, client, public, scanned, monkeypatch
    ):
        path = public([said("text", GITHUB)])
        scanned.clear()
        monkeypatch.setattr(detection, "VERSION", "next")

        client.get(path)
        client.get(path)

        assert len(scanned) == 2

    def test_a_task_that_nobody_shares_is_not_scanned(self, client, alice, acme, scanned):
        record(alice, acme, text=GITHUB)
        ask(client, alice, acme, visibility="organization")

        assert scanned == []
        assert not Message.unscoped.filter(awaits_scan=True).exists()

    def test_reading_asks_as_much_for_many_masks_as_for_one(
        self, client, public, django_assert_num_queries, django_assert_max_num_queries
    ):
        path = public([said("text", GITHUB)])
        with django_assert_max_num_queries(12) as asked:
            client.get(path)
        few = len(asked)
        store([said("text", "The prompt"), *(said("text", shape.text) for shape in SHAPES)])
        with django_assert_num_queries(few):
            client.get(path)

    def test_a_large_page_costs_bounded_work(self, public, monkeypatch):
        """F7: masks look at each string once a needle, whatever the strings are."""
        public([said("text", "a" * 50_000)])
        looked = []
        spans = guard.Masks._spans
        monkeypatch.setattr(
            guard.Masks,
            "_spans",
            lambda self, text: (looked.append(len(text)), spans(self, text))[1],
        )
        share = Share.unscoped.get()
        masks = guard.Masks({detection.Needle("a" * 20 + "b"): "[1]"})
        masks.messages(share.task.messages.all())

        assert sum(looked) <= 4 * sum(len(row.body) for row in share.task.messages.all())


class TestTheNameOfTheAuthor:
    """Somebody who gave no name goes by their address; of that a public link tells nothing."""

    @pytest.fixture
    def path(self, alice, public):
        alice.first_name = alice.last_name = ""
        alice.save(update_fields=["first_name", "last_name"])
        return public([said("user_feedback", "Go on")])

    def test_is_no_address_in_any_representation(self, client, path, drawn):
        got = everything(client, path)

        assert [where for where, text in got.items() if "alice@acme" in text] == []
        assert words(got[f"{path[1:]}?page=1"]).count("The author") == 3  # header, two turns
        assert drawn[0].facts[0] == "The author"

    def test_is_as_masked_in_what_its_author_looks_at_first(self, client, alice, path):
        client.force_login(alice)

        shown = (
            client.get(f"/task/{TASK}/public").content.decode().partition("As readers see it")[2]
        )

        assert "The author" in shown
        assert "alice@acme" not in shown

    def test_is_the_address_for_colleagues(self, client, alice, bob, acme, path):
        client.force_login(bob)
        internal = path_of(ask(client, alice, acme))

        assert "alice@acme.example" in client.get(internal).content.decode()

    def test_is_masked_like_any_text(self, client, alice, public, drawn):
        alice.last_name = "of Bluebird (alice@other.example)"
        alice.save(update_fields=["last_name"])
        path = public([said("text", "Bluebird")])
        assert "The author" in words(client.get(path).content.decode())
        alice.last_name = "of Bluebird"
        alice.save(update_fields=["last_name"])
        client.force_login(alice)
        client.post(f"/task/{TASK}/masks/text", {"text": "Bluebird"})
        client.logout()

        got = everything(client, path)

        assert [where for where, text in got.items() if "Bluebird" in text] == []
        assert "Alice of [masked: text #1]" in words(got[f"{path[1:]}?page=1"])
        assert drawn[-1].facts[0] == "Alice of [masked: text #1]"


class TestOrganizationLinks:
    def test_mask_nothing_and_say_so(self, client, alice, bob, acme):
        record(alice, acme, text=GITHUB)
        path = path_of(ask(client, alice, acme))
        client.force_login(bob)

        text = client.get(path).content.decode()

        assert GITHUB in text
        assert "Nothing is masked for members" in text

    def test_a_member_gets_no_more_of_a_public_link_than_a_stranger(self, client, bob, public):
        path = public([said("text", GITHUB)])
        client.force_login(bob)

        assert GITHUB not in client.get(path).content.decode()


class TestTheAuthor:
    @pytest.fixture
    def mine(self, client, alice, acme):
        record(alice, acme, text="Read .env and mail me at me@example.com")
        store(
            [
                said("text", "Read .env and mail me at me@example.com"),
                tool(tool="readFile", path=".env", content="COLOUR=mauve\nSHAPE=round"),
                said("text", f"Project Bluebird uses {GITHUB}"),
                said("text", "A picture", images=IMAGES[2:3]),
                said("user_feedback", "first line\n**bold** second line"),
            ]
        )
        client.force_login(alice)
        return f"/task/{TASK}"

    def link(self, client) -> str:
        client.post(f"/task/{TASK}/public")
        return actions.url_of(Share.unscoped.get()).rpartition("/")[2]

    def test_sees_what_will_be_masked_before_there_is_a_link(self, client, mine):
        text = client.get(f"{mine}/public").content.decode()

        assert not Share.unscoped.exists()
        assert "Nothing is public yet" in text
        assert "[masked: GitHub token #1]" in text
        assert f"{GITHUB[:4]}…" in text
        assert GITHUB not in text

    def test_makes_the_link_there(self, client, mine):
        answer = client.post(f"{mine}/public", follow=True).content.decode()

        assert Share.unscoped.get().visibility == "public"
        assert "Anyone who has the link" in answer
        assert actions.url_of(Share.unscoped.get()) in answer

    def test_reads_why_the_policy_forbids_it(self, client, mine, alice, acme):
        set_policy(acme, alice, allowPublicTaskSharing=False)

        assert b"Public sharing is not enabled" in client.get(f"{mine}/public").content
        client.post(f"{mine}/public")
        assert not Share.unscoped.exists()

    def test_masks_a_text(self, client, mine):
        client.post(f"{mine}/masks/text", {"text": "Bluebird"})

        text = client.get(f"/share/{self.link(client)}").content.decode()

        assert "Bluebird" not in text
        assert "Project [masked: text #1] uses [masked: GitHub token #1]" in text

    def test_masks_lines_that_the_page_shows_otherwise(self, client, mine):
        client.post(f"{mine}/masks/text", {"text": "first line\r\nsecond line"})

        text = client.get(f"/share/{self.link(client)}").content.decode()

        assert "first line" not in text
        assert "second line" not in text

    def test_is_told_of_a_text_that_is_not_there(self, client, mine):
        """A typing error must not pass for a mask."""
        for text, words in (("Blubird", "is not in the conversation"), ("abc", "Give 4 to")):
            answer = client.post(f"{mine}/masks/text", {"text": text}).content.decode()
            assert words in answer
            assert f">{text}</textarea>" in html.unescape(answer).replace("\n", "")

    def test_masks_a_file(self, client, mine):
        assert b'<option value=".env">' in client.get(f"{mine}/public").content
        client.post(f"{mine}/masks/file", {"file": ".env"})

        text = client.get(f"/share/{self.link(client)}").content.decode()

        assert "mauve" not in text
        assert "Read .env" in text

    def test_is_told_of_a_file_that_no_tool_used(self, client, mine):
        answer = client.post(f"{mine}/masks/file", {"file": "nowhere"})

        assert b"No tool of this conversation" in answer.content

    def test_hides_a_message_with_its_images(self, client, mine):
        pictured = Message.unscoped.get(ts=5)
        path = f"/share/{self.link(client)}"
        assert client.get(f"{path}/image/{pictured.pk}/0").status_code == 200
        client.post(f"{mine}/masks/message/{pictured.pk}")

        text = client.get(path).content.decode()

        assert "A picture" not in text
        assert "[masked: message #1]" in text
        assert client.get(f"{path}/image/{pictured.pk}/0").status_code == 404

    def test_a_hidden_prompt_makes_no_other_message_the_prompt(self, client, mine):
        client.post(f"{mine}/masks/message/{Message.unscoped.get(ts=2).pk}")

        text = client.get(f"/share/{self.link(client)}").content.decode()

        assert len(re.findall(r'<li class="talk__item"[^>]*data-form="prompt"', text)) == 2

    def test_masks_stay_through_a_backfill(self, client, mine):
        client.post(f"{mine}/masks/message/{Message.unscoped.get(ts=5).pk}")
        path = f"/share/{self.link(client)}"
        rows = [wire.loads(row.body.encode()) for row in Message.unscoped.order_by("ts")]
        actions.replace_messages(
            task_pk=Task.unscoped.get().pk, messages=rows, requested_at=timezone.now()
        )

        assert "A picture" not in client.get(path).content.decode()

    def test_masks_addresses_on_demand(self, client, mine):
        path = f"/share/{self.link(client)}"
        assert "me@example.com" in client.get(path).content.decode()
        client.post(f"{mine}/masks/emails", {"emails": "on"})
        text = client.get(path).content.decode()
        assert "me@example.com" not in text
        assert "[masked: e-mail address]" in text
        client.post(f"{mine}/masks/emails", {"emails": "off"})
        assert "me@example.com" in client.get(path).content.decode()

    def test_shows_a_false_positive_after_a_question_and_on_the_record(self, client, mine):
        path = f"/share/{self.link(client)}"
        mask = Mask.unscoped.get()
        asked = client.get(f"/masks/{mask.pk}/lift").content.decode()
        assert "may keep it" in asked
        assert GITHUB not in client.get(path).content.decode()

        client.post(f"/masks/{mask.pk}/lift")

        assert GITHUB in client.get(path).content.decode()
        entry = Entry.objects.get(action="mask.lifted")
        assert (entry.target_id, entry.after["kind"]) == (mask.pk, "GitHub token")
        assert GITHUB not in str(entry.after)

    def test_a_lifted_mask_does_not_come_back_by_itself_but_by_its_author(self, client, mine):
        path = f"/share/{self.link(client)}"
        mask = Mask.unscoped.get()
        client.post(f"/masks/{mask.pk}/lift")
        Message.unscoped.update(awaits_scan=True, scan_key="")
        assert GITHUB in client.get(path).content.decode()

        client.post(f"/masks/{mask.pk}/put-back")

        assert GITHUB not in client.get(path).content.decode()
        assert Entry.objects.filter(action="mask.put_back").count() == 1

    def test_each_mask_is_on_the_record_once(self, client, mine):
        for _ in range(2):
            client.post(f"{mine}/masks/text", {"text": "Bluebird"})

        entry = Entry.objects.get(action="mask.added")
        assert "Bluebird" not in str(entry.after)

    def test_keeps_the_list_for_the_next_link(self, client, mine):
        client.post(f"{mine}/masks/text", {"text": "Bluebird"})
        self.link(client)
        client.post(f"/shares/{Share.unscoped.get().pk}/revoke")
        client.post(f"{mine}/public")
        share = Share.unscoped.get(revoked_at=None)

        assert b"Bluebird" not in client.get(actions.url_of(share).partition("3000")[2]).content

    def test_nobody_else_has_a_say(self, client, mine, bob, adam):
        """A1: not even who may read the task."""
        client.get(f"{mine}/public")
        mask, message = Mask.unscoped.get(), Message.unscoped.first()
        for person in (bob, adam):
            client.force_login(person)
            for path in (
                f"{mine}/public", f"{mine}/masks/text", f"{mine}/masks/file", f"{mine}/masks/emails",
                f"{mine}/masks/message/{message.pk}", f"/masks/{mask.pk}/lift",
                f"/masks/{mask.pk}/put-back",
            ):  # fmt: skip
                assert client.post(path, {"text": "Bluebird"}).status_code == 404
        assert Mask.unscoped.filter(lifted_at=None).count() == 1

    def test_what_is_masked_is_nowhere_in_the_clear(self, client, mine):
        """I2: the list of masks is no list of secrets."""
        client.get(f"{mine}/public")

        assert GITHUB not in str(Mask.unscoped.values())


class TestTheWire:
    def test_the_button_of_the_editor_masks_at_once(self, client, alice, acme):
        """Its answer is what it was: the editor copies the URL."""
        record(alice, acme, text=f"The prompt {GITHUB}")
        answer = ask(client, alice, acme, visibility="public")

        assert set(answer.json()) == {"success", "shareUrl", "isNewShare", "manageUrl"}
        assert Mask.unscoped.get().kind == "GitHub token"
        assert GITHUB not in client.get(path_of(answer)).content.decode()
