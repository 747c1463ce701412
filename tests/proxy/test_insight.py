"""The figures and the chart above the log of completions."""

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from credits import budgets
from proxy import charts, insight, spending, usage_days
from proxy.models import Completion, UsageDay, UsageTask
from proxy.spending import Filters
from roocloud.lib.money import NANOS_PER_USD as USD
from tasks_sharing import actions as tasks
from tests import factories
from tests.proxy.test_usage import log, text_of

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
TODAY = NOW.date()


def used(person, org, day, *, model="v/one", upstream="east", usd=1, task="", **sums):
    """What the settlement of one completion leaves in both sums."""
    where = {
        "day": day, "organization_id": org.pk if org else "", "user_id": person.pk,
        "model_id": model, "upstream_name": upstream, "completions": 1, "cost_nanos": usd * USD,
        "prompt_tokens": sums.get("prompt", 1000), "completion_tokens": sums.get("output", 100),
    }  # fmt: skip
    UsageTask.unscoped.create(**where, task_id=task or f"t-{UsageTask.unscoped.count()}")
    UsageDay.unscoped.update_or_create(
        day=day, organization_id=where["organization_id"], user_id=person.pk, model_id=model,
        upstream_name=upstream,
        defaults={
            **where, "failed": 0, "cache_read_tokens": sums.get("cached", 0), "cache_write_tokens": 0,
        },
    )  # fmt: skip


@pytest.fixture
def month(alice, bob, acme):
    """alice $1 a day with v/one for ten days; bob $3 with v/two on three of them."""
    for back in range(10):
        used(alice, acme, TODAY - timedelta(days=back), task="t-a", cached=400)
    for back in range(3):
        used(bob, acme, TODAY - timedelta(days=back), model="v/two", upstream="west", usd=3)
    return factories.actor(alice, acme)


def report(actor, task_id, repository):
    properties = {"taskId": task_id, "repositoryName": repository}
    tasks.record_event(actor=actor, event=tasks.Event("Task Created", properties), at=NOW)


def look(actor, *, days=30, metric="cost", stack="", **filters):
    filters = Filters(TODAY - timedelta(days=days - 1), TODAY, **{"is_team": True, **filters})
    return insight.insight(actor, filters, metric=metric, stack=stack, at=NOW)


class TestTheFigures:
    def test_count_people_and_tasks_once(self, month):
        found = {card.metric: card.text for card in look(month).cards}
        assert found == {
            "cost": "$19.00", "completions": "13", "per-task": "$4.75", "tokens": "14,300", "people": "2",
        }  # fmt: skip

    def test_are_ones_own_without_the_team(self, month):
        """A1"""
        found = {card.metric: card.text for card in look(month, is_team=False).cards}
        assert found["cost"] == "$10.00"
        assert "people" not in found

    def test_have_a_course_of_every_day(self, month):
        (cost, *_) = look(month, days=7).cards
        points = [point.split(",") for point in cost.spark.split()]
        assert len(points) == 7
        heights = [float(y) for _, y in points]
        assert heights[0] == heights[3] > heights[4] == heights[6]

    @pytest.mark.parametrize("metric", list(insight.Metric))
    def test_are_each_a_chart(self, month, metric):
        found = look(month, metric=metric)
        assert found.metric == metric
        assert len(found.chart.columns) == 30
        assert [card.metric for card in found.cards if card.is_chosen] == [metric]


