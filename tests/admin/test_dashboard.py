"""The first page of the admin: is all well, at a glance."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from audit import chain, verifying
from audit.models import Entry as Trail
from credits.budgets import put_budget
from credits.models import Account, BudgetSpan
from proxy import usage_days
from proxy.models import Completion
from roocloud import dashboard, machine, storage
from roocloud.lib.charts import HEIGHT, WIDTH, bars
from roocloud.lib.fresh import forget_everything
from roocloud.lib.money import NANOS_PER_USD as USD
from tasks_sharing.models import Import
from telemetry.models import Backfill
from tests import factories
from tests.admin.rows import fill
from tests.audit.test_chain import unguarded_tables


@pytest.fixture
def page(cockpit):
    """The first page anew, as text without tags."""

    def load() -> str:
        forget_everything()
        text = cockpit.get("/admin/").content.decode()
        return re.sub(r"\s+", " ", re.sub(r"<(?!a |rect)[^>]*>", " ", text))

    return load


def lines() -> dict[str, dashboard.Line]:
    forget_everything()
    found = dashboard.figures(at=timezone.now())
    return {line.text: line for _, group in found.groups for line in group}


def test_every_number_leads_to_its_list(cockpit, rows):
    found = dashboard.figures(at=timezone.now())
    urls = {line.url for _, group in found.groups for line in group}
    urls |= {chart.url for chart in [*found.hours, *found.days]}
    assert len(urls) > 15
    for url in urls:
        answer = cockpit.get(url)
        assert answer.status_code == 200, url
        assert "e=1" not in answer.request["QUERY_STRING"], url


def test_the_page_asks_as_much_for_much_as_for_little(
    cockpit, rows, alice, acme, django_assert_num_queries, django_assert_max_num_queries
):
    cockpit.get("/admin/")
    forget_everything()
    with django_assert_max_num_queries(40) as few:
        cockpit.get("/admin/")
    for number in range(1, 6):
        fill(alice, acme, number=number)
    forget_everything()
    upstreams = 5  # the newest answers of each upstream are a query of their own
    with django_assert_num_queries(len(few) + upstreams):
        cockpit.get("/admin/")
    with django_assert_max_num_queries(8):  # who is signed in; the figures are remembered
        cockpit.get("/admin/")


def test_no_script_and_no_style_of_its_own_draws_the_charts(cockpit, rows):
    text = cockpit.get("/admin/").content.decode()
    charts = re.findall(r'<svg class="bars".*?</svg>', text, re.DOTALL)
    assert len(charts) == 8
    assert all("aria-label=" in chart and "style=" not in chart for chart in charts)
    assert "chart.js" not in text


def test_all_is_well_until_it_is_not(page, rows):
    at = timezone.now()
    backfill = Backfill.unscoped.create(
        user_id="u", task_pk="t", state="failed", received_at=at, tried_at=at, error="x"
    )
    assert "1 thing to look at" in page()
    assert lines()["Backfills that failed"].state == "bad"
    Backfill.unscoped.filter(pk=backfill.pk).delete()

    assert "All is well" in page()


def test_a_failing_upstream_is_named(rows, alice):
    at = timezone.now()
    for _ in range(3):
        Completion.unscoped.create(
            user_id=alice.pk, model_id="v/m0", upstream_name="u0", is_stream=True, status="failed",
            error="connection refused", started_at=at, saved_at=at, ended_at=at,
        )  # fmt: skip
    line = lines()["Upstreams failing in the last hour"]
    assert (line.value, line.state) == ("u0 0 %", "bad")


def test_sign_ins_failures_and_lockouts_are_counted(rows, alice):
    from django.test import Client

    stranger = Client()
    for password in ["wrong"] * 7 + [factories.PASSWORD]:
        stranger.post("/accounts/login/", {"login": alice.email, "password": password})
    line = lines()["Sign-ins in the last day"]
    assert re.fullmatch(r"0, \d failed, 1 accounts locked", line.value)
    assert line.state == "warn"


def test_money_is_shown_against_budgets(rows, alice, acme):
    at = timezone.now()
    account, actor = Account.unscoped.get(organization=acme), factories.actor(alice, acme)
    for subject, used in (("a", 10), ("b", 8), ("c", 7)):
        budget = put_budget(
            by=actor, account=account, scope="model", subject=subject, period="day", limit_nanos=10, at=at
        )  # fmt: skip
        BudgetSpan.unscoped.create(
            budget=budget, subject=subject, starts_on=at.date(), spent_nanos=used - 5, held_nanos=5
        )
    put_budget(by=actor, account=account, scope="account", subject="", period="day", limit_nanos=USD, at=at)  # fmt: skip
    found = lines()
    assert found["Spent today"].value.endswith(" of $1.00 a day")
    assert found["Budgets that are used up"].value == "1"
    assert found["Budgets near their limit"].value == "1"


def test_a_trail_that_was_tampered_with_is_the_first_thing_to_see(page, rows):
    """L4"""
    chain.link(at=timezone.now())
    verifying.check(at=timezone.now())
    assert "intact, verified" in page()
    with unguarded_tables():
        Trail.objects.filter(action="share.created").update(note="forged")
    verifying.check(at=timezone.now())

    text = page()
    assert "tampered with: link" in text
    assert text.index("things to look at" if "things" in text else "thing to look at") < text.index(
        "tampered"
    )


def test_a_full_disk_and_a_queue_that_is_away_are_noticed(rows, monkeypatch):
    """E1: the page stands although the queue does not answer."""
    monkeypatch.setattr(machine, "disk_used", lambda: 0.97)
    monkeypatch.setattr(storage.app.conf, "broker_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(storage.app.conf, "broker_read_url", "redis://127.0.0.1:1/0")
    found = lines()
    assert (found["Storage"].state, found["Jobs in the queue"].state) == ("bad", "bad")
    assert found["Jobs in the queue"].value == "the queue does not answer"


def test_hours_and_days_add_up(rows, alice):
    at = timezone.now()
    for hours, status in ((0, "done"), (3, "failed"), (30, "done")):
        Completion.unscoped.create(
            user_id=alice.pk, model_id="v/m", upstream_name="u0", is_stream=True, status=status,
            cost_nanos=10**9, started_at=at - timedelta(hours=hours), saved_at=at, ended_at=at,
        )  # fmt: skip
    usage_days.rebuild()
    forget_everything()
    found = dashboard.figures(at=at)
    hourly = {chart.label: chart for chart in found.hours}
    daily = {chart.label: chart for chart in found.days}
    assert (hourly["Completions"].total, hourly["Completions"].wrong) == ("3", 1)
    assert daily["Completions"].total == "4"
    assert len(hourly["Completions"].bars) == 24
    assert len(daily["Spend"].bars) == 14


def test_bars_stay_within_the_drawing():
    drawn = bars([0, 2, 8], ["a", "b", "c"], bad=[0, 1, 8])
    assert [bar.height for bar in drawn] == [0, 14, HEIGHT]
    assert [bar.bad_height for bar in drawn] == [0, 7, HEIGHT]
    assert all(bar.x + bar.width <= WIDTH and bar.y + bar.height == HEIGHT for bar in drawn)
    assert bars([], []) == []
    assert bars([0.0], ["x"])[0].height == 0


def test_failed_imports_are_counted(rows, alice):
    at = timezone.now()
    Import.unscoped.create(owner=alice, total=1, state="failed", started_at=at, tried_at=at)
    assert lines()["Imports that failed"].value == "1"
