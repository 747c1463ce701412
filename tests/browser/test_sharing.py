"""The owner of a task governs its links, and a stranger follows one, with and without a script."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tasks_sharing import actions
from tasks_sharing.models import Share
from tests.browser.test_round import log_in, record
from tests.browser.test_task_pages import AXE
from tests.tasks_sharing.test_sharing import set_policy

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def assert_accessible(page) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)"
    )
    grave = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:300]) for v in grave] == []


def test_the_owner_makes_a_link_sees_who_looked_and_ends_it(visitor, live_url, alice, bob, acme):
    record(alice, acme)
    mine = visitor(bypass_csp=True)
    mine.sign_in(alice)
    page = mine.go("/task/t-1")
    page.click("summary:has-text('Sharing')")
    mine.look("sharing none")
    assert_accessible(page)
    page.select_option("#id_hours", label="In a week")
    page.click("button:has-text('Make the link')")
    page.wait_for_url("**/shares/*")
    mine.look("share page new")
    assert "Nobody has opened it yet" in page.inner_text("main")
    url = page.inner_text("#link")

    reader = visitor(java_script_enabled=False)
    local = url.replace(url.partition("/share/")[0], live_url)
    reader.page.goto(local)
    reader.complaints.clear()  # the console tells of the 404
    assert "shows nothing here" in reader.page.inner_text("main")
    reader.page.click("text=Sign in and look again")
    log_in(reader, bob)
    assert "Check this server" in reader.page.inner_text("h1")

    share, at = Share.unscoped.get(visibility="organization"), timezone.now()
    for n in range(60):
        actions.note_view(
            share_id=share.pk, viewer_id="", network=f"203.0.{n}.0/24", form="page",
            at=at - timedelta(minutes=n),
        )  # fmt: skip
    page.reload()
    mine.look("share page viewed")
    assert "61" in page.inner_text(".facts")
    assert "Bob" in page.inner_text("table")
    assert "Page 1 of 2" in page.inner_text("main")
    assert_accessible(page)

    page.click("text=Exchange for a new link")
    page.wait_for_selector("text=Exchange this link")
    mine.look("share exchange")
    page.click("button:has-text('Exchange')")
    page.wait_for_selector("text=This is the new link")
    assert page.inner_text("#link") != url
    set_policy(acme, alice, enableTaskSharing=False)
    page.reload()
    mine.look("share page off")
    assert "Off by policy since" in page.inner_text("main")
    page.click("a:has-text('Revoke')")
    page.click("button:has-text('Revoke')")
    page.wait_for_selector("text=does not work any more")
    page.click("summary:has-text('Sharing')")
    page.click("text=Earlier links: 2")
    mine.look("sharing past")
    assert_accessible(page)
