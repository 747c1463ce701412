"""The share guard, as the author of a task and a stranger meet it (N3)."""

import json

import pytest
from django.utils import timezone

from tasks_sharing import actions as tasks
from tests import factories
from tests.tasks_sharing.secret_shapes import SHAPES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("secret_rules"),
]
SECRETS = {shape.name: shape for shape in SHAPES}


def record(person, org) -> None:
    env = f"DATABASE_URL={SECRETS['PostgreSQL'].text}\n{SECRETS['environment, password'].text}\nCOLOUR=mauve"
    messages = [
        {"say": "text", "text": "Deploy Project Bluebird to staging; write to ops@example.com"},
        {"ask": "tool", "text": json.dumps({"tool": "readFile", "path": ".env", "content": env})},
        {"ask": "command", "text": f"git push https://{SECRETS['GitHub'].secret}@github.com/a/b"},
        {"say": "command_output", "text": f"remote: ok\n{SECRETS['GitHub'].secret}\n{SECRETS['JWT'].text}"},
        {"say": "text", "text": "I pushed the branch. The release notes of **Bluebird** are ready."},
        {"say": "completion_result", "text": "Deployed. The key is in the vault."},
    ]  # fmt: skip
    actor, at = factories.actor(person, org), timezone.now()
    events = [tasks.Event("Task Created", {"taskId": "t-1"})]
    for ts, message in enumerate(messages, start=1_700_000_000_000):
        said = {"ts": ts, "type": "ask" if "ask" in message else "say", **message}
        events.append(tasks.Event("Task Message", {"taskId": "t-1", "message": said}))
    for event in events:
        tasks.record_event(actor=actor, event=event, at=at)


def test_the_author_masks_and_a_stranger_reads(visitor, live_url, alice, acme):
    record(alice, acme)
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go("/task/t-1")
    mine.look("task of mine")
    page.click("summary:has-text('Sharing')")
    page.click("text=What a public link shows")
    page.wait_for_load_state()
    mine.look("public view before")
    assert "Nothing is public yet" in page.inner_text("main")
    assert "[masked: GitHub token #1]" in page.inner_text("main")

    page.evaluate(
        """() => {
          const item = [...document.querySelectorAll(".talk__item")].find((i) => i.textContent.includes("I pushed"));
          getSelection().selectAllChildren(item.querySelector("strong"));
        }"""
    )
    page.wait_for_selector("text=Mask the selected text")
    mine.look("public view selecting")
    with page.expect_navigation():
        page.click("text=Mask the selected text")
    assert "Readers now see [masked: text #1] instead" in page.inner_text("main")

    last = page.locator(".talk__item").last
    with page.expect_navigation():
        last.get_by_role("button", name="Hide this message").click()
    page.fill("#id_text", "nowhere to be found")
    page.click("text=Mask this text")
    page.wait_for_selector("text=is not in the conversation")
    mine.look("public view error")
    page.click("text=Make the public link")
    page.wait_for_selector("#public-link")
    mine.look("public view after")
    url = page.inner_text("#public-link")
    page.click("a:has-text('Show')")
    page.wait_for_selector("text=may keep it")
    mine.look("lift a mask")

    stranger = visitor()
    shared = stranger.go(url.replace(url.partition("/share")[0], live_url))
    content = shared.content()
    for secret in (SECRETS["GitHub"].secret, SECRETS["JWT"].secret, "Bluebird", "vault"):
        assert secret not in content
    assert "[masked: text #1]" in shared.inner_text("h1")