class TestTheChart:
    @pytest.mark.parametrize("metric", ["cost", "completions", "tokens"])
    @pytest.mark.parametrize("stack", ["model", "member", "upstream", "repository", "class"])
    def test_is_the_same_whole_however_it_is_stacked(self, month, metric, stack):
        report(month, "t-a", "shop")
        if stack == "class" and metric != "tokens":
            assert look(month, metric=metric, stack=stack).stack == "nothing"
            return
        whole, apart = look(month, metric=metric), look(month, metric=metric, stack=stack)
        assert len(apart.legend) > 1
        for one, other in zip(whole.chart.columns, apart.chart.columns, strict=True):
            high = [sum(part.height for part in column.parts) for column in (one, other)]
            assert high[0] == pytest.approx(high[1], abs=0.1)

    def test_names_members_and_sums(self, month):
        found = look(month, stack="member")
        assert [(name, total) for _, name, total in found.legend] == [
            ("Alice Archer", "$10.00"), ("Bob", "$9.00"),
        ]  # fmt: skip
        assert "Bob: $3.00" in found.chart.columns[-1].title

    def test_names_repositories_of_tasks_that_i_may_list(self, month, bob, acme):
        """A1: a colleague's task that the policy hides is in what is left."""
        report(month, "t-a", "shop")
        found = look(month, stack="repository")
        assert [(name, total) for _, name, total in found.legend] == [
            ("shop", "$10.00"), ("No repository known", "$9.00"),
        ]  # fmt: skip
        own = look(factories.actor(bob, acme), stack="repository", is_team=False)
        assert [name for _, name, _ in own.legend] == ["No repository known"]

    def test_has_months_for_a_year_and_leads_to_their_days(self, month, alice, acme):
        used(alice, acme, date(2026, 2, 27))
        found = look(month, days=365)
        labels = [column.label for column in found.chart.columns]
        assert (labels[0], labels[-1], len(labels)) == ("Nov 2025", "Nov 2026", 13)
        assert found.chart.columns[3].query == "first=2026-02-01&last=2026-02-28"
        assert found.chart.columns[-1].query == "first=2026-11-01&last=2026-11-20"

    def test_of_all_times_is_of_those_with_something(self, month):
        found = insight.insight(
            month, Filters(date.min, date.max, is_team=True), metric="", stack="", at=NOW
        )
        assert found.cards[0].text == "$19.00"
        assert found.chart is None  # one month: no chart with one point

    def test_of_one_day_or_of_nothing_is_none(self, month, mallory, evil):
        assert look(month, days=1).chart is None
        assert look(factories.actor(mallory, evil)).chart is None

    def test_draws_the_budgets_that_are_about_what_is_shown(self, month, alice, bob, acme):
        account = factories.account(alice, acme)
        for scope, subject, period, usd in (
            ("account", "", "day", 5), ("account", "", "month", 300), ("account", "", "week", 1),
            ("member", bob.pk, "day", 2), ("model", "v/one", "day", 999),
        ):  # fmt: skip
            budgets.put_budget(
                by=month, account=account, scope=scope, subject=subject, period=period,
                limit_nanos=usd * USD, at=NOW,
            )  # fmt: skip
        lines = {line.label: line.y for line in look(month).chart.lines}
        assert set(lines) == {"Daily budget: $5.00", "A day's part of the monthly budget: $10.00"}
        assert [*lines.values()] == [charts.HEIGHT / 6, None]
        (of_bob,) = look(month, member=bob.pk).chart.lines
        assert of_bob.label == "Daily budget: $2.00"
        (of_model,) = look(month, model="v/one").chart.lines
        assert of_model.y is None
        assert look(month, upstream="east").chart.lines == []
        months = look(month, days=200).chart.lines
        assert [(line.label, line.y) for line in months] == [("Monthly budget: $300.00", None)]
        assert look(month, metric="tokens").chart.lines == []

    def test_says_where_the_month_leads(self, month):
        assert look(month).forecast == (
            "$19.00 in November so far; at this pace it comes to $28.50."
        )
        assert look(month, days=7).forecast == ""

    @given(
        st.lists(st.lists(st.integers(0, 10**15), min_size=4, max_size=4), min_size=1, max_size=20)
    )
    def test_stays_in_its_box(self, rows):
        series = charts.largest([charts.Series(str(at), row) for at, row in enumerate(rows)])
        assert sum(one.total for one in series) == sum(map(sum, rows))
        assert len(series) <= charts.MOST_SERIES + 1
        chart = charts.stacked([("d", "")] * 4, series, limits=[("limit", 5)], written=str)
        for column in chart.columns:
            assert 0 <= column.x < column.x + column.width <= charts.WIDTH
            assert sum(part.height for part in column.parts) <= charts.HEIGHT + 0.1
            assert all(part.y >= -0.1 for part in column.parts)

    @pytest.mark.parametrize(
        ("value", "top"),
        [(0, 4), (1, 4), (7, 8), (10, 20), (20, 20), (21, 40), (51, 60), (99, 100)],
    )
    def test_ends_at_a_round_number(self, value, top):
        assert charts.round_up(value) == top


