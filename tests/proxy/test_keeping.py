"""Prompts and answers are stored where an organization wants it, and nowhere else."""

import asyncio
import json
import time
from datetime import timedelta

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import User
from audit.models import Entry
from credits import actions as credit
from orgs.models import Organization
from proxy import actions, admission, gate, keeping, running, spending, transcripts
from proxy.calls import read, read_embeddings, read_images
from proxy.models import Completion, LanguageModel, Transcript, TranscriptKeeping
from proxy.pricing import Usage
from proxy.tasks import forget_transcripts
from proxy.transcripts import Answered, Draft, Part, Turn, read_answer, read_request
from roocloud.lib import sealed
from roocloud.lib.crypto import new_key
from roocloud.lib.fresh import forget_everything
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories
from tests.fakes.upstream import KEY, WORDS, fake_upstream
from tests.proxy import test_usage
from tests.proxy.test_completions import MESSAGES, PRICE, all_settled
from tests.proxy.test_key_pages import make
from tests.proxy.test_usage import begin, finish

CANARY = "canary-of-a-prompt"
models = test_usage.models
DAY = timedelta(days=1)


def switch(org, days, by):
    actor = factories.actor(by, org)
    return keeping.set_days(organization_id=org.pk, days=days, by=actor, at=timezone.now())


def call_of(*texts, **more):
    messages = [{"role": "user", "content": text} for text in texts]
    return read(json.dumps({"model": "v/one", "messages": messages, **more}).encode())


def events(*deltas) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def draft_of(person, org, *, asks=CANARY, says="Yes", completion_id="chatcmpl_1", at=None):
    draft = Draft(completion_id, org.pk, person.pk, at or timezone.now(), call_of(asks))
    draft.feed(events({"content": says}))
    return draft


def text_of(turns) -> str:
    return "|".join(part.text for turn in turns for part in turn.parts)


def dump() -> str:
    """Every value of every row."""
    return str([list(model._base_manager.values()) for model in apps.get_models()])


# --- The choice -------------------------------------------------------------------------------


class TestTheChoice:
    def test_is_made_by_owners_and_admins_alone_and_audited(
        self, alice, adam, bob, rhea, mallory, acme, evil
    ):
        for person, org in ((bob, acme), (rhea, acme), (mallory, evil)):
            with pytest.raises(Forbidden):
                keeping.set_days(
                    organization_id=acme.pk, days=7, by=factories.actor(person, org),
                    at=timezone.now(),
                )  # fmt: skip
        assert not keeping.keeps(acme.pk)
        for person, days in ((alice, 7), (adam, 3), (adam, 3), (alice, None)):
            switch(acme, days, person)
            assert keeping.keeps(acme.pk) == bool(days)
        entries = Entry.objects.filter(action__startswith="transcripts.").order_by("at")
        assert [(e.actor_id, e.before["days"], e.after["days"]) for e in entries] == [
            (alice.pk, None, 7), (adam.pk, 7, 3), (alice.pk, 3, None),
        ]  # fmt: skip

    @pytest.mark.parametrize("days", [0, -1, 366])
    def test_is_for_a_day_to_a_year(self, alice, acme, days):
        with pytest.raises(InvalidInput):
            switch(acme, days, alice)

    def test_on_its_page(self, client, alice, bob, mallory, acme):
        path = f"/organizations/{acme.pk}/prompts"
        for person, status in ((bob, 403), (mallory, 404)):
            client.force_login(person)
            assert client.get(path).status_code == status
            assert client.post(path, {"keeps": "on", "days": "7"}).status_code == status
        client.force_login(alice)
        assert "Not stored" in client.get(path).text
        for bad in ("", "0", "366", "x"):
            assert 'class="errorlist"' in client.post(path, {"keeps": "on", "days": bad}).text
        asked = client.post(path, {"keeps": "on", "days": "7"})
        assert asked["Location"].startswith("/accounts/reauthenticate/")
        assert not TranscriptKeeping.unscoped.exists()
        answer = client.post(
            "/accounts/reauthenticate/", {"password": factories.PASSWORD, "next": path}
        )
        assert answer["Location"] == path
        assert TranscriptKeeping.unscoped.get().days == 7
        assert "Alice" in client.get(path).text

    def test_asks_before_it_deletes(self, client, alice, acme, django_capture_on_commit_callbacks):
        path = f"/organizations/{acme.pk}/prompts"
        client.force_login(alice)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        switch(acme, 30, alice)
        for number in range(3):
            old = timezone.now() - number * 5 * DAY
            keeping.store([draft_of(alice, acme, completion_id=f"c{number}", at=old)])
        assert "those of 1 completion?" in client.post(path, {"keeps": "on", "days": "8"}).text
        assert "those of 3 completions?" in client.post(path, {"days": "8"}).text
        assert Transcript.unscoped.count() == 3
        for fields, left in (({"keeps": "on", "days": "8"}, 2), ({"days": "8"}, 0)):
            with django_capture_on_commit_callbacks(execute=True):
                client.post(path, {**fields, "confirmed": "yes"})
            assert Transcript.unscoped.count() == left
        assert not keeping.keeps(acme.pk)

    def test_members_are_told_where_they_look(self, client, models, alice, bob, acme):
        key = make(bob, acme).key
        pages = ("/usage", "/account/keys", "/account/keys/new", f"/account/keys/{key.pk}")
        client.force_login(bob)
        assert not [page for page in pages if "what you ask" in client.get(page).text]
        switch(acme, 9, alice)
        told = [page for page in pages if "for 9 days" in client.get(page).text]
        assert told == list(pages)
        client.post("/account/context", {"organization": ""})
        assert "what you ask" not in client.get("/usage").text


