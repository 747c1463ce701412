"""The list of tasks on a phone and on a desk: filters, search, and what is done to several."""

from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from tasks_sharing import actions, search
from tasks_sharing.models import Task
from tests import factories

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TITLES = [
    "Retry calls that the billing server fails, and say so in the log",
    "Why does the build of the web client take eleven minutes on CI when it took three last week?",
    "Rename the flag", "Write the release notes", "Find the leak in the worker",
]  # fmt: skip


@pytest.fixture
def tasks(alice, bob, acme):
    actors = {person: factories.actor(person, acme) for person in (alice, bob)}
    at = timezone.now()
    for number, title in enumerate(TITLES):
        facts = {
            "taskId": f"t-{number}", "mode": ("code", "ask")[number % 2],
            "modelId": "anthropic/claude-sonnet-4.5", "repositoryName": "acme/billing",
        }  # fmt: skip
        message = {"ts": number, "type": "say", "say": "text", "text": title}
        person = bob if number == 4 else alice
        with transaction.atomic():
            for event in (
                actions.Event("Task Message", {**facts, "message": message}),
                actions.Event("LLM Completion", {**facts, "cost": 0.25 * number}),
                actions.Event("Task Completed" if number % 3 else "Task Created", facts),
            ):
                actions.record_event(actor=actors[person], event=event, at=at)
    search.index_due(is_time_up=lambda: False)


@pytest.fixture
def mine(visitor, alice, tasks):
    def sign_in(**context):
        one = visitor(**context)
        one.sign_in(alice)
        return one

    return sign_in


def test_a_member_filters_searches_and_deletes_without_a_script(mine):
    one = mine(java_script_enabled=False)
    page = one.go("/tasks?of=team")
    assert page.locator(".rows > li").count() == 5
    page.click("summary >> text=Filter by")
    one.look("tasks-filters")
    page.fill("[name=mode]", "code")
    page.click("button >> text=Show")
    assert page.locator(".rows > li").count() == 3
    page.fill("[name=q]", "billing retr*")
    page.press("[name=q]", "Enter")
    page.wait_for_selector(".chips >> text=Search")
    one.look("tasks-narrowed")
    assert page.locator(".rows > li").count() == 1
    page.click(".chips >> text=Search")
    page.click(".chips >> text=Mode")
    assert page.locator(".rows > li").count() == 5

    for title in ("Rename the flag", "Retry calls"):
        page.check(f"li:has-text('{title}') [name=task]")
    page.click("text=Delete the chosen")
    one.look("tasks-delete")
    page.click("button >> text=Delete 2 tasks")
    page.wait_for_selector("text=2 tasks and their links are deleted")
    assert Task.unscoped.count() == 3


def test_the_chosen_are_downloaded(mine):
    one = mine()
    page = one.go("/tasks")
    page.check("[name=task] >> nth=0")
    with page.expect_download() as download:
        page.click("text=Export the chosen")
    assert download.value.suggested_filename == "tasks.ndjson"
    assert len(Path(download.value.path()).read_text().splitlines()) == 1


def test_has_no_serious_fault_of_access(mine):
    one = mine(bypass_csp=True)
    chosen = Task.unscoped.filter(task_id="t-0").get().pk
    for path in (
        "/tasks?of=team&mode=ask&least=x",
        "/tasks?q=nowhere",
        f"/tasks/delete?task={chosen}",
    ):
        page = one.go(path)
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run().then(r => r.violations)")
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == [], path
