"""Completions through the real server and a real upstream on loopback (protocol/proxy.md §4)."""

import asyncio
import json
import time
from datetime import timedelta

import aiohttp
import openai
import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError
from django.utils import timezone

from credits import actions as credit
from credits import queries as books
from credits.models import Account, Hold
from orgs import documents
from orgs.actions import current_revision, save_settings
from proxy import actions, admission
from proxy.models import Completion, LanguageModel
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, WORDS, fake_upstream

pytestmark = pytest.mark.django_db(transaction=True)

COST_NANOS = 600 * 3000 + 400 * 300 + 50 * 15000
PRICE = actions.NewPrice(3 * USD, 15 * USD, cache_read=3 * USD // 10)


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def offered(transactional_db, upstream):
    """Models that behave as their names say, on the fake upstream."""
    upstream.requests.clear()
    upstream.cut.clear()
    upstream.answered = 0
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    names = [
        "plain",
        "silent",
        "bare",
        "fails",
        "breaks",
        "endless",
        "lingers",
        "empty",
        "early-endless",
        "unstreamed",
        "surrogate",
        "objects",
        "unhurried",
        "status-400-slowly",
        *(f"status-{s}" for s in (400, 401, 402, 404, 408, 409, 422, 429, 500, 503)),
    ]
    factories.models(row, names, prefix="fake", price=PRICE, max_tokens=100, context_window=2000)
    return row


@pytest.fixture
def account(alice) -> Account:
    return factories.account(alice)


@pytest.fixture
def token(alice) -> str:
    return factories.job_token(alice)


@pytest.fixture
def client(live_url, offered, token):
    return openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=token, max_retries=0)


MESSAGES = [{"role": "user", "content": "Hello"}]


def ask(client, model="fake/plain", **more):
    return client.chat.completions.create(model=model, messages=MESSAGES, **more)


def ask_raw(live_url, token, model, *, gives_up_s=10, **more) -> dict:
    """A whole answer, past a client library that would check its shape."""

    async def post() -> dict:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(gives_up_s)) as session,
            session.post(
                f"{live_url}/proxy/v1/chat/completions",
                json={"model": model, "messages": MESSAGES, **more},
                headers={"Authorization": f"Bearer {token}"},
            ) as answer,
        ):
            return json.loads(await answer.read())

    return asyncio.run(post())


def spend(account, nanos) -> None:
    at = timezone.now()
    (hold,) = credit.place_holds([credit.HoldRequest(account.pk, nanos)], at=at)
    credit.settle_holds([credit.Charge(hold, "spent", nanos)], closing=[hold], at=at)


