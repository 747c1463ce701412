"""The page of a task, as a reader has it: on a phone and on a desk, with keys, and without a script."""

from pathlib import Path

import pytest
from django.utils import timezone

from tasks_sharing import actions
from tasks_sharing.models import Task
from tasks_sharing.transcript import WINDOW
from tests import factories
from tests.tasks_sharing.everything import BEGAN, messages
from tests.tasks_sharing.hostile import PAYLOADS, conversation

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
SHIFT = """() => new Promise(done => new PerformanceObserver(list =>
    done(list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))
    .observe({ type: "layout-shift", buffered: true }) || setTimeout(() => done(0), 1000))"""
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def record(person, org, rows, *, task_id="t-1") -> str:
    """A stored conversation; the path of its public page."""
    actor, at = factories.actor(person, org), timezone.now()
    facts = {
        "taskId": task_id, "mode": "code", "modelId": "claude-sonnet-4.5", "repositoryName": "acme/billing",
        "defaultBranch": "main",
    }  # fmt: skip
    used = {"inputTokens": 31_870, "outputTokens": 1_236, "cost": 0.0703}
    for event in (
        actions.Event("Task Created", facts),
        actions.Event("LLM Completion", {**facts, **used}),
        actions.Event("Task Completed", facts),
    ):
        actions.record_event(actor=actor, event=event, at=at)
    task = Task.unscoped.get(task_id=task_id)
    actions.replace_messages(task_pk=task.pk, messages=rows, requested_at=at)
    url = actions.share_task(actor=actor, task_id=task_id, visibility="public", at=at).url
    return url[url.index("/share/") :]


@pytest.fixture
def path(alice, acme):
    return record(alice, acme, messages())


def open_all(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")


def test_everything_is_shown_and_fits(visitor, path):
    reader = visitor()
    reader.go(path)
    reader.look("task-page")
    open_all(reader.page)
    reader.look("task-open")
    reader.go(f"{path}/changes")
    reader.go(f"{path}?find=retr")


JUDGE = """() => {
    const bad = [];
    for (const node of document.querySelectorAll("main *, head *")) {
        for (const { name, value } of node.attributes) {
            if (/^on/i.test(name)) bad.push(`${node.tagName} ${name}`);
            if (/^\\s*(javascript|vbscript|data:text)/i.test(value)) bad.push(`${node.tagName} ${value}`);
        }
        if (/^(script|iframe|object|embed|form|base|style|link|meta|svg|math|video)$/i.test(node.tagName)
            && !node.closest("head") && !node.closest(".tools")) bad.push(node.tagName);
    }
    return [window.hacked === undefined, bad];
}"""


def assert_harmless(reader, path, parts, **context):
    stranger = reader(**context)
    for part in range(1, parts + 1):
        stranger.page.goto(f"{stranger.base}{path}?page={part}")
        open_all(stranger.page)
        assert stranger.page.evaluate(JUDGE) == [True, []], part
    for other in ("/changes", "?find=script", "?find=%3Cimg"):
        stranger.page.goto(stranger.base + path + other)
        assert stranger.page.evaluate(JUDGE) == [True, []], other


@pytest.mark.parametrize("visitor", [("desk", "light")], indirect=True, ids=["desk"])
@pytest.mark.parametrize("bypass_csp", [False, True], ids=["policy", "no policy"])
def test_hostile_text_in_every_field_is_harmless(visitor, alice, acme, bypass_csp):
    """J1: every field of every kind; with the content policy and without it. Visitors complain of
    any request elsewhere."""
    rows = list(conversation(PAYLOADS[::6]))
    assert_harmless(
        visitor, record(alice, acme, rows), len(rows) // WINDOW + 1, bypass_csp=bypass_csp
    )


@pytest.mark.faults
@pytest.mark.parametrize("visitor", [("desk", "light")], indirect=True, ids=["desk"])
@pytest.mark.parametrize("bypass_csp", [False, True], ids=["policy", "no policy"])
def test_three_thousand_hostile_messages_are_harmless(visitor, alice, acme, bypass_csp):
    """J1, with its full figure."""
    rows = list(conversation(PAYLOADS))
    assert len(rows) >= 3_000
    assert_harmless(
        visitor, record(alice, acme, rows), len(rows) // WINDOW + 1, bypass_csp=bypass_csp
    )


def test_has_no_serious_fault_of_access(visitor, path):
    """axe-core, with all folds closed and open."""
    reader = visitor(bypass_csp=True)
    for page in (path, f"{path}/changes", f"{path}?find=retr"):
        reader.page.goto(reader.base + page)
        for _ in range(2):
            reader.page.evaluate(AXE.read_text())
            found = reader.page.evaluate("axe.run().then(r => r.violations)")
            serious = [
                (v["id"], [node["html"][:160] for node in v["nodes"][:5]])
                for v in found if v["impact"] in ("serious", "critical")
            ]  # fmt: skip
            assert serious == []
            open_all(reader.page)


def test_keys_walk_search_and_explain(visitor, path):
    reader = visitor()
    page = reader.page
    page.goto(reader.base + path)
    now = "document.querySelector('[data-now]')?.dataset.form"
    page.keyboard.press("j")
    assert page.evaluate(now) == "prompt"
    for _ in range(3):
        page.keyboard.press("j")
    assert page.evaluate(now) == "reply"
    page.keyboard.press("n")
    assert page.evaluate(now) == "prompt"
    page.keyboard.press("p")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("o")
    assert page.evaluate("document.querySelector('[data-now] details').open") is True
    page.keyboard.press("k")
    assert page.evaluate(now) == "request"

    page.keyboard.press("/")
    page.keyboard.type("withRetries")
    assert page.inner_text("[data-count]") == "2"
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 of 2")
    assert page.is_visible("text=export async function")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open] >> text=next message of the user")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_link_to_a_message_opens_it(visitor, path):
    reader = visitor()
    page = reader.page
    page.goto(reader.base + path)
    page.click(".files__path >> nth=1")
    page.wait_for_selector("[data-now][data-form=edit] details[open]")
    assert f"#m{BEGAN}"[:6] in page.url


