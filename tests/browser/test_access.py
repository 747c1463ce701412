"""axe-core on every page of tasks, shares and imports, and on what a running task adds to its page."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from tasks_sharing import actions, guard
from tasks_sharing.models import Share, Task
from tests import factories
from tests.browser.test_task_pages import open_all, record
from tests.tasks_sharing.everything import BEGAN, messages, say

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RUN = "axe.run({ resultTypes: ['violations'] }).then(found => found.violations)"


def faults(page) -> list:
    """What axe calls serious or critical, with every fold open."""
    open_all(page)
    page.evaluate(AXE.read_text())
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"][:5]])
        for one in page.evaluate(RUN)
        if one["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def shared(alice, acme) -> str:
    """The path of a public link to alice's task, in which something is masked."""
    path = record(alice, acme, messages())
    task, actor = Task.unscoped.get(), factories.actor(alice, acme)
    guard.mask_text(task=task, text="README.md", by=actor, at=timezone.now())
    share = Share.unscoped.get()
    actions.note_view(
        share_id=share.pk, viewer_id="", network="192.0.2.0/24", form="page", at=timezone.now()
    )
    return path


@pytest.fixture
def mine(visitor, alice):
    """A browser in which alice is signed in."""
    one = visitor(bypass_csp=True)
    one.sign_in(alice)
    return one


def test_no_page_of_tasks_has_a_serious_fault(mine, shared):
    share = Share.unscoped.get()
    mask = Task.unscoped.get().masks.first()
    pages = [
        "/tasks", "/tasks?of=team", "/tasks?q=retry&mode=code", "/tasks/import", "/task/t-1/delete",
        "/task/t-1/public", f"/masks/{mask.pk}/lift", f"/shares/{share.pk}", f"/shares/{share.pk}/regenerate",
        f"/shares/{share.pk}/revoke", "/task/unknown",
    ]  # fmt: skip
    wrong = {}
    for path in pages:
        status = mine.page.goto(mine.base + path).status
        assert status == (404 if path == "/task/unknown" else 200), path
        if found := faults(mine.page):
            wrong[path] = found
    assert wrong == {}
    mine.complaints[:] = [one for one in mine.complaints if "404" not in one]


def test_a_page_that_is_followed_has_none(mine, alice, acme, shared):
    """While it is live, with news that the reader has not seen, and when it is over."""
    page = mine.page
    page.goto(f"{mine.base}/task/t-1")
    page.wait_for_selector(".live[data-state=live]")
    page.evaluate("scrollTo(0, 0)")
    message = {"ts": BEGAN + 10**7, **say("text", "And one more")}
    event = actions.Event("Task Message", {"taskId": "t-1", "message": message})
    actions.record_event(
        actor=factories.actor(alice, acme), event=event, at=timezone.now() + timedelta(seconds=1)
    )
    page.wait_for_selector(".live__new >> text=1 new message")
    assert faults(page) == []
    Task.unscoped.all().delete()
    page.wait_for_selector(".live[data-state=gone]", timeout=8_000)
    assert faults(page) == []
    mine.complaints[:] = [one for one in mine.complaints if "404" not in one]


def test_a_link_that_is_closed_has_none(visitor, shared):
    Share.unscoped.update(revoked_at=timezone.now())
    stranger = visitor(bypass_csp=True)
    stranger.page.goto(stranger.base + shared)
    assert faults(stranger.page) == []
    stranger.complaints.clear()  # the 404