def settled(account) -> Completion:
    """The one completion, once it has ended, which may be a moment after the client has all bytes."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        row = Completion.unscoped.first()
        if row and row.ended_at:
            account.refresh_from_db()
            assert books.mismatches() == []
            assert not Hold.unscoped.open().exists()
            return row
        time.sleep(0.02)
    raise AssertionError("the completion was not settled")


def all_settled() -> None:
    """Wait for the settlements, which follow the last byte."""
    deadline = time.monotonic() + 10
    while Hold.unscoped.open().exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestWhatIsCharged:
    def test_a_stream_costs_exactly_what_its_usage_says(self, client, account):
        chunks = list(ask(client, stream=True))

        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "".join(
            WORDS
        )
        assert chunks[-1].usage.cost == pytest.approx(COST_NANOS / USD)
        row = settled(account)
        assert (row.status, row.cost_nanos, row.is_estimated) == ("done", COST_NANOS, False)
        assert account.balance_nanos == USD - COST_NANOS

    def test_a_whole_answer_costs_the_same(self, client, account):
        """C5"""
        answer = ask(client)

        assert answer.choices[0].message.content == "".join(WORDS)
        assert answer.usage.cost == pytest.approx(COST_NANOS / USD)
        assert settled(account).cost_nanos == COST_NANOS

    def test_an_upstream_that_reports_nothing_is_counted_and_flagged(self, client, account):
        """C5"""
        list(ask(client, "fake/silent", stream=True))
        row = settled(account)
        assert row.is_estimated
        assert 0 < row.cost_nanos < COST_NANOS

    def test_a_whole_answer_of_it_says_what_was_counted(self, client, account):
        """Trap 31."""
        answer = ask(client, "fake/silent")
        cost = settled(account).cost_nanos
        assert answer.usage.cost == pytest.approx(cost / USD)
        assert answer.choices[0].message.content == "".join(WORDS)

    def test_a_usage_chunk_without_choices_is_repaired(self, client, account):
        """Trap 30."""
        chunks = list(ask(client, "fake/bare", stream=True))
        assert all(chunk.choices is not None for chunk in chunks)
        assert settled(account).cost_nanos == COST_NANOS

    def test_an_error_in_the_stream_reaches_the_client(self, client, account):
        with pytest.raises(openai.APIError, match="overloaded"):
            list(ask(client, "fake/fails", stream=True))
        assert settled(account).status == "failed"

    def test_an_upstream_that_breaks_off_is_an_error_event(self, client, account):
        with pytest.raises(openai.APIError, match="broke off"):
            list(ask(client, "fake/breaks", stream=True))
        row = settled(account)
        assert (row.status, row.is_estimated) == ("failed", True)

    def test_who_hangs_up_pays_for_what_was_produced_and_the_upstream_is_cut(
        self, client, account, upstream
    ):
        """C5"""
        stream = ask(client, "fake/endless", stream=True)
        for _ in zip(range(8), stream, strict=False):
            pass
        stream.close()

        row = settled(account)
        assert upstream.cut.wait(5)
        assert (row.status, row.is_estimated) == ("cut", True)
        assert row.cost_nanos > 0
        assert account.balance_nanos == USD - row.cost_nanos

    def test_the_client_learns_what_was_counted_for_it(self, client, account):
        """Trap 31."""
        chunks = list(ask(client, "fake/silent", stream=True))
        cost = settled(account).cost_nanos
        assert chunks[-1].usage.cost == pytest.approx(cost / USD)

    @pytest.mark.parametrize("model", ["fake/surrogate", "fake/objects"])
    def test_an_answer_of_a_strange_shape_is_paid_for(
        self, live_url, offered, token, account, model
    ):
        """C5"""
        answer = ask_raw(live_url, token, model)
        assert answer["usage"]["cost"] == pytest.approx(COST_NANOS / USD)
        assert settled(account).cost_nanos == COST_NANOS

    def test_usage_that_counts_nothing_is_no_report(self, client, account):
        """C5: only a reported zero is zero."""
        list(ask(client, "fake/empty", stream=True))
        row = settled(account)
        assert row.is_estimated
        assert row.cost_nanos > 0

    def test_an_early_report_does_not_make_the_rest_free(self, client, account):
        """C5"""
        stream = ask(client, "fake/early-endless", stream=True)
        for _ in zip(range(30), stream, strict=False):
            pass
        stream.close()
        row = settled(account)
        assert row.is_estimated
        assert row.completion_tokens > 10

    def test_hanging_up_on_a_whole_answer_is_not_free(
        self, live_url, offered, token, account, upstream
    ):
        """C5"""
        with pytest.raises(TimeoutError):
            ask_raw(live_url, token, "fake/unhurried", gives_up_s=0.2)
        assert settled(account).cost_nanos == COST_NANOS
        assert upstream.answered == 1

    def test_who_leaves_at_the_last_event_had_the_whole_answer(self, client, account, upstream):
        """The client closes at [DONE], which may be before the upstream ends its body."""
        list(ask(client, "fake/lingers", stream=True))
        row = settled(account)
        assert upstream.cut.wait(5)
        assert (row.status, row.cost_nanos, row.is_estimated) == ("done", COST_NANOS, False)

    def test_the_task_is_remembered(self, client, account):
        ask(client, extra_headers={"X-Roo-Task-ID": "task-7"})
        assert settled(account).task_id == "task-7"


class TestWhatIsRefused:
    def error(self, client, **request):
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client, **request)
        body = refused.value.response.json()
        assert set(body) == {"error"}
        return refused.value.status_code, body["error"]["code"], body["error"]["message"]

    def test_no_credit_is_402_and_says_whom_to_ask(self, client, alice, upstream):
        """C7: no hold, no upstream request."""
        status, code, message = self.error(client, model="fake/plain")
        assert (status, code) == (402, "insufficient_credits")
        assert "Ask the administrator" in message
        assert upstream.requests == []

    def test_a_dead_database_admits_nothing(self, client, account, upstream, monkeypatch):
        """C7"""

        def dead(*args, **kwargs):
            raise DatabaseError("the disk is full")

        monkeypatch.setattr("django.db.models.query.QuerySet.bulk_create", dead)
        assert self.error(client, model="fake/plain")[0] == 503
        assert upstream.requests == []

    def test_an_unknown_model_is_404(self, client, account):
        assert self.error(client, model="no/such")[:2] == (404, "model_not_found")
        assert self.error(client, model="\x00")[:2] == (404, "model_not_found")

    def test_a_model_without_a_price_is_404(self, client, account, offered):
        actions.put_model(
            model_id="fake/unpriced", upstream=offered, upstream_model="plain", price=None,
            facts=actions.ModelFacts(), by=None, at=timezone.now(),
        )  # fmt: skip
        assert self.error(client, model="fake/unpriced")[0] == 404

    def test_a_readonly_member_may_not_spend(self, live_url, offered, rhea, acme):
        token = factories.bearer(rhea, acme, "job")["Authorization"][7:]
        other = openai.OpenAI(base_url=f"{live_url}/proxy", api_key=token, max_retries=0)
        assert self.error(other, model="fake/plain")[0] == 403

    def test_the_organizations_allow_list_is_enforced(self, live_url, offered, alice, acme):
        document = documents.dump(documents.DEFAULT)
        document["allowList"] = {"allowAll": False, "providers": {"openai": {"allowAll": True}}}
        save_settings(
            organization=acme, document=document, read_version=current_revision(acme).version,
            by=factories.actor(alice, acme), at=timezone.now(),
        )  # fmt: skip
        token = factories.bearer(alice, acme, "job")["Authorization"][7:]
        other = openai.OpenAI(base_url=f"{live_url}/proxy", api_key=token, max_retries=0)
        assert self.error(other, model="fake/plain")[:2] == (403, "model_not_allowed")

    @pytest.mark.parametrize("key", ["unauthenticated", "nonsense"])
    def test_strangers_are_401(self, live_url, offered, key):
        stranger = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=key, max_retries=0)
        assert self.error(stranger, model="fake/plain")[:2] == (401, "invalid_token")

    @pytest.mark.parametrize(
        ("upstream_status", "status", "code"),
        [
            (400, 400, "context_length_exceeded"), (401, 502, "upstream_auth_failed"),
            (402, 502, "upstream_out_of_credit"), (404, 404, "upstream_refused"),
            (408, 502, "upstream_failed"), (409, 502, "upstream_failed"),
            (422, 422, "upstream_refused"), (429, 429, "rate_limit_exceeded"),
            (500, 502, "upstream_failed"), (503, 502, "upstream_failed"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("stream", [False, True])
    def test_an_upstreams_refusal_is_translated_and_free(
        self, client, account, upstream_status, status, code, stream
    ):
        """protocol/proxy.md §4.4; an upstream's text about our key never comes out (I1)."""
        seen = self.error(client, model=f"fake/status-{upstream_status}", stream=stream)
        assert seen[:2] == (status, code)
        assert KEY not in seen[2]
        if upstream_status == 400:
            assert "maximum context length" in seen[2]  # trap 32
        assert settled(account).cost_nanos == 0
        assert account.balance_nanos == USD

    def test_the_words_of_an_overflow_arrive_however_they_were_sent(self, client, account):
        """Trap 32: in two segments, in a list."""
        assert self.error(client, model="fake/status-400-slowly")[:2] == (
            400,
            "context_length_exceeded",
        )

    def test_an_answer_that_is_no_stream_is_an_error(self, client, account):
        assert self.error(client, model="fake/unstreamed", stream=True)[:2] == (
            502,
            "upstream_failed",
        )

    def test_a_rate_limit_says_when_to_come_back(self, client, account):
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, "fake/status-429")
        assert refused.value.response.headers["retry-after"] == "7"

    def test_an_upstream_that_cannot_be_reached_is_502(self, client, account, offered):
        offered.base_url = "http://127.0.0.1:9/v1"
        offered.set_api_key(KEY)
        offered.save()
        assert self.error(client, model="fake/plain")[:2] == (502, "upstream_failed")
        assert settled(account).cost_nanos == 0

    def test_an_internal_address_is_not_connected_to(self, client, account, offered, settings):
        """K1"""
        settings.ROOCLOUD_INTERNAL_NETWORKS = []
        assert self.error(client, model="fake/plain")[:2] == (502, "upstream_failed")
        assert settled(account).cost_nanos == 0