class TestThePage:
    @pytest.fixture
    def rows(self, alice, bob, acme, client):
        log(alice, acme, 2)
        log(alice, acme, 1, model_id="v/two")
        log(bob, acme, 1, upstream_name="west")
        usage_days.rebuild()
        client.force_login(alice)
        return client

    @pytest.mark.parametrize("period", ["", "7d", "30d", "12m", "all", "x"])
    def test_has_tabs_for_periods(self, rows, period):
        page = rows.get(f"/usage?of=all&period={period}")
        assert page.status_code == 200
        current = re.search(r'period=(\w+)"\s+aria-current="page"', page.content.decode())[1]
        assert current == (period if period in insight.PERIODS else "30d")
        assert page.context["totals"]["completions"] == 4

    def test_leaves_out_and_takes_back_in(self, rows, bob):
        """What is left out is so in the figures, the log and the CSV."""
        table = rows.get("/usage?of=all&by=model")
        (_, links) = next(row for row in table.context["breakdown"] if row[0].value == "v/two")
        page = rows.get(f"/usage{links.without}")
        assert page.context["totals"]["completions"] == len(page.context["rows"]) == 3
        more = rows.get(f"/usage{links.without}&not_member={bob.pk}")
        assert more.context["totals"]["completions"] == len(more.context["rows"]) == 2
        assert "Not v/two" in text_of(more)
        assert "Not Bob" in text_of(more)
        chip = next(one for one in more.context["chips"] if one.text == "Not v/two")
        assert rows.get(f"/usage{chip.without}").context["totals"]["completions"] == 3
        assert "not_model=v%2Ftwo" in unescape(more.content.decode())

    def test_shows_one_alone_and_leads_back(self, rows):
        table = rows.get("/usage?of=all&by=upstream&period=7d")
        (_, links) = next(row for row in table.context["breakdown"] if row[0].value == "west")
        page = rows.get(f"/usage{links.only}")
        assert page.context["totals"]["completions"] == 1
        (chip,) = page.context["chips"]
        assert chip.text == "Upstream: west"
        assert rows.get(f"/usage{chip.without}").context["totals"]["completions"] == 4

    def test_lists_tasks_by_title(self, rows, alice, acme):
        message = {"ts": 1, "type": "say", "say": "text", "text": "Mend the build"}
        for kind, more in (("Task Created", {}), ("Task Message", {"message": message})):
            event = tasks.Event(kind, {"taskId": "t-1", **more})
            tasks.record_event(actor=factories.actor(alice, acme), event=event, at=NOW)
        log(alice, acme, 1, task_id="t-1", cost_nanos=USD)
        usage_days.rebuild()
        page = rows.get("/usage?by=task")
        assert [part.name for part, _ in page.context["breakdown"]] == [
            "Mend the build", "Outside of tasks",
        ]  # fmt: skip
        assert "task=t-1" in page.content.decode()

    def test_a_member_leaves_out_nobody_else(self, rows, bob, alice):
        """A1: the fields of a team mean nothing for who sees their own alone."""
        rows.force_login(bob)
        page = rows.get(f"/usage?of=all&not_member={bob.pk}&stack=member&metric=people")
        assert page.context["totals"]["completions"] == 1
        assert "Alice" not in text_of(page).replace("Account menu", "")

    @pytest.mark.parametrize(
        "asked",
        [
            "metric=x&stack=x&period=x", "first=0001-01-01&last=9999-12-31", "not_model=%00",
            "not_model=" + "&not_model=".join(map(str, range(60))), "stack=member", "metric=people",
        ],
    )  # fmt: skip
    def test_takes_no_harm(self, rows, asked):
        """F5"""
        for of in ("", "all"):
            assert rows.get(f"/usage?of={of}&{asked}").status_code == 200

    def test_days_of_each_period(self):
        with time_machine.travel(NOW, tick=False):
            days = {
                period: insight.period_days(period, first_of_all=date(2025, 3, 4), at=NOW)
                for period in [*insight.PERIODS, "x"]
            }
        assert days == {
            "7d": (date(2026, 11, 14), TODAY),
            "30d": (date(2026, 10, 22), TODAY),
            "12m": (date(2025, 12, 1), TODAY),
            "all": (date(2025, 3, 4), TODAY),
            "x": (date(2026, 10, 22), TODAY),
        }


def test_what_is_left_out_is_not_in_the_log(alice, acme):
    log(alice, acme, 2)
    log(alice, acme, 1, model_id="v/two")
    actor = factories.actor(alice, acme)
    filters = Filters(date(2020, 1, 1), date(2100, 1, 1), not_model=("v/two",))
    assert spending.completions(actor, filters).count() == 2
    assert Completion.unscoped.count() == 3
