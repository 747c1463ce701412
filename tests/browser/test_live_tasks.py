"""A running task that somebody watches: what comes, what breaks, and what stays where it is."""

from contextlib import suppress

import pytest
from django.utils import timezone
from playwright.sync_api import TimeoutError  # noqa: A004 - Chromium's

from orgs.models import Membership
from roocloud.entry import gate
from tasks_sharing import actions
from tests import factories
from tests.tasks_sharing.everything import BEGAN, say, tool

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TASK = "t-1"
#: What a reader sees of the conversation and of what is around it, without what the script adds.
SEEN = """() => {
    const page = document.querySelector("main").cloneNode(true);
    for (const added of page.querySelectorAll("task-live, button.copy, [type=hidden]")) added.remove();
    for (const one of page.querySelectorAll("*"))
        for (const name of ["data-page", "data-copy", "data-now", "open", "style"]) one.removeAttribute(name);
    return page.outerHTML.replace(/\\s+/g, " ").replaceAll("> <", "><").split(/(?=<li|<section|<div)/);
}"""
LIVE = ".live[data-state=live]"


def tell(person, org, message=None, kind="Task Message", **facts) -> None:
    facts = {"taskId": TASK, "mode": "code", **facts, **({"message": message} if message else {})}
    actions.record_event(
        actor=factories.actor(person, org), event=actions.Event(kind, facts), at=timezone.now()
    )


def text(n, words) -> dict:
    return {"ts": BEGAN + 1000 * n, **say("text", words)}


@pytest.fixture
def watch(visitor, alice, acme):
    """A page of alice's task with some messages, which is live."""

    def open_(messages=3):
        tell(alice, acme, kind="Task Created")
        for n in range(messages):
            tell(alice, acme, text(n, f"message {n}\n\nof the beginning"))
        one = visitor()
        one.sign_in(alice)
        one.page.goto(f"{one.base}/task/{TASK}")
        one.page.wait_for_selector(LIVE)
        one.page.evaluate("window.isTheSame = true")
        return one

    return open_


def reloaded(one) -> str:
    other = one.context.new_page()
    other.goto(one.page.url)
    seen = other.evaluate(SEEN)
    other.close()
    return seen


def wait_until_as_reloaded(one) -> None:
    """D8: within five seconds the page is what a reload shows, and it is the same page."""
    wanted = reloaded(one)
    with suppress(TimeoutError):
        one.page.wait_for_function(
            f"wanted => String(({SEEN})()) === String(wanted)", arg=wanted, timeout=5_000
        )
    assert one.page.evaluate(SEEN) == wanted
    assert one.page.evaluate("window.isTheSame")


def test_messages_arrive_without_a_reload(watch, alice, acme):
    one = watch()
    page = one.page
    todo = tool(
        "updateTodoList", todos=[{"id": "1", "content": "Write it", "status": "in_progress"}]
    )
    tell(alice, acme, {**text(5, "half an ans"), "partial": True})
    page.wait_for_selector("text=half an ans")
    tell(alice, acme, text(5, "half an answer, whole"))
    tell(alice, acme, {"ts": BEGAN + 6000, **todo})
    tell(alice, acme, kind="LLM Completion", inputTokens=31_870, outputTokens=1_236, cost=0.0703)
    page.wait_for_selector("text=half an answer, whole")
    page.wait_for_selector(".task__header >> text=31,870")
    page.wait_for_selector(".task__summary >> text=0 of 1 done")
    wait_until_as_reloaded(one)
    assert page.locator("text=half an ans").count() == 1
    tell(alice, acme, {"ts": BEGAN + 7000, **say("completion_result", "It is done.")})
    page.wait_for_selector(".task__header >> text=Completed")
    wait_until_as_reloaded(one)
    one.look("task-live")


def test_a_page_repairs_itself_after_a_break(watch, alice, acme, monkeypatch):
    """D8, E2: what came and changed while the server restarted."""
    one = watch()
    page = one.page
    tell(alice, acme, {**text(8, "half"), "partial": True})
    page.wait_for_selector("text=half")
    monkeypatch.setattr(gate, "is_closed", True)
    page.wait_for_selector(".live[data-state=wait]", timeout=5_000)
    assert page.inner_text(".live") == "Reconnecting …"
    one.look("task-reconnecting")
    tell(alice, acme, text(8, "whole"))
    tell(alice, acme, {"ts": BEGAN + 1500, **say("text", "came late")})
    tell(alice, acme, text(9, "the last"))
    monkeypatch.setattr(gate, "is_closed", False)
    page.wait_for_selector("text=the last", timeout=5_000)
    wait_until_as_reloaded(one)
    page.wait_for_selector(LIVE)
    assert page.inner_text(".live") == "Live"
    one.complaints[:] = [complaint for complaint in one.complaints if "503" not in complaint]


def test_a_stream_that_nobody_ends_is_noticed(watch, alice, acme):
    """D8: half open, as a phone finds its connection when it left one network for another."""
    one = watch()
    one.page.route("**/live", lambda route: None)
    one.page.reload()
    tell(alice, acme, text(9, "meanwhile"))
    one.page.wait_for_selector("text=meanwhile", timeout=7_000)
    assert one.page.inner_text(".live") != "Live"


def test_what_one_reads_stays_where_it_is(watch, alice, acme):
    one = watch(messages=40)
    page = one.page
    page.evaluate(
        "document.querySelectorAll('.talk__item')[12].scrollIntoView({ behavior: 'instant' })"
    )
    before = page.evaluate(
        "document.querySelectorAll('.talk__item')[12].getBoundingClientRect().top"
    )
    tell(alice, acme, {"ts": BEGAN + 3500, **say("text", "late, and above\n\n" * 9)})
    tell(alice, acme, text(50, "at the end"))
    page.wait_for_selector(".live__new >> text=2 new messages")
    page.wait_for_function("() => document.querySelectorAll('.talk__item').length === 42")
    after = page.evaluate(
        "document.querySelectorAll('.talk__item')[13].getBoundingClientRect().top"
    )
    assert abs(after - before) <= 1
    page.wait_for_selector("[role=status] >> text=2 new messages", state="attached")
    page.screenshot(path=f"build/screenshots/{one.name}-task-new.png")
    page.click(".live__new")
    page.wait_for_selector(".live__new", state="hidden")
    at_end = "document.querySelector('.talk').getBoundingClientRect().bottom <= innerHeight + 120"
    assert page.evaluate(at_end)
    tell(alice, acme, text(51, "long\n\n" * 30))
    page.wait_for_function(
        f"() => document.querySelectorAll('.talk__item').length === 43 && {at_end}"
    )
    assert page.is_hidden(".live__new")


def test_the_first_message_takes_the_place_of_the_empty_page(watch, alice, acme):
    one = watch(messages=0)
    assert one.page.is_visible("text=Nothing was recorded yet")
    tell(alice, acme, text(1, "Begin"))
    one.page.wait_for_selector(".talk >> text=Begin")
    assert not one.page.is_visible("text=Nothing was recorded yet")
    wait_until_as_reloaded(one)


def test_a_lost_right_ends_it(watch, alice, acme):
    """B4: within five seconds, and the page asks no more."""
    one = watch()
    Membership.unscoped.filter(user=alice).delete()
    one.page.wait_for_selector(".live[data-state=gone]", timeout=6_000)