class TestLimits:
    """MO7, M1"""

    @pytest.fixture
    def limit(self, settings):
        def change(**rates) -> None:
            none = {"requests": 0, "tokens": 0, "at_once": 0}
            settings.ROOCLOUD_LIMITS = {
                who: {**none, **(rates if who == "member" else {})}
                for who in settings.ROOCLOUD_LIMITS
            }

        return change

    def test_an_answer_says_what_is_left(self, client, account, limit):
        limit(requests=20)
        answer = client.chat.completions.with_raw_response.create(
            model="fake/plain", messages=MESSAGES
        )
        assert answer.headers["x-ratelimit-limit"] == "10"
        assert answer.headers["x-ratelimit-remaining"] == "9"
        assert int(answer.headers["x-ratelimit-reset"]) > time.time() - 1

    @pytest.mark.parametrize(
        ("rates", "named"),
        [({"requests": 2}, "2 requests a minute"), ({"tokens": 40}, "40 input tokens a minute")],
    )
    def test_beyond_it_is_429_with_the_time_to_wait(
        self, client, account, upstream, limit, rates, named
    ):
        limit(**rates)
        ask(client)
        with pytest.raises(openai.RateLimitError, match=named) as refused:
            ask(client)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.response.json()["error"]["code"] == "rate_limit_exceeded"
        assert len(upstream.requests) == 1
        all_settled()

    def test_running_at_once(self, client, account, limit):
        limit(at_once=1)
        stream = ask(client, "fake/endless", stream=True)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="1 requests at the same time"):
            ask(client)
        stream.close()
        all_settled()
        ask_until_admitted(client)


