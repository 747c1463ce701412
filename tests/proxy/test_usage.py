"""What was used and what it cost: the daily sums, the log, one completion explained, the export."""

import asyncio
import csv
import io
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.test import AsyncClient
from django.utils import timezone

from accounts import api_keys
from credits import actions as credit
from orgs import documents
from proxy import actions, admission, catalogue, usage_days
from proxy.calls import read
from proxy.holds import OpenHold
from proxy.models import Completion, Price, UsageDay, new_completion_id
from proxy.pricing import Usage
from roocloud.lib.money import NANOS_PER_USD as USD
from tasks_sharing import actions as tasks
from tests import factories
from tests.proxy.test_keys import make

PRICE = actions.NewPrice(3 * USD, 15 * USD, cache_read=3 * USD // 10)


@pytest.fixture
def models(db):
    at = timezone.now() - timedelta(days=40)
    up = actions.put_upstream(
        name="east", base_url="https://a.example/v1", api_key="k", by=None, at=at
    )
    for name in ("v/one", "v/two"):
        actions.put_model(
            model_id=name, upstream=up, upstream_model="m", price=PRICE,
            facts=actions.ModelFacts(max_tokens=4000, context_window=8000), by=None, at=at,
        )  # fmt: skip
    catalogue.forget()


@pytest.fixture
def complete(models):
    """``complete(alice, acme, usage, …)`` runs a completion through admission and settlement."""

    def run(person, org, used, *, model="v/one", status="done", task="", at=None, **more):
        at = at or timezone.now()
        return finish(
            [begin(person, org, model=model, task=task, at=at)], used, status=status, **more
        )[0]

    return run


def order_of(person, org, *, model="v/one", task="", at=None):
    at = at or timezone.now()
    actor = factories.actor(person, org)
    account = credit.account_of(user_id=person.pk, organization_id=actor.organization_id, at=at)
    credit.grant(account=account, amount_nanos=1000 * USD, key="g", by=None, at=at, note="")
    call = read(b'{"model": "%s", "messages": [{"role": "user"}]}' % model.encode())
    return admission.check(
        actor=actor, account_id=account.pk, allow_list=documents.DEFAULT.allow_list,
        catalogue=catalogue.read(at=timezone.now()), call=call, task_id=task, at=at,
    )  # fmt: skip


def begin(person, org, **what):
    order = order_of(person, org, **what)
    request = credit.HoldRequest(order.account_id, order.worst_nanos, order.subjects)
    (hold,) = credit.place_holds([request], at=order.at)
    opened = OpenHold(hold, (), usable_until=order.at, calls=1)
    return admission.Admitted(new_completion_id(), opened, order)


def finish(
    admitted, used, *, status="done", upstream="east", error="", attempts=(), estimated=False
):
    results = [
        admission.Result(
            one,
            status,
            used,
            one.cost_nanos(used),
            estimated,
            error,
            upstream,
            attempts,
            120,
            one.order.at + timedelta(seconds=2),
        )
        for one in admitted
    ]
    admission.settle(results, closing=[one.hold.hold for one in admitted])
    return [Completion.unscoped.get(pk=one.completion_id) for one in admitted]


def log(person, org, count, *, at=None, **fields):
    """Rows of the log as they are, without their money."""
    at = at or timezone.now()
    return Completion.unscoped.bulk_create(
        Completion(
            **{
                "user_id": person.pk, "organization_id": org.pk if org else "", "model_id": "v/one",
                "upstream_name": "east", "is_stream": True, "status": "done", "saved_at": at,
                "started_at": at - timedelta(seconds=number // 3), "ended_at": at, **fields,
            }
        )
        for number in range(count)
    )  # fmt: skip


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


def right() -> bool:
    """Whether the sums are those of the rows."""
    return usage_days.rebuild()[1] == 0


class TestTheDailySums:
    def test_are_those_of_the_completions(self, models, alice, bob, acme):
        """MO10: kept by settlements, of every status, twice over and for orphans."""
        draw = random.Random(7)  # noqa: S311
        now = timezone.now()
        for _ in range(40):
            person, org = draw.choice([(alice, acme), (bob, acme), (bob, None)])
            started = now - timedelta(days=draw.randrange(4), hours=draw.randrange(20))
            batch = [
                begin(person, org, model=draw.choice(["v/one", "v/two"]), at=started)
                for _ in range(draw.randrange(1, 4))
            ]
            used = Usage(draw.randrange(900), draw.randrange(300), cache_read=draw.randrange(50))
            if draw.random() < 0.2:
                progress = [admission.Progress(one, used, "east") for one in batch]
                admission.save_progress(progress, [one.hold.hold.pk for one in batch], started)
                continue  # its process died
            finish(
                batch, used, status=draw.choice(["done", "failed", "cut"]),
                upstream=draw.choice(["east", "west"]),
            )  # fmt: skip
        assert UsageDay.unscoped.exists()
        assert right()

        assert admission.settle_orphans(at=now + timedelta(minutes=5)) > 0

        assert right()
        assert not Completion.unscoped.filter(status="running").exists()

    def test_count_a_completion_once_however_often_it_is_settled(self, models, alice, acme):
        """C8"""
        admitted = begin(alice, acme)
        for _ in range(3):
            finish([admitted], Usage(100, 10))
        row = UsageDay.unscoped.get()
        assert (row.completions, row.prompt_tokens) == (1, 100)

    def test_late_progress_changes_nothing_that_is_settled(self, models, alice, acme):
        admitted = begin(alice, acme)
        (row,) = finish([admitted], Usage(100, 10))
        progress = [admission.Progress(admitted, Usage(50, 5), "east")]
        admission.save_progress(progress, [], timezone.now())
        again = Completion.unscoped.get()
        assert (again.prompt_tokens, again.cost_nanos) == (100, row.cost_nanos)
        assert right()

    def test_are_made_anew_by_a_command_that_says_what_was_wrong(
        self, complete, alice, acme, capsys
    ):
        complete(alice, acme, Usage(100, 10))
        complete(alice, acme, Usage(100, 10), model="v/two")
        UsageDay.unscoped.filter(model_id="v/one").update(cost_nanos=1)

        call_command("rebuild_usage")
        assert "4 daily sums, 1 of them" in capsys.readouterr().out
        call_command("rebuild_usage")
        assert "4 daily sums, 0 of them" in capsys.readouterr().out

    def test_cost_a_settlement_two_statements_whatever_its_size(
        self, models, alice, acme, django_assert_num_queries, django_assert_max_num_queries
    ):
        some, many = [begin(alice, acme)], [begin(alice, acme) for _ in range(20)]
        with django_assert_max_num_queries(10) as few:
            finish_only(some)
        with django_assert_num_queries(len(few.captured_queries)):
            finish_only(many)


def finish_only(admitted):
    used = Usage(100, 10)
    at = timezone.now()
    admission.settle(
        [
            admission.Result(one, "done", used, one.cost_nanos(used), False, "", "east", (), 1, at)
            for one in admitted
        ],
        closing=[one.hold.hold for one in admitted],
    )


class TestThePage:
    def test_says_what_an_empty_one_means(self, client, bob, acme):
        client.force_login(bob)
        assert "No completions in these days" in text_of(client.get("/usage"))

    def test_shows_my_own_and_to_admins_everybodys(self, client, complete, alice, bob, acme):
        """A1"""
        complete(alice, acme, Usage(1_000, 0), model="v/one")
        complete(bob, acme, Usage(10_000, 0), model="v/two")
        complete(bob, None, Usage(100_000, 0), model="v/two")

        client.force_login(bob)
        for path in ("/usage", "/usage?of=all"):
            text = text_of(client.get(path))
            assert "v/two" in text
            assert "$0.03" in text
            assert "v/one" not in text
            assert "100,000" not in text
            assert "/budgets?for" not in text

        client.force_login(alice)
        assert "v/two" not in text_of(client.get("/usage"))
        everybody = text_of(client.get("/usage?of=all&by=member"))
        assert "11,000" in everybody
        assert "Bob" in everybody
        assert f"/budgets?for=member:{bob.pk}#new" in everybody
        assert "/budgets?for=model:v%2Ftwo#new" in text_of(client.get("/usage?of=all&by=model"))

    @pytest.mark.parametrize(
        ("asked", "left"),
        [
            ("model=v/two", {"m"}), ("upstream=west", {"u"}), ("status=failed", {"s"}), ("task=t-9", {"t"}),
            ("member={bob}", {"b"}), ("first={old}&last={old}", {"o"}),
        ],
    )  # fmt: skip
    def test_is_filtered_by_each_part(self, client, models, alice, bob, acme, asked, left):
        old = timezone.now() - timedelta(days=60)
        log(alice, acme, 1)
        rows = {
            "m": log(alice, acme, 1, model_id="v/two"),
            "u": log(alice, acme, 1, upstream_name="west"),
            "s": log(alice, acme, 1, status="failed"),
            "t": log(alice, acme, 1, task_id="t-9"),
            "b": log(bob, acme, 1),
            "o": log(alice, acme, 1, at=old),
        }
        usage_days.rebuild()
        client.force_login(alice)
        asked = asked.format(bob=bob.pk, old=old.date().isoformat())

        text = text_of(client.get(f"/usage?of=all&{asked}"))

        assert {name for name, (row,) in rows.items() if f"/usage/{row.pk}" in text} == left
        assert text.count('class="rows__main"') == 1

    def test_is_filtered_by_an_api_key_with_its_sums(self, client, alice, bob, acme):
        """MO9, A1: a member by their own keys, an admin by everybody's; revoked ones too."""
        mine, theirs, gone = make(bob, acme).key, make(alice, acme).key, make(bob, acme).key
        api_keys.revoke_key(key=gone, by=factories.actor(bob, acme), at=timezone.now())
        made = {
            key.pk: log(person, acme, 1, api_key_id=key.pk, cost_nanos=cost)[0]
            for key, person, cost in (
                (mine, bob, USD),
                (theirs, alice, 2 * USD),
                (gone, bob, 4 * USD),
            )
        }
        log(bob, acme, 1, cost_nanos=8 * USD)
        usage_days.rebuild()

        def shown(asked: str) -> tuple[set[str], int]:
            answer = client.get(f"/usage?{asked}")
            rows = {row.api_key_id for row in answer.context["rows"]}
            return rows, answer.context["totals"]["cost_nanos"] // USD

        client.force_login(bob)
        assert shown(f"key={mine.pk}") == ({mine.pk}, 1)
        assert shown(f"key={gone.pk}") == ({gone.pk}, 4)
        everything = ({mine.pk, gone.pk, ""}, 13)
        assert shown(f"key={theirs.pk}") == shown(f"of=all&key={theirs.pk}") == everything
        assert theirs.pk not in text_of(client.get("/usage"))
        assert str(mine) in text_of(client.get(f"/usage/{made[mine.pk].pk}"))
        assert f"/usage?key={mine.pk}" in text_of(client.get(f"/account/keys/{mine.pk}"))

        client.force_login(alice)
        assert shown(f"of=all&key={mine.pk}") == ({mine.pk}, 1)
        assert bob.email in text_of(client.get("/usage?of=all"))

    @pytest.mark.parametrize(
        "asked",
        [
            "key=x", "first=x", "last=9999-12-31", "first=0001-01-01", "model=nope", "before=x", "status=x", "by=x",
            "before=0001-01-01T00:00:00%2B14:00~x", "before=2026-01-01T00:00:00%2B00:00~%00", "task=%00",
            "member=x", "by=member", "before=2026-01-01T00:00:00~x",
        ],
    )  # fmt: skip
    def test_takes_no_harm_from_what_makes_no_sense(self, client, bob, acme, asked):
        """F5"""
        client.force_login(bob)
        assert client.get(f"/usage?{asked}").status_code == 200
        assert client.get(f"/usage.csv?{asked}").status_code == 200

    def test_leads_through_every_row_once(self, client, alice, acme):
        rows = log(alice, acme, 120)
        client.force_login(alice)
        seen, path = [], "/usage"
        while path:
            answer = client.get(path)
            seen += [row.pk for row in answer.context["rows"]]
            following = answer.context["following"]
            path = following and f"/usage?before={following.replace('+', '%2B')}"
        assert len(seen) == len(set(seen)) == 120
        assert set(seen) == {row.pk for row in rows}

    def test_asks_as_much_for_many_as_for_few(
        self, client, alice, bob, acme, django_assert_num_queries, django_assert_max_num_queries
    ):
        client.force_login(alice)
        log(alice, acme, 2)
        usage_days.rebuild()
        client.get("/usage?of=all")
        with django_assert_max_num_queries(22) as few:
            client.get("/usage?of=all")
        for number in range(30):
            log(bob, acme, 20, model_id=f"v/{number}", upstream_name=f"up-{number}")
        usage_days.rebuild()
        with django_assert_num_queries(len(few.captured_queries)):
            client.get("/usage?of=all")

    def test_breaks_costs_down_by_repository_and_mode_of_tasks_that_i_may_list(
        self, client, complete, alice, bob, acme
    ):
        for person, task, repository, mode in (
            (alice, "t-1", "shop", "code"), (alice, "t-2", "shop", "ask"), (bob, "t-1", "docs", "code"),
        ):  # fmt: skip
            properties = {"taskId": task, "mode": mode, "repositoryName": repository}
            tasks.record_event(
                actor=factories.actor(person, acme), event=tasks.Event("Task Created", properties),
                at=timezone.now(),
            )  # fmt: skip
            complete(person, acme, Usage(1000, 0), task=task)
        complete(alice, acme, Usage(500, 0))
        client.force_login(alice)

        def parts(by, of=""):
            answer = client.get(f"/usage?by={by}&of={of}")
            return {part.name: part.tokens for part, _ in answer.context["breakdown"]}

        def of_task(task, by):
            answer = client.get(f"/usage?by={by}&task={task}")
            return {part.name: part.tokens for part, _ in answer.context["breakdown"]}

        assert parts("repository") == {"shop": 2000, "No repository known": 500}
        assert parts("mode") == {"code": 1000, "ask": 1000, "No mode known": 500}
        assert parts("repository", of="all") == {
            "shop": 2000, "docs": 1000, "No repository known": 500,
        }  # fmt: skip
        assert {by: of_task("t-1", by) for by in ("repository", "mode")} == {
            "repository": {"shop": 1000}, "mode": {"code": 1000},
        }  # fmt: skip
        Completion.unscoped.update(prompt_tokens=10**6)
        assert parts("mode") == {"code": 1000, "ask": 1000, "No mode known": 500}, "sums are read"


class TestOneCompletion:
    def test_is_explained_by_class_price_and_entry(self, client, complete, alice, acme):
        """MO6, N2"""
        row = complete(
            alice, acme, Usage(3055, 412, cache_read=2455), task="t-1", estimated=True,
            attempts=[{"upstream": "west", "error": "upstream_failed"}],
        )  # fmt: skip
        client.force_login(alice)

        text = text_of(client.get(f"/usage/{row.pk}"))

        for said in (
            "600 input", "\N{MULTIPLICATION SIGN} $3.00 / M", "= $0.0018<", "2,455 cache-read", "\N{MULTIPLICATION SIGN} $0.30 / M", "= $0.0007365<",
            "412 output", "\N{MULTIPLICATION SIGN} $15.00 / M", "= $0.00618<", "$0.0087165 on", "estimated",
            f"entry {row.hold.entries.get().pk} of the ledger", "upstream_failed", "120 ms", "2,000 ms", "t-1",
        ):  # fmt: skip
            assert said in text, said
        assert row.cost_nanos == Decimal("0.0087165") * USD

    def test_of_a_long_prompt_is_explained_at_its_prices(self, client, complete, alice, acme):
        """MO6: the same rates as it was held and charged with."""
        Price.unscoped.filter(model__model_id="v/one").update(
            long_above_tokens=3000, long_input_nanos_per_mtok=6 * USD,
            long_output_nanos_per_mtok=22 * USD, long_cache_read_nanos_per_mtok=6 * USD // 10,
        )  # fmt: skip
        catalogue.forget()
        short = complete(alice, acme, Usage(3000, 100))
        long = complete(alice, acme, Usage(3001, 100, cache_read=1000))
        client.force_login(alice)

        text = text_of(client.get(f"/usage/{long.pk}"))

        assert (short.cost_nanos, long.cost_nanos) == (10_500_000, 12_006_000 + 600_000 + 2_200_000)
        assert "2,001 input" in text
        assert "\N{MULTIPLICATION SIGN} $6.00 / M" in text
        assert "above 3,000 tokens" in text
        assert "above 3,000 tokens" not in text_of(client.get(f"/usage/{short.pk}"))

    def test_of_a_failure_says_that_nothing_is_to_pay(self, client, complete, alice, acme):
        """MO4"""
        row = complete(alice, acme, Usage(), status="failed", error="upstream_failed")
        client.force_login(alice)
        text = text_of(client.get(f"/usage/{row.pk}"))
        assert "there is nothing to pay" in text
        assert "of the ledger" not in text

    def test_is_for_its_maker_and_the_admins(
        self, client, complete, alice, adam, bob, rhea, mallory, acme, evil
    ):
        """A1"""
        row = complete(bob, acme, Usage(1, 1))
        hidden = complete(bob, None, Usage(1, 1))
        for person, status in ((bob, 200), (alice, 200), (adam, 200), (rhea, 404), (mallory, 404)):
            client.force_login(person)
            assert client.get(f"/usage/{row.pk}").status_code == status, person
            assert client.get(f"/usage/{hidden.pk}").status_code == 404


def read_export(person, asked=""):
    async def ask() -> str:
        client = AsyncClient()
        await client.aforce_login(person)
        answer = await client.get(f"/usage.csv?{asked}")
        assert answer.headers["Content-Disposition"].startswith("attachment")
        return b"".join([part async for part in answer.streaming_content]).decode()

    return list(csv.DictReader(io.StringIO(asyncio.run(ask()))))


class TestTheBillOfATask:
    @pytest.fixture
    def record(self):
        def run(person, org, task="t-1"):
            message = {"ts": 1, "type": "say", "say": "text", "text": "Build it"}
            for event in (
                tasks.Event("Task Created", {"taskId": task}),
                tasks.Event("Task Message", {"taskId": task, "message": message}),
            ):
                tasks.record_event(
                    actor=factories.actor(person, org), event=event, at=timezone.now()
                )

        return run

    def test_is_what_its_owner_was_charged_for_it(self, client, complete, record, alice, bob, acme):
        """A task's id is unique for its owner alone."""
        record(alice, acme)
        for used in (Usage(1000, 0), Usage(2000, 0)):
            complete(alice, acme, used, task="t-1")
        complete(alice, acme, Usage(4000, 0), task="t-2")
        complete(bob, acme, Usage(4000, 0), task="t-1")
        runs = admission.Progress(begin(alice, acme, task="t-1"), Usage(9, 0), "east")
        admission.save_progress([runs], [], timezone.now())
        client.force_login(alice)

        text = text_of(client.get("/task/t-1"))

        assert "<strong>$0.009</strong>" in text
        assert "3 completions" in text
        assert "1 running" in text
        assert "estimated" not in text

        asked = client.get("/usage?task=t-1")
        assert asked.context["totals"]["prompt_tokens"] == 3000
        assert len(asked.context["rows"]) == 3

    def test_says_when_it_is_estimated(self, client, complete, record, alice, acme):
        record(alice, acme)
        complete(alice, acme, Usage(1000, 0), task="t-1", estimated=True)
        client.force_login(alice)
        assert "partly estimated" in text_of(client.get("/task/t-1"))

    def test_is_left_out_where_this_server_completed_nothing(self, client, record, alice, acme):
        record(alice, acme)
        client.force_login(alice)
        assert "Billed" not in text_of(client.get("/task/t-1"))

    def test_is_on_its_share_without_the_way_to_each_completion(
        self, client, complete, record, alice, acme
    ):
        record(alice, acme)
        complete(alice, acme, Usage(1000, 0), task="t-1")
        shared = tasks.share_task(
            actor=factories.actor(alice, acme),
            task_id="t-1",
            visibility="public",
            at=timezone.now(),
        )
        answer = client.get("/share/" + shared.url.rpartition("/")[2])
        assert "1 completion" in text_of(answer)
        assert "Billed here" in text_of(answer)
        assert b"/usage" not in answer.content


@pytest.mark.django_db(transaction=True)
class TestTheExport:
    def test_has_every_row_that_the_filters_leave(self, alice, acme):
        log(alice, acme, 2500)
        log(alice, acme, 3, model_id="v/two", cost_nanos=5)
        usage_days.rebuild()
        assert len({row["id"] for row in read_export(alice)}) == 2503
        rows = read_export(alice, "model=v/two")
        assert [(row["member"], row["cost_nano_usd"]) for row in rows] == [(alice.email, "5")] * 3

    def test_is_of_an_api_key_too(self, alice, acme):
        key = make(alice, acme).key
        log(alice, acme, 2)
        log(alice, acme, 1, api_key_id=key.pk)
        assert [row["api_key_id"] for row in read_export(alice, f"key={key.pk}")] == [key.pk]

    @pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t"])
    def test_runs_nothing_in_a_spreadsheet(self, alice, acme, first):
        log(alice, acme, 1, task_id=f"{first}HYPERLINK(1)", error=f"{first}x")
        (row,) = read_export(alice)
        assert (row["task_id"], row["error"]) == (f"'{first}HYPERLINK(1)", f"'{first}x")

    def test_is_of_the_organization_for_admins_alone(self, alice, bob, acme):
        """A1"""
        log(alice, acme, 2)
        log(bob, acme, 3)
        assert len(read_export(bob, "of=all")) == 3
        assert len(read_export(alice, "of=all")) == 5


def test_days_are_utc(models, alice, acme, client):
    log(alice, acme, 1, at=datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC))
    log(alice, acme, 1, at=datetime(2026, 3, 2, 0, 0, tzinfo=UTC))
    usage_days.rebuild()
    client.force_login(alice)
    answer = client.get("/usage?first=2026-03-01&last=2026-03-01")
    assert answer.context["totals"]["completions"] == len(answer.context["rows"]) == 1