# --- Who reads it -----------------------------------------------------------------------------


class TestATranscript:
    @pytest.fixture
    def completion(self, models, alice, bob, acme):
        """One of bob's in acme, stored for ten days."""
        switch(acme, 10, alice)
        (row,) = finish([begin(bob, acme)], Usage(1, 1))
        keeping.store([draft_of(bob, acme, completion_id=row.pk, says="Of course")])
        return row

    def test_is_for_its_member_and_the_admins(
        self, client, completion, alice, adam, bob, rhea, mallory, acme, evil
    ):
        """A1"""
        for person, sees in (
            (bob, True), (alice, True), (adam, True), (rhea, False), (mallory, False),
        ):  # fmt: skip
            client.force_login(person)
            answer = client.get(f"/usage/{completion.pk}")
            assert (CANARY in answer.text, "Of course" in answer.text) == (sees, sees), person
            assert not sees or "no-store" in answer["Cache-Control"]
            for org in (acme, evil, None):
                if org is None or org.memberships.filter(user=person).exists():
                    actor = factories.actor(person, org)
                    found = keeping.transcript_of(actor, completion, at=timezone.now())
                    assert bool(found) == (sees and org == acme)

    def test_is_read_by_an_admin_on_the_trail_and_by_its_member_off_it(
        self, client, completion, alice, bob, rhea, acme
    ):
        """L4"""
        for person in (bob, rhea, alice):
            client.force_login(person)
            client.get(f"/usage/{completion.pk}")
        (entry,) = Entry.objects.filter(action="transcript.read")
        assert (entry.actor_id, entry.target_id, entry.organization_id, entry.after) == (
            alice.pk, completion.pk, acme.pk, {"member": bob.pk},
        )  # fmt: skip

    def test_is_in_no_list_no_export_no_admin_and_no_audit(
        self, client, completion, alice, bob, acme
    ):
        """I1, I2"""
        switch(acme, 9, alice)
        client.force_login(alice)
        for page in ("/usage?of=all", "/", f"/organizations/{acme.pk}/prompts"):
            assert CANARY not in client.get(page).text
        assert CANARY not in str(read_export_of(alice))
        assert CANARY not in dump()
        User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
        for page in ("completion/", f"completion/{completion.pk}/change/", "transcriptkeeping/"):
            answer = client.get(f"/admin/proxy/{page}")
            assert (answer.status_code, CANARY in answer.text) == (200, False)
        assert client.get("/admin/proxy/transcript/").status_code == 404

    def test_is_shown_as_text(self, client, completion, bob, acme):
        """J1"""
        bad = "</pre><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7|add:7 }}"
        message = {"role": bad, "content": bad, "reasoning": bad}
        body = {"model": "v/one", "messages": [message], "stop": bad, bad: 1}
        draft = Draft("c2", acme.pk, bob.pk, timezone.now(), read(json.dumps(body).encode()))
        call = {"function": {"name": bad, "arguments": bad}}
        draft.feed(events({"content": bad, "tool_calls": [call], "refusal": bad}))
        keeping.store([draft])
        Completion.unscoped.filter(pk=completion.pk).update(id="c2")
        client.force_login(bob)
        page = client.get("/usage/c2").text
        assert page.count("&lt;script&gt;") >= 7
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{ 7|add:7 }}" in page

    def test_ends_with_its_time_before_anything_is_deleted(self, client, completion, alice, acme):
        Transcript.unscoped.update(started_at=timezone.now() - 10 * DAY)
        client.force_login(alice)
        assert CANARY not in client.get(f"/usage/{completion.pk}").text
        Transcript.unscoped.update(started_at=timezone.now())
        assert CANARY in client.get(f"/usage/{completion.pk}").text
        switch(acme, None, alice)
        assert CANARY not in client.get(f"/usage/{completion.pk}").text

    def test_is_encrypted_for_its_row_and_moves_to_a_new_field_key(
        self, client, completion, alice, settings
    ):
        """I2, I3"""
        row = Transcript.unscoped.values().get()
        assert row["sealed_request"].startswith("v1.")
        assert row["sealed_answer"].startswith("v1.")
        settings.ROOCLOUD_FIELD_KEYS = [new_key("new"), *settings.ROOCLOUD_FIELD_KEYS]
        moved = [one.is_lost for one in sealed.renew_all() if "Transcript" in one.column]
        assert moved == [False, False]
        settings.ROOCLOUD_FIELD_KEYS = settings.ROOCLOUD_FIELD_KEYS[:1]
        client.force_login(alice)
        assert CANARY in client.get(f"/usage/{completion.pk}").text
        renewed = Transcript.unscoped.values().get()
        Transcript.unscoped.update(
            sealed_request=renewed["sealed_answer"], sealed_answer=renewed["sealed_request"]
        )
        page = client.get(f"/usage/{completion.pk}")
        assert page.status_code == 200
        assert "cannot be opened" in page.text