def ask_until_admitted(client) -> None:
    """A place is free a moment after its call was settled."""
    deadline = time.monotonic() + 10
    while True:
        try:
            ask(client)
        except openai.RateLimitError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


ROUTING_FIELDS = [
    "provider",
    "providerOptions",
    "models",
    "route",
    "api_key",
    "api_base",
    "base_url",
    "apiBase",
    "baseURL",
    "custom_llm_provider",
    "fallbacks",
    "context_window_fallbacks",
    "transforms",
    "plugins",
    "extra_headers",
    "headers",
    "extra_body",
    "data_sources",
    "preset",
    "litellm_params",
    "model_list",
    "mock_response",
    "service_tier",
    "web_search_options",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_region_name",
    "aws_bedrock_runtime_endpoint",
    "azure_ad_token",
    "azure_endpoint",
    "vertex_credentials",
    "vertex_project",
    "vertex_location",
    "default_headers",
    "default_query",
    "endpoint",
    "deployment_id",
    "organization",
    "project",
    "api_version",
    "api_type",
    "proxy",
    "proxies",
    "timeout",
    "num_retries",
    "caching",
    "cache",
    "router_settings",
    "litellm_metadata",
    "metadata",
    "user",
    "store",
    "store_id",
    "session_id",
    "guardrails",
    "team_id",
    "budget_id",
    "key_alias",
    "input_cost_per_token",
    "output_cost_per_token",
    "region_name",
    "hf_model_name",
    "usage",
    "plugin_ids",
    "safety_settings",
    "webhook",
    "callback_url",
    "callbacks",
    "success_callback",
]


