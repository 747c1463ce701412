"""Remote control in a browser, of editors that the published client plays."""

import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from bridge.models import Command
from roocloud.entry import gate
from tasks_sharing import actions
from tests import factories
from tests.bridge.clients import running
from tests.bridge.conftest import World, cookies_of, instance, message, question, token_of
from tests.tasks_sharing.everything import BEGAN, messages, picture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
LIVE = "[data-part=link][data-state=live]"
USAGE = {
    "totalTokensIn": 31_870,
    "totalTokensOut": 1_236,
    "totalCost": 0.0703,
    "contextTokens": 9_000,
}
MODES = [{"slug": "code", "name": "Code"}, {"slug": "ask", "name": "Ask"}]


@pytest.fixture
def world(live_url) -> Iterator[World]:
    with running() as clients:
        yield World(clients, live_url)


@pytest.fixture
def token(world, alice):
    return token_of(alice)


@pytest.fixture
def open_page(visitor, alice):
    """``open_page(path)``: alice's browser there."""

    def open_(path, **context):
        one = visitor(**context)
        one.page.set_default_timeout(15_000)
        for pair in cookies_of(alice).split("; "):
            name, _, value = pair.partition("=")
            one.context.add_cookies([{"name": name, "value": value, "url": one.base}])
        one.page.goto(one.base + path)
        return one

    return open_


def record(alice, rows, task_id="task-1", organization=None) -> None:
    actor, at = factories.actor(alice, organization), timezone.now()
    facts = {"taskId": task_id, "mode": "code", "repositoryName": "acme/shop"}
    told = [actions.Event("Task Message", {**facts, "message": row}) for row in rows]
    for event in (actions.Event("Task Created", facts), *told):
        with transaction.atomic():
            actions.record_event(actor=actor, event=event, at=at)


def test_an_editor_appears_works_asks_and_leaves(world, token, open_page):
    one = open_page("/roomote")
    page = one.page
    page.wait_for_selector("[data-part=state] >> text=Live")
    assert page.is_visible("text=No editor is connected yet")
    one.look("roomote-empty")
    editor = world.working_editor(token, task={"tokenUsage": USAGE})
    row = page.wait_for_selector("[data-section=running] .editors__row")
    assert "Mend the till" in row.inner_text()
    assert "acme/shop · main · desk" in row.inner_text()
    assert not page.is_visible("text=No editor is connected yet")
    asks = question(5)["message"]
    waiting = instance(taskAsk=asks, task={"taskStatus": "interactive", "tokenUsage": USAGE})
    editor.emit("extension:heartbeat", waiting)
    page.wait_for_selector("[data-section=needs] roomote-question >> text=npm test")
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    world.editor(token, window="window-2").emit(
        "extension:register",
        instance(instanceId="window-2", workspacePath="/home/alice/blog", gitProperties=None,
                 task={"taskId": "", "taskStatus": "none", "task": None}),
        None,
    )  # fmt: skip
    page.wait_for_selector("[data-section=idle] .editors__row >> text=No task open")
    one.look("roomote-list")
    editor.cut()
    page.wait_for_selector("[data-section=needs] >> text=reconnecting …")
    editor.wait("connect")
    editor.emit("extension:register", waiting, None)
    page.wait_for_selector("[data-section=needs] [data-part=word] >> text=needs you")
    editor.emit("extension:unregister", instance(), None)
    page.wait_for_selector("[data-section=offline] >> text=Mend the till")
    expect(page).to_have_title(re.compile(r"^[^(]"))


def follow(world, token, open_page, **changes):
    """An editor with a task, and a page that follows it."""
    editor = world.working_editor(token, modes=MODES, **changes)
    one = open_page("/roomote/window-1")
    one.page.wait_for_selector(LIVE)
    return editor, one


def test_a_task_streams_and_is_as_recorded_at_the_end(world, token, alice, open_page):
    record(alice, messages()[:12])
    editor, one = follow(world, token, open_page, task={"tokenUsage": USAGE})
    page = one.page
    at = BEGAN + 900_000
    for text in ("I will", "I will look at", "I will look at the till"):
        editor.emit("task:event", message(at, text, partial=True), None)
        page.wait_for_selector(f".roomote__said >> text=/^{text}$/")
    one.look("roomote-writing", is_whole=False)
    editor.emit("task:event", message(at, "I will look at the till."), None)
    record(alice, [message(at, "I will look at the till.")["message"]])
    page.wait_for_selector(".task__main >> text=I will look at the till.")
    page.wait_for_selector(".roomote__said", state="detached")
    assert page.locator("text=I will look at the till.").count() == 1
    one.look("roomote-task", is_whole=False)