def read_export_of(person):
    actor = factories.actor(person, Organization.unscoped.get(slug="acme"))
    filters = spending.Filters(
        first=timezone.now().date(), last=timezone.now().date(), is_team=True
    )
    return spending.export(spending.completions(actor, filters), before="")


class TestRetention:
    def test_deletes_what_is_older_and_of_those_that_want_none(self, alice, mallory, acme, evil):
        switch(acme, 5, alice)
        switch(evil, 365, mallory)
        now = timezone.now()
        for number in range(8):
            at = now - number * DAY
            keeping.store([draft_of(alice, acme, completion_id=f"a{number}", at=at)])
            keeping.store([draft_of(mallory, evil, completion_id=f"e{number}", at=at)])
        assert keeping.forget(at=now + timedelta(minutes=1), limit=2) == 3
        assert Transcript.unscoped.filter(organization=acme).count() == 5
        TranscriptKeeping.unscoped.filter(organization=evil).delete()
        forget_transcripts()
        assert set(Transcript.unscoped.values_list("organization_id", flat=True)) == {acme.pk}

    def test_is_asked_of_the_job_at_once_when_less_is_wanted(
        self, alice, acme, django_capture_on_commit_callbacks
    ):
        switch(acme, 30, alice)
        for number in range(4):
            at = timezone.now() - number * 5 * DAY
            keeping.store([draft_of(alice, acme, completion_id=f"a{number}", at=at)])
        for days, left in ((40, 4), (8, 2), (None, 0)):
            with django_capture_on_commit_callbacks(execute=True):
                switch(acme, days, alice)
            assert Transcript.unscoped.count() == left

    def test_what_was_deleted_does_not_come_back_and_what_runs_is_not_stored(self, alice, acme):
        switch(acme, 30, alice)
        draft = draft_of(alice, acme)
        keeping.store([draft])
        switch(acme, None, alice)
        forget_transcripts()
        draft.feed(events({"content": " more"}))
        keeping.store([draft, draft_of(alice, acme, completion_id="begun-before")])
        assert not Transcript.unscoped.exists()
        switch(acme, 30, alice)
        draft.feed(events({"content": " and more"}))
        keeping.store([draft])
        assert not Transcript.unscoped.exists()

    def test_goes_with_the_member_and_with_the_organization(self, alice, bob, acme):
        switch(acme, 30, alice)
        keeping.store([draft_of(bob, acme), draft_of(alice, acme, completion_id="c2")])
        bob.delete()
        assert [row.pk for row in Transcript.unscoped.all()] == ["c2"]
        acme.delete()
        assert not Transcript.unscoped.exists()
        assert not TranscriptKeeping.unscoped.exists()