class TestWhatTheUpstreamSees:
    def test_our_key_and_never_the_clients(self, client, account, upstream, token):
        """K2"""
        ask(
            client,
            extra_headers={"X-Api-Key": token, "Cookie": "a=b", "X-Forwarded-For": "1.1.1.1"},
        )
        request = upstream.requests[-1]
        assert request["headers"]["Authorization"] == f"Bearer {KEY}"
        assert token not in json.dumps(request)
        assert not {"Cookie", "X-Api-Key", "X-Forwarded-For", "X-Roo-Task-Id"} & set(
            request["headers"]
        )

    @pytest.mark.parametrize("field", ROUTING_FIELDS)
    def test_no_field_that_could_choose_a_host_a_key_or_a_price(
        self, live_url, offered, token, account, upstream, field
    ):
        """K2"""
        ask_raw(
            live_url,
            token,
            "fake/plain",
            **{field: {"order": ["evil"]}, "reasoning": {"enabled": False}},
        )
        body = upstream.requests[-1]["body"]
        assert field not in body
        assert body["reasoning"] == {"enabled": False}
        assert body["model"] == "plain"

    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ({}, {"max_tokens": 100}),
            ({"max_tokens": 7}, {"max_tokens": 7}),
            ({"max_completion_tokens": 9}, {"max_tokens": 9}),
            ({"max_tokens": 1, "max_completion_tokens": 50}, {"max_tokens": 50}),
            ({"max_tokens": 5000}, {"max_tokens": 100}),
        ],
    )
    def test_exactly_the_limit_that_the_hold_is_for(self, client, account, upstream, asked, sent):
        """C3: nobody chooses a price cap by naming two limits, or none."""
        ask(client, **asked)
        body = upstream.requests[-1]["body"]
        assert {k: v for k, v in body.items() if k.startswith("max_")} == sent

    def test_the_limit_under_the_name_that_it_knows(self, client, account, upstream, offered):
        offered.output_limit = "max_completion_tokens"
        offered.save()
        ask(client, max_tokens=7)
        body = upstream.requests[-1]["body"]
        assert (body["max_completion_tokens"], "max_tokens" in body) == (7, False)

    def test_a_stream_always_asks_for_usage(self, client, account, upstream):
        list(ask(client, stream=True))
        assert upstream.requests[-1]["body"]["stream_options"] == {"include_usage": True}

    def test_what_it_refuses_is_dropped(self, client, account, upstream, offered):
        """Trap 33."""
        offered.dropped_parameters = ["temperature", "stream_options"]
        offered.save()
        list(ask(client, temperature=0, top_p=1, stream=True))
        body = upstream.requests[-1]["body"]
        assert not {"temperature", "stream_options"} & body.keys()
        assert body["top_p"] == 1

    def test_the_key_of_another_row_does_not_open(self, client, account, offered):
        """I2"""
        other = actions.put_upstream(
            name="other", base_url=offered.base_url, api_key="sk-2", by=None, at=timezone.now()
        )
        offered.sealed_api_key = other.sealed_api_key
        offered.save()
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client)
        assert refused.value.status_code == 502
        assert "sk-2" not in refused.value.response.text