def test_a_question_is_approved(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    editor.emit("task:event", question(5, text="rm -rf build && npm test"), None)
    page.wait_for_selector("roomote-question >> text=rm -rf build")
    assert page.is_visible("roomote-question >> text=deletes or overwrites")
    one.look("roomote-question", is_whole=False)
    page.get_by_role("button", name="Run").click()
    [heard] = editor.wait("task:relayed_command")
    assert (heard["type"], heard["payload"]) == ("approve_ask", {})
    page.wait_for_selector("[data-part=receipt] >> text=Waiting for the editor")
    editor.emit("task:event", message(6, "Running"), None)
    page.wait_for_selector("[data-part=receipt] >> text=Approved. The editor accepted it")
    page.wait_for_selector("roomote-question", state="hidden")
    one.look("roomote-approved", is_whole=False)


def test_an_approval_that_comes_too_late_is_refused_visibly(world, token, open_page):
    """D3: the page still shows the question when the editor has moved on."""
    editor, one = follow(world, token, open_page)
    page = one.page
    editor.emit("task:event", question(5), None)
    page.wait_for_selector("roomote-question >> text=npm test")
    page.evaluate("document.querySelector('roomote-task').hearTask = () => {}")
    editor.emit("task:event", message(6, "The developer said yes at the desk"), None)
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("[data-part=receipt] >> text=Too late")
    assert editor.count("task:relayed_command") == 0
    one.look("roomote-too-late", is_whole=False)


def test_a_suggestion_is_chosen_and_a_diff_is_denied_with_a_reason(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    asked = '{"question": "Which port?", "suggest": [{"answer": "8080"}, {"answer": "A free one, chosen at each start", "mode": "ask"}]}'
    editor.emit("task:event", question(5, "followup", asked), None)
    page.wait_for_selector("text=Which port?")
    one.look("roomote-suggestions", is_whole=False)
    page.get_by_role("button", name="A free one").click()
    [heard] = editor.wait("task:relayed_command")
    assert (heard["type"], heard["payload"]["text"]) == (
        "message", "A free one, chosen at each start",
    )  # fmt: skip
    assert heard["payload"]["mode"] == "ask"
    diff = '{"tool": "appliedDiff", "path": "src/till.py", "isOutsideWorkspace": true, "diff": "@@ -1,2 +1,2 @@\\n def sum(rows):\\n-    return 0\\n+    return sum(rows)"}'
    editor.emit("task:event", question(7, "tool", diff), None)
    page.wait_for_selector("roomote-question >> text=src/till.py")
    assert page.is_visible("text=outside the workspace")
    page.get_by_role("button", name="Add a note").click()
    page.fill(".ask__note", "Call it total")
    one.look("roomote-diff", is_whole=False)
    page.get_by_role("button", name="Deny").click()
    [heard] = editor.wait("task:relayed_command")
    assert (heard["type"], heard["payload"]) == ("deny_ask", {"text": "Call it total"})


def test_a_break_is_repaired(world, token, alice, open_page, monkeypatch):
    """D8: what came meanwhile is there within five seconds of the return."""
    record(alice, messages()[:4])
    editor, one = follow(world, token, open_page)
    page = one.page
    editor.emit("task:event", message(BEGAN + 900_000, "half", partial=True), None)
    page.wait_for_selector(".roomote__said >> text=half")
    monkeypatch.setattr(gate, "is_closed", True)
    page.wait_for_selector("[data-part=link] >> text=Reconnecting …")
    assert page.is_disabled("[data-part=main]")
    one.look("roomote-reconnecting", is_whole=False)
    page.fill("roomote-composer textarea", "kept over the break")
    record(alice, [message(BEGAN + 900_000, "whole, and missed")["message"]])
    monkeypatch.setattr(gate, "is_closed", False)
    editor.emit("extension:register", instance(modes=MODES), None)  # as editors do then
    page.wait_for_selector("text=whole, and missed", timeout=5_000)
    page.wait_for_selector(LIVE, timeout=5_000)
    page.wait_for_selector(".roomote__said", state="detached")
    page.wait_for_selector("[data-part=main]:not(:disabled)", timeout=5_000)
    assert page.input_value("roomote-composer textarea") == "kept over the break"
    one.complaints[:] = [complaint for complaint in one.complaints if "503" not in complaint]


def test_a_draft_survives_and_a_message_goes_out_once(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    page.fill("roomote-composer textarea", "and the tests")
    page.reload()
    page.wait_for_selector(LIVE)
    assert page.input_value("roomote-composer textarea") == "and the tests"
    page.select_option("[data-part=mode]", "ask")
    page.get_by_role("button", name="Send").click()
    [heard] = editor.wait("task:relayed_command")
    assert heard["payload"] == {"text": "and the tests", "mode": "ask"}
    editor.emit("task:event", message(6, "and the tests", say="user_feedback"), None)
    page.wait_for_selector("[data-part=receipt] >> text=Message. The editor accepted it")
    assert editor.count("task:relayed_command") == 1
    assert page.input_value("roomote-composer textarea") == ""


def test_a_command_without_an_effect_is_called_unconfirmed(world, token, open_page):
    """D2"""
    editor, one = follow(world, token, open_page)
    page = one.page
    editor.emit("task:event", question(5), None)
    page.get_by_role("button", name="Run").click()
    editor.wait("task:relayed_command")
    page.wait_for_selector("[data-part=receipt] >> text=Waiting for the editor")
    Command.unscoped.update(sent_at=timezone.now() - timedelta(seconds=14))
    page.wait_for_selector("[data-part=receipt][data-state=unconfirmed] >> text=look before you")
    one.look("roomote-unconfirmed", is_whole=False)


def test_drafts_are_forgotten_at_sign_out(world, token, open_page):
    _, one = follow(world, token, open_page)
    page = one.page
    page.fill("roomote-composer textarea", "a secret plan")
    page.evaluate("localStorage.setItem('roomote:draft:user_of_before:window-1', '{}')")
    page.reload()
    page.wait_for_selector(LIVE)
    kept = "Object.keys(localStorage).filter(key => key.startsWith('roomote:'))"
    assert [key.rpartition(":")[2] for key in page.evaluate(kept)] == ["window-1"]
    assert page.input_value("roomote-composer textarea") == "a secret plan"
    page.goto(one.base + "/account")
    page.click("summary[aria-label^='Account menu']")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in").first.wait_for()
    page.wait_for_function(f"() => {kept}.length === 0")


def test_an_old_sign_in_may_watch_but_not_command(world, token, alice, visitor):
    """R2"""
    editor = world.working_editor(token)
    one = visitor()
    one.sign_in(alice)
    page = one.page
    page.goto(one.base + "/roomote/window-1")
    page.wait_for_selector(LIVE)
    editor.emit("task:event", question(5), None)
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("[data-part=receipt] >> text=Sign in again to send commands")
    assert page.get_by_role("link", name="Sign in").is_visible()
    assert editor.count("task:relayed_command") == 0


def test_what_is_long_is_approved_only_after_its_end_was_in_sight(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    command = "\n".join(["echo harmless"] * 60 + ["rm -rf ~"])
    editor.emit("task:event", question(5, text=command), None)
    one.page.wait_for_selector("roomote-question >> text=deletes or overwrites")
    assert not page.get_by_role("button", name="Run").count()
    one.look("roomote-long", is_whole=False)
    while page.get_by_role("button", name="Read on").count():
        page.get_by_role("button", name="Read on").click()
        page.wait_for_function("new Promise(done => requestAnimationFrame(() => done(true)))")
    page.get_by_role("button", name="Run").click()
    [heard] = editor.wait("task:relayed_command")
    assert heard["type"] == "approve_ask"


def test_images_are_made_smaller_before_they_are_sent(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    data = b64decode(picture(3136, 100).partition(",")[2])
    image = {"name": "shot.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files("roomote-composer input[type=file]", image)
    page.wait_for_selector("[aria-label='Remove this image']")
    one.look("roomote-image", is_whole=False)
    page.get_by_role("button", name="Send").click()
    [heard] = editor.wait("task:relayed_command")
    [sent] = heard["payload"]["images"]
    size = page.evaluate(
        "url => new Promise(done => { const image = new Image();"
        " image.onload = () => done([image.width, image.height]); image.src = url })",
        sent,
    )
    assert size == [1568, 50]


def test_an_earlier_task_is_resumed(world, token, alice, open_page):
    record(alice, messages()[:2], task_id="task-0")
    editor, one = follow(world, token, open_page)
    page = one.page
    page.click("summary[aria-label=More]")
    one.look("roomote-more", is_whole=False)
    page.get_by_role("button", name="Resume").click()
    page.locator("dialog").get_by_role("button", name="Resume").click()
    [heard] = editor.wait("extension:relayed_command")
    assert (heard["type"], heard["payload"]) == ("resume_task", {"taskId": "task-0"})


def test_a_new_task_asks_before_it_replaces_the_running_one(world, token, open_page):
    editor, one = follow(world, token, open_page)
    page = one.page
    page.get_by_role("button", name="New task").click()
    page.fill("roomote-composer textarea", "Write the manual")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("dialog[open] >> text=This replaces the task that runs in this editor")
    one.look("roomote-start", is_whole=False)
    page.locator("dialog").get_by_role("button", name="Start").click()
    [heard] = editor.wait("extension:relayed_command")
    assert (heard["type"], heard["payload"]) == ("start_task", {"text": "Write the manual"})
    started = instance(task={"taskId": "task-2", "task": "Write the manual"})
    stamp = {"timestamp": 1_790_000_000_000}
    editor.emit("extension:event", {"type": "taskStarted", "instance": started, **stamp}, None)
    page.wait_for_selector("h1 >> text=Write the manual")
    page.wait_for_selector("[data-part=receipt] >> text=New task. The editor accepted it")


def test_an_editor_that_goes_away_is_marked(world, token, open_page):
    editor, one = follow(world, token, open_page)
    editor.emit("extension:unregister", instance(), None)
    one.page.wait_for_selector("[data-part=link] >> text=Editor offline since")
    assert one.page.is_disabled("[data-act=stop]")
    one.look("roomote-gone", is_whole=False)


def test_a_queued_start_can_be_taken_back_and_is_delivered_on_return(world, token, open_page):
    """D1"""
    editor, one = follow(world, token, open_page)
    page = one.page
    editor.emit("extension:unregister", instance(), None)
    page.wait_for_selector("[data-part=link] >> text=Editor offline since")
    for text in ("Take me back", "Write the manual"):
        page.fill("roomote-composer textarea", text)
        page.get_by_role("button", name="Queue").click()
        page.wait_for_selector("[data-part=receipt] >> text=It gets this once when it is back")
        page.wait_for_function(
            "() => document.querySelector('roomote-composer textarea').value === ''"
        )
    page.goto(one.base + "/roomote")
    page.wait_for_selector("[data-part=state] >> text=Live")
    one.look("roomote-queued")
    page.get_by_role("button", name="Take back “Take me back”").click()
    page.wait_for_selector("text=Take me back", state="detached")
    idle = instance(task={"taskId": "", "taskStatus": "none"}, instanceId="window-2")
    back = world.editor(token, window="window-2")
    back.wait("connect")
    back.emit("extension:register", idle, None)
    [heard] = back.wait("extension:relayed_command")
    assert (heard["type"], heard["payload"]) == ("start_task", {"text": "Write the manual"})
    page.wait_for_selector("text=Write the manual", state="detached")


def test_reads_without_a_script(world, token, alice, open_page):
    record(alice, messages()[:12])
    asks = question(5, text="npm test")["message"]
    world.working_editor(token, taskAsk=asks, task={"taskStatus": "interactive"})
    one = open_page("/roomote", java_script_enabled=False)
    assert "Mend the till" in one.page.inner_text("[data-section=needs]")
    one.page.goto(one.base + "/roomote/window-1")
    assert one.page.is_visible("roomote-question >> text=npm test")
    assert one.page.locator(".talk__item").count() > 5
    assert not one.page.is_visible("roomote-composer")


def test_has_no_serious_fault_of_access(world, token, alice, open_page):
    record(alice, messages()[:12])
    editor, one = follow(world, token, lambda path: open_page(path, bypass_csp=True))
    editor.emit("task:event", question(BEGAN + 900_000), None)
    one.page.wait_for_selector("roomote-question >> text=npm test")
    for path in ("/roomote/window-1", "/roomote"):
        if path == "/roomote":
            one.page.goto(one.base + path)
        one.page.evaluate(AXE.read_text())
        found = one.page.evaluate("axe.run().then(r => r.violations)")
        serious = [
            (v["id"], [node["html"][:160] for node in v["nodes"][:5]])
            for v in found if v["impact"] in ("serious", "critical")
        ]  # fmt: skip
        assert serious == [], path


def test_what_is_kept_for_a_lost_server_says_nothing_about_anybody(open_page, live_url):
    one = open_page("/roomote")
    page = one.page
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    kept = page.evaluate(
        "caches.keys().then(keys => Promise.all(keys.map(key => caches.open(key).then(cache => cache.keys()))))"
        ".then(lists => lists.flat().map(request => new URL(request.url).pathname))"
    )
    assert [path for path in kept if not path.startswith("/static/")] == ["/roomote/offline"]
    one.context.set_offline(True)
    page.goto(one.base + "/roomote/window-1")
    assert page.is_visible("text=Not connected")
    assert "Alice" not in page.content()
    one.look("roomote-offline")
    one.complaints.clear()
    one.context.set_offline(False)