# --- What is in it ----------------------------------------------------------------------------


class TestBounds:
    def test_of_a_long_conversation_the_newest_is_kept(self):
        texts = [f"{number} " + "x" * 2**16 for number in range(8)]
        asked = read_request(call_of(*texts))
        assert [turn.parts[0].text for turn in asked.turns] == texts[-3:]
        assert (asked.left_out, asked.is_cut) == (5, False)

    def test_of_a_huge_message_the_beginning_is_kept(self):
        asked = read_request(call_of("first", "ü" * 2**20))
        (turn,) = asked.turns
        size = len(turn.parts[0].text.encode())
        assert transcripts.MAX_INPUT - 200 < size <= transcripts.MAX_INPUT
        assert (asked.left_out, asked.is_cut) == (1, True)

    def test_a_million_of_nothing_have_an_end(self):
        assert len(read_request(call_of(*[""] * 50_000)).turns) < transcripts.MAX_INPUT // 32
        many = {f"p{number}": number for number in range(50_000)}
        asked = read_request(call_of("x", **many))
        assert len(asked.parameters) <= transcripts.MAX_PARAMETERS // 32
        assert asked.is_cut

    def test_images_and_files_are_named_and_left_out(self):
        image = "data:image/png;base64," + "A" * 5000
        parts = [
            {"type": "text", "text": "See:"},
            {"type": "image_url", "image_url": {"url": image}},
            {"type": "file", "file": {"file_data": "A" * 5000}},
        ]
        body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
        asked = read_request(read(json.dumps(body).encode()))
        assert [part.kind for part in asked.turns[0].parts] == ["text", "image_url", "file"]
        assert "5,031 bytes, not stored" in text_of(asked.turns)
        assert "AAAA" not in text_of(asked.turns)
        options = {"blackForestLabs": {"inputImage": image}}
        body = {"model": "m", "prompt": "A cat", "providerOptions": options}
        asked = read_request(read_images(json.dumps(body).encode()))
        assert text_of(asked.turns) == "A cat"
        assert "AAAA" not in str(asked)
        assert "bytes, not stored" in str(asked.parameters)

    def test_an_answer_is_cut(self):
        draft = Draft("c", "o", "u", timezone.now(), call_of("x"))
        for _ in range(3):
            draft.feed(events({"content": "y" * 100_000}))
        answer = draft.read()
        assert (len(text_of(answer.turns)) <= transcripts.MAX_ANSWER, answer.is_cut) == (True, True)
        draft.feed(events({"content": "z"}))
        assert "z" not in text_of(draft.read().turns)
        whole = {"choices": [{"message": {"content": "y" * 300_000}}]}
        answer = read_answer(json.dumps(whole).encode(), call_of("x").endpoint)
        assert (len(text_of(answer.turns)) <= transcripts.MAX_ANSWER, answer.is_cut) == (True, True)

    def test_a_stream_that_nobody_reads_does_not_grow(self, monkeypatch):
        monkeypatch.setattr(transcripts, "_MAX_UNREAD", 1000)
        draft = Draft("c", "o", "u", timezone.now(), call_of("x"))
        for _ in range(100):
            draft.feed(events({"content": "y" * 100}))
        answer = draft.read()
        assert 0 < len(text_of(answer.turns)) < 1000
        assert answer.is_cut

    def test_everything_that_models_say_is_told_apart(self):
        draft = Draft("c", "o", "u", timezone.now(), call_of("x"))
        first = {"index": 0, "function": {"name": "read", "arguments": '{"a"'}}
        then = {"index": 0, "function": {"arguments": ": 1}"}}
        for delta in (
            {"reasoning": "Let", "reasoning_details": [{"text": "Let"}]},
            {"reasoning_details": [{"text": " me"}]},
            {"content": "So"}, {"content": ":"}, {"tool_calls": [first]}, {"tool_calls": [then]},
        ):  # fmt: skip
            draft.feed(events(delta))
            draft.read()
        parts = [
            Part("reasoning", "Let me"),
            Part("text", "So:"),
            Part("tool call", 'read({"a": 1})'),
        ]
        assert draft.read() == Answered([Turn("assistant", parts)], is_cut=False)

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b'{"choices": 1}', b'{"choices": [1, {"message": []}]}', b"\xff", b"[" * 9999,
         b'{"choices": [{"message": {"content": "\\ud83d", "tool_calls": [1]}}]}',
         b'{"choices": [{"index": "x", "delta": {"content": [{"type": 1}], "tool_calls": 4}}]}'],
    )  # fmt: skip
    def test_no_shape_of_an_answer_is_a_fault(self, body, alice, acme):
        switch(acme, 1, alice)
        draft = draft_of(alice, acme)
        draft.feed(b"data: " + body + b"\n")
        keeping.store([draft])
        whole = draft_of(alice, acme, completion_id="c2")
        whole.take(body)
        keeping.store([whole])
        assert Transcript.unscoped.count() == 2

    def test_inputs_of_embeddings_are_texts(self):
        def asked(value):
            body = json.dumps({"model": "m", "input": value}).encode()
            return text_of(read_request(read_embeddings(body)).turns)

        assert asked("one") == "one"
        assert asked(["one", "two"]) == "one|two"
        assert asked([1, 2, 3]) == "3, not stored"
        assert asked([[1, 2], [3]]) == "2, not stored|1, not stored"


