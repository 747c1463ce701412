"""Remote control in a browser: what is answered from the list, what is beside a conversation, and
editors of others that are watched."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from orgs import actions
from orgs.policy import RemotePolicy
from tests import factories
from tests.bridge.conftest import instance, message, question, token_of
from tests.browser.test_roomote import (  # noqa: F401 - fixtures
    LIVE,
    follow,
    open_page,
    record,
    token,
    world,
)
from tests.tasks_sharing.everything import BEGAN, messages

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_question_is_answered_in_the_list(world, token, open_page):  # noqa: F811 - fixtures
    """D3: the one that is shown, and with its receipt."""
    editor = world.working_editor(token)
    one = open_page("/roomote")
    page = one.page
    page.wait_for_selector("[data-section=running] .editors__row")
    page.wait_for_selector("[data-part=state][data-state=live]", state="attached")
    asks = question(5, text="rm -rf build && npm test")["message"]
    editor.emit("task:event", question(5, text="rm -rf build && npm test"), None)
    waiting = instance(taskAsk=asks, task={"taskStatus": "interactive"})
    editor.emit("extension:heartbeat", waiting)
    page.wait_for_selector("[data-section=needs] roomote-question >> text=rm -rf build")
    page.wait_for_selector("roomote-question >> text=deletes or overwrites")
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    assert "waits" in page.get_attribute("link[rel=icon]", "href")
    one.look("roomote-needs-you")
    page.get_by_role("button", name="Run").click()
    [heard] = editor.wait("task:relayed_command")
    assert (heard["type"], heard["taskId"]) == ("approve_ask", "task-1")
    editor.emit("extension:heartbeat", instance())
    page.wait_for_selector("[data-section=running] >> text=Approved. The editor accepted it")
    expect(page).to_have_title(re.compile(r"^[^(]"))
    assert "waits" not in page.get_attribute("link[rel=icon]", "href")
    assert not page.is_visible("roomote-question")


def test_an_answer_in_the_list_that_comes_too_late_is_refused(world, token, open_page):  # noqa: F811
    """D3"""
    asks = question(5)["message"]
    editor = world.working_editor(token, taskAsk=asks, task={"taskStatus": "interactive"})
    editor.emit("task:event", question(5), None)
    one = open_page("/roomote")
    page = one.page
    page.wait_for_selector("[data-section=needs] roomote-question >> text=npm test")
    editor.emit("task:event", message(6, "The developer said yes at the desk"), None)
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("[data-part=receipt] >> text=Too late")
    assert editor.count("task:relayed_command") == 0


def test_what_a_task_changed_is_beside_it_where_there_is_room(world, token, alice, open_page):  # noqa: F811
    record(alice, messages())
    _, one = follow(world, token, open_page)
    page = one.page
    if one.name == "phone":
        assert not page.is_visible("roomote-files")
        return
    page.wait_for_selector("roomote-files .files__path")
    one.look("roomote-files", is_whole=False)
    files = page.locator("roomote-files .files__path")
    path = files.last.inner_text()
    files.last.click()
    page.wait_for_selector("[data-part=changes] .change")
    assert not page.is_visible(".roomote__talk")
    assert page.locator("[data-part=changes] .change").count() > 1
    assert page.is_visible(f"[data-part=changes] >> text={path}")
    one.look("roomote-changes", is_whole=False)
    page.get_by_role("button", name="Back to the conversation").click()
    assert page.is_visible(".roomote__talk")
    assert not page.is_visible("[data-part=changes]")


def test_an_admin_watches_and_the_member_sees_it(world, alice, bob, acme, visitor, open_page):  # noqa: F811
    """R1: read-only, and with its person's knowledge."""
    by = factories.actor(alice, acme)
    allowed = RemotePolicy(is_on=True, admins_watch=True)
    actions.set_remote_policy(organization=acme, policy=allowed, by=by, at=timezone.now())
    record(bob, messages()[:6], organization=acme)
    editor = world.working_editor(token_of(bob, acme))
    owner = visitor()
    owner.sign_in(bob)
    owner.page.goto(owner.base + "/roomote/window-1")
    owner.page.wait_for_selector(LIVE)
    one = open_page(f"/organizations/{acme.pk}/editors")
    page = one.page
    one.look("team")
    page.click(f"live-part >> text={bob.name}")
    page.wait_for_selector(LIVE)
    owner.page.wait_for_selector(".head__watched >> text=Alice Archer is watching")
    owner.look("roomote-watched", is_whole=False)
    editor.emit("task:event", message(BEGAN + 900_000, "I will look", partial=True), None)
    page.wait_for_selector(".roomote__said >> text=I will look")
    editor.emit("task:event", question(BEGAN + 900_001, text="npm test"), None)
    page.wait_for_selector("roomote-question >> text=npm test")
    assert page.locator("roomote-question button, roomote-composer").count() == 0
    assert page.locator(".talk__item").count() > 3
    one.look("watching", is_whole=False)
    off = RemotePolicy(is_on=True, admins_watch=False)
    actions.set_remote_policy(organization=acme, policy=off, by=by, at=timezone.now())
    page.wait_for_selector("text=This editor cannot be watched any more")
    owner.page.wait_for_selector(".head__watched", state="hidden")
    one.complaints[:] = [text for text in one.complaints if "404" not in text]