def test_without_a_script_everything_can_be_read(visitor, path):
    reader = visitor(java_script_enabled=False)
    page = reader.go(path)
    page.click("[data-form=edit] summary >> nth=0")
    assert page.is_visible("text=frozen=True")
    page.fill("#find", "withRetries")
    page.press("#find", "Enter")
    page.wait_for_selector("mark")
    page.click(".rows__main >> nth=0")
    page.wait_for_selector(".talk__item:target")


#: What keeps a browser from showing what it has, and pictures that push away what is below them.
HELD_UP = """() => [
    ...performance.getEntriesByType("resource").filter(one =>
        one.renderBlockingStatus === "blocking" && one.initiatorType !== "link").map(one => one.name),
    ...[...document.images].filter(one => !one.hasAttribute("width") || !one.hasAttribute("alt")).map(one => one.src),
]"""


def test_a_share_of_a_hundred_messages_is_light_and_still(visitor, alice, acme):
    """All that a browser loads but images, as large as it is unpacked; and nothing moves."""
    twice = [
        {**message, "ts": message["ts"] + n * 10**7} for n in range(2) for message in messages()
    ]
    path = record(alice, acme, twice[:WINDOW])
    reader = visitor()
    page, loaded = reader.page, []
    page.on("response", lambda answer: loaded.append(answer))
    page.goto(reader.base + path)
    page.wait_for_load_state("networkidle")

    texts = [one for one in loaded if one.request.resource_type != "image"]
    assert {"document", "stylesheet", "script"} <= {one.request.resource_type for one in texts}
    assert sum(len(one.body()) for one in texts) <= 300_000
    assert page.locator(".talk__item").count() > 50
    assert page.evaluate(HELD_UP) == []
    assert page.evaluate(SHIFT) == 0
    for once in ("html[lang]", "meta[name=viewport]", "title", "h1"):
        assert page.locator(once).count() == 1, once


def test_its_first_picture_needs_no_script(visitor, path):
    """While scripts do not come at all, the page looks as it does before they have run."""
    reader = visitor()
    page = reader.page
    page.route("**/*.js", lambda route: None)
    page.goto(reader.base + path, wait_until="commit")
    page.wait_for_selector(".talk__item >> nth=30")
    painted = "performance.getEntriesByName('first-contentful-paint').length"
    page.wait_for_function(f"() => {painted} === 1")
    assert page.is_visible(".outcome >> text=Calls that the server fails are tried again")


def test_later_messages_come_before_their_end_is_reached(visitor, alice, acme):
    rows = [
        {"ts": BEGAN + n, "type": "say", "say": "text", "text": f"message {n} of many"}
        for n in range(230)
    ]
    reader = visitor()
    page = reader.page
    page.goto(reader.base + record(alice, acme, rows))
    assert page.locator(".talk__item").count() == WINDOW
    for count in (2 * WINDOW, 230):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_function(
            "count => document.querySelectorAll('.talk__item').length === count", arg=count
        )
    assert page.locator("a[rel=next]").count() == 0