# --- Through the server -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def rich(transactional_db, upstream, alice, acme):
    """Models for acme and alice, who can both pay."""
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    facts = {"price": PRICE, "max_tokens": 100, "context_window": 2000}
    factories.models(row, ["plain", "endless", "waits"], prefix="fake", **facts)
    kind = LanguageModel.Kind.EMBEDDING
    factories.models(row, ["embed"], prefix="fake", kind=kind, **facts)
    for org in (acme, None):
        account = credit.account_of(
            user_id=alice.pk, organization_id=org.pk if org else None, at=at
        )
        credit.grant(account=account, amount_nanos=USD, key="g", by=None, at=at, note="")
    return acme


@pytest.fixture
def ask(live_url, rich, alice):
    """``ask(acme, stream=True)``: the answer as it came, once all is settled and stored."""

    def ask(org, model="plain", *, leaves_after=None, path="chat/completions", **more) -> str:
        message = {"role": "user", "content": CANARY}
        given = {"input": CANARY} if path == "embeddings" else {"messages": [message]}
        headers = factories.bearer(alice, org, kind="job") | more.pop("headers", {})

        async def post() -> bytes:
            body = {"model": f"fake/{model}", **given, **more}
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
                session.post(f"{live_url}/proxy/v1/{path}", json=body, headers=headers) as answer,
            ):
                assert answer.status == 200
                if leaves_after is None:
                    return await answer.read()
                return await answer.content.readexactly(leaves_after)

        came = asyncio.run(post())
        all_settled()
        return came.decode()

    return ask