BAD_BODIES = [
    (b"", None), (b"{", None), (b"[]", None), (b"\xff", None), (b"[" * 100_000, None),
    (b"{}", "model"), (b'{"model": 5}', "model"), (b'{"model": ""}', "model"),
    (b'{"model": "m"}', "messages"), (b'{"model": "m", "messages": []}', "messages"),
    (b'{"model": "m", "messages": [5]}', "messages[0]"),
    (b'{"model": "m", "messages": [{}]}', "messages[0]"),
    (b'{"model": "m", "messages": [{"role": "user"}], "max_tokens": -1}', "max_tokens"),
    (b'{"model": "m", "messages": [{"role": "user"}], "max_tokens": 1e99}', "max_tokens"),
    (b'{"model": "m", "messages": [{"role": "user"}], "n": 999}', "n"),
    (b'{"model": "m", "messages": [{"role": "user"}], "stream": "yes"}', "stream"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BAD_BODIES)
async def test_bad_bodies_get_a_400_that_names_the_field(live_url, token, body, field):
    """F5"""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{live_url}/proxy/v1/chat/completions",
            data=body,
            headers={"Authorization": f"Bearer {token}"},
        ) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"].get("param") == field


async def test_only_post_is_served_and_every_spelling_of_the_path(
    live_url, offered, account, token
):
    """Trap 29."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"model": "fake/plain", "messages": MESSAGES}
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in (
            "/proxy/chat/completions",
            "/proxy//v1/chat/completions",
            "/proxy/v1//v1/chat/completions",
        ):
            async with session.post(live_url + path, json=body) as answer:
                assert answer.status == 200, path
        async with session.get(f"{live_url}/proxy/v1/chat/completions") as answer:
            assert answer.status == 405


async def test_a_body_beyond_the_limit_is_413(live_url, token, settings):
    """F5: whether or not its length is announced."""
    settings.ROOCLOUD_COMPLETION_BODY_LIMIT = 10_000

    async def chunks():
        for _ in range(20):
            yield b"x" * 1000

    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in (b"x" * 10_001, chunks()):
            async with session.post(f"{live_url}/proxy/v1/chat/completions", data=body) as answer:
                assert answer.status == 413
                assert (await answer.json())["error"]["code"] == "too_large"


async def test_many_at_once_on_little_credit_never_overspend(live_url, offered, account, token):
    """C3: through the whole server."""
    worst = (300 + 1024) * 3000 + 100 * 15000  # about; the hold of one small request
    await sync_to_async(spend)(account, USD - 5 * worst)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"model": "fake/plain", "messages": MESSAGES, "max_tokens": 100}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def one() -> int:
            async with session.post(f"{live_url}/proxy/v1/chat/completions", json=body) as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(one() for _ in range(40)))

    assert set(statuses) == {200, 402}
    await sync_to_async(all_settled)()
    balance = (await sync_to_async(Account.unscoped.get)(pk=account.pk)).balance_nanos
    assert balance >= 0
    assert balance == 5 * worst - statuses.count(200) * COST_NANOS
    assert await sync_to_async(books.mismatches)() == []


def test_an_alias_is_the_model(client, account):
    """Trap 34."""
    model = LanguageModel.unscoped.get(model_id="fake/plain")
    actions.put_alias(alias="anthropic/claude-opus-4.6", model=model)
    assert ask(client, "anthropic/claude-opus-4.6").choices
    assert settled(account).model_id == "fake/plain"


def test_orphans_pay_what_they_had_used(client, account):
    """C4: a process that died leaves a hold and what it last noted; the sweep settles both, once."""
    list(ask(client, stream=True))
    row = settled(account)
    at = timezone.now()
    (hold,) = credit.place_holds([credit.HoldRequest(account.pk, 1000)], at=at)
    Completion.unscoped.create(
        id="dead", user_id=row.user_id, model_id="m", upstream_name="u", hold=hold, is_stream=True,
        started_at=at - timedelta(hours=1), saved_at=at, cost_nanos=400,
    )  # fmt: skip
    later = at + admission.ORPHANED_AFTER + timedelta(seconds=1)

    assert admission.settle_orphans(at=at) == 0, "it gave a sign of life just now"
    assert [admission.settle_orphans(at=later), admission.settle_orphans(at=later)] == [1, 0]

    assert not Hold.unscoped.open().exists()
    account.refresh_from_db()
    assert account.balance_nanos == USD - COST_NANOS - 400
    assert Completion.unscoped.get(pk="dead").status == "orphaned"