def stored(count=1, *, is_running=False) -> list[tuple[str, str]]:
    """(asked, answered) of each transcript, once there are so many whose completions have ended."""
    deadline = time.monotonic() + 10
    while Transcript.unscoped.count() < count or (
        not is_running and Completion.unscoped.running().exists()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    rows = Transcript.unscoped.order_by("started_at")
    return [
        (text_of(row.request(transcripts.Asked).turns), text_of(row.answer(Answered).turns))
        for row in rows
    ]


@pytest.mark.django_db(transaction=True)
class TestThroughTheServer:
    def test_nothing_is_stored_by_default(self, ask, acme, monkeypatch):
        for name in ("Draft", "read_request", "read_answer"):
            monkeypatch.delattr(transcripts, name)
        monkeypatch.delattr(keeping, "store")
        for org in (acme, None):
            for is_stream in (True, False):
                ask(org, stream=is_stream)
        ask(acme, "embed", path="embeddings")
        said = dump()
        assert Completion.unscoped.count() == 5
        assert CANARY not in said
        assert "fake upstream." not in said
        assert not [m for m in ("Transcript", "IdempotencyKey")
                    if apps.get_model("proxy", m)._base_manager.exists()]  # fmt: skip

    def test_what_passes_is_stored_of_an_organization_that_wants_it(self, ask, alice, acme):
        switch(acme, 1, alice)
        forget_everything()
        ask(acme, stream=True)
        ask(acme)
        ask(acme, "embed", path="embeddings")
        ask(acme, headers={"Idempotency-Key": "k"})
        ask(acme, headers={"Idempotency-Key": "k"})
        ask(None, stream=True)
        said = "".join(WORDS)
        assert stored(4) == [
            (CANARY, said), (CANARY, said), (CANARY, "1, not stored"), (CANARY, said),
        ]  # fmt: skip
        assert CANARY not in dump()

    def test_of_a_stream_that_is_cut_what_passed_is_stored(self, ask, alice, acme):
        switch(acme, 1, alice)
        forget_everything()
        ask(acme, "endless", stream=True, leaves_after=2000)
        ((asked, said),) = stored()
        assert Completion.unscoped.get().status == "cut"
        assert asked == CANARY
        assert said.startswith("".join(WORDS) + " on")

    def test_a_stream_is_stored_as_far_as_it_has_come_while_it_runs(
        self, live_url, rich, upstream, alice, monkeypatch
    ):
        """So that of one whose process is killed there is what passed until then."""
        monkeypatch.setattr(running, "TICK_S", 0.05)
        switch(rich, 1, alice)
        forget_everything()
        upstream.go_on.clear()
        body = {"model": "fake/waits", "messages": MESSAGES, "stream": True}
        headers = factories.bearer(alice, rich, kind="job")

        def seen() -> list[str]:
            ((_, said),) = stored(is_running=True)
            return [said, Completion.unscoped.get().status]

        async def post() -> list[str]:
            url = f"{live_url}/proxy/v1/chat/completions"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, json=body, headers=headers) as answer,
            ):
                await answer.content.readuntil(b"Hello")
                found = await sync_to_async(seen)()
                upstream.go_on.set()
                assert WORDS[-1].encode() in await answer.read()
                return found

        assert asyncio.run(post()) == ["Hello", "running"]
        all_settled()
        assert stored() == [("Hello", "".join(WORDS))]

    @pytest.mark.parametrize("fault", [DatabaseError("no"), ValueError("no")])
    def test_no_completion_fails_for_it(self, ask, alice, acme, monkeypatch, caplog, fault):
        def fail(*_: object):
            raise fault

        monkeypatch.setattr(keeping, "insert_rows", fail)
        switch(acme, 1, alice)
        forget_everything()
        assert "".join(WORDS) in ask(acme)
        assert Completion.unscoped.get().cost_nanos > 0
        assert not Transcript.unscoped.exists()
        assert CANARY not in caplog.text

    def test_who_has_left_the_database_spoils_it_for_nobody_else(self, rich, alice, bob):
        switch(rich, 1, alice)
        gone = draft_of(bob, rich, completion_id="c1")
        bob.delete()

        async def run():
            keeping.keep(gone)
            keeping.keep(draft_of(alice, rich, completion_id="c2"))
            await keeping.kept()

        asyncio.run(run())
        assert [row.pk for row in Transcript.unscoped.all()] == ["c2"]


def test_the_choice_is_read_with_the_policy_and_costs_no_query_of_its_own(
    models,
    alice,
    acme,
    django_assert_num_queries,
):
    actor, at = factories.actor(alice, acme), timezone.now()
    switch(acme, 1, alice)
    assert gate._policy(actor, at)[2]
    with django_assert_num_queries(0):
        assert gate._policies.get(gate._key(actor), at=at)[2]
    assert admission.Order.__dataclass_fields__["is_kept"].default is False
