"""Which upstream answers, and what happens when one does not."""

import asyncio
import itertools
from collections import Counter
from dataclasses import replace

import openai
import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from credits import actions as credit
from proxy import actions, dialects, upstreams
from proxy.catalogue import Way
from proxy.models import Completion, Route, Upstream
from proxy.routing import OPEN_S, OPENS_AFTER, Breaker, in_order
from proxy.upstream_errors import UpstreamRefused
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.proxy.test_completions import all_settled, ask

WAY = Way(
    upstream_id="a", upstream="a", organization_id=None, kind="openai",
    base_url="https://a.example", api_key="k",
    model="m", priority=0, weight=1, output_limit="max_tokens", dropped=(), extra=(),
    first_byte_timeout_s=1, idle_timeout_s=1,
)  # fmt: skip


def way(name: str, **facts) -> Way:
    return replace(WAY, upstream_id=name, upstream=name, **facts)


class TestTheOrder:
    def test_is_by_priority(self):
        ways = [way("b", priority=2), way("c", priority=1), way("a", priority=3)]
        assert [w.upstream for w in in_order(ways, key="t")] == ["c", "b", "a"]

    def test_of_equals_is_drawn_by_weight_and_kept_by_task(self):
        """PX6: a task stays where its prompt is cached."""
        ways = [way("a", weight=3), way("b", weight=1)]
        first = Counter(in_order(ways, key=f"task-{n}")[0].upstream for n in range(2000))
        assert 1350 < first["a"] < 1650
        assert len({in_order(ways, key="task-1")[0].upstream for _ in range(20)}) == 1
        assert in_order(ways, key="task-1") == in_order(ways[::-1], key="task-1")


class TestTheBreaker:
    def test_opens_after_failures_in_a_row_and_probes_once(self):
        breaker = Breaker()
        for _ in range(OPENS_AFTER - 1):
            breaker.failed("a", now=0)
        breaker.succeeded("a")
        for _ in range(OPENS_AFTER):
            assert not breaker.is_open("a", now=1)
            breaker.failed("a", now=1)
        assert breaker.is_open("a", now=OPEN_S)

        assert not breaker.is_open("a", now=OPEN_S + 1), "half-open: a probe may go out"
        breaker.begin("a", now=OPEN_S + 1)
        assert breaker.is_open("a", now=OPEN_S + 2), "and others wait for it"
        breaker.failed("a", now=OPEN_S + 3)
        assert breaker.is_open("a", now=2 * OPEN_S)
        breaker.begin("a", now=3 * OPEN_S)
        breaker.succeeded("a")
        assert not breaker.is_open("a", now=3 * OPEN_S)


EVENT = b'data: {"choices": [{"delta": {"content": "A"}}]}\n\n'
ERROR = b'data: {"error": {"message": "Overloaded", "code": 529}}\n\n'


class Arriving:
    """A response whose bytes come in parts."""

    def __init__(self, stream: bytes, cuts) -> None:
        edges = [0, *sorted(set(cuts) & set(range(1, len(stream)))), len(stream)]
        self._parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
        self.content, self.headers = self, {}

    async def readany(self) -> bytes:
        return self._parts.pop(0) if self._parts else b""


async def begun(stream: bytes, cuts) -> bytes:
    """The bytes that pass of a stream, or its refusal."""
    response, translator = Arriving(stream, cuts), dialects.of(WAY).stream(created=7)
    passing = await upstreams._head(WAY, response, translator)
    while data := await response.readany():
        passing += translator.feed(data)
    return passing


class TestTheFirstEvent:
    @given(st.lists(st.integers(1, 300), max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_is_awaited_however_the_stream_was_cut_and_changes_nothing(self, cuts):
        """F4"""
        for whole in (
            EVENT * 3,
            b": hi\n\n\r\n" + EVENT + ERROR,
            EVENT.strip(),
            b"data:" * 9 + EVENT,
        ):
            assert asyncio.run(begun(whole, cuts)) == whole
        for failed in (ERROR + EVENT, b": hi\n\ndata:\n\n" + ERROR, ERROR.strip()):
            with pytest.raises(UpstreamRefused, match="Overloaded"):
                asyncio.run(begun(failed, cuts))

    def test_is_not_waited_for_without_end(self):
        endless = b": hi\n" * 2**18
        assert asyncio.run(begun(endless + ERROR, range(0, 2**22, 2**16))) == endless + ERROR


@pytest.fixture(scope="module")
def second():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def client(live_url, transactional_db, second, alice):
    """``m/<what>`` is tried at a first upstream, which does what is named, then at a good one."""
    at = timezone.now()
    first = actions.put_upstream(name="first", base_url=second.url, api_key=KEY, by=None, at=at)
    good = actions.put_upstream(name="good", base_url=second.url, api_key=KEY, by=None, at=at)
    second.requests.clear()
    for what in (
        "status-500", "status-429", "status-401", "status-400", "plain", "breaks", "refuses-529",
        "refuses-429", "refuses-rate_limit_exceeded", "refuses-oddly", "refuses-400", "hollow",
        "unstreamed", "fails", "refuses-400-too-many-tokens", "hangs",
    ):  # fmt: skip
        for upstream, name in ((first, what), (good, "plain")):
            actions.put_model(
                model_id=f"m/{what}", upstream=upstream, upstream_model=name,
                price=actions.NewPrice(3 * USD, 15 * USD), facts=actions.ModelFacts(max_tokens=100),
                by=None, at=at,
            )  # fmt: skip
    Route.unscoped.filter(upstream=good).update(priority=1)
    account = credit.account_of(user_id=alice.pk, organization_id=None, at=at)
    credit.grant(account=account, amount_nanos=USD, key="g", by=None, at=at, note="")
    token = factories.job_token(alice)
    return openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=token, max_retries=0)


@pytest.mark.django_db(transaction=True)
class TestFallback:
    @pytest.mark.parametrize("what", ["status-500", "status-429", "status-401"])
    @pytest.mark.parametrize("stream", [False, True])
    def test_another_upstream_answers_before_the_first_byte(self, client, what, stream):
        """PX2"""
        answer = ask(client, f"m/{what}", stream=stream)
        text = (
            "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
            if stream
            else answer.choices[0].message.content
        )
        assert text == "Hello from the fake upstream."
        all_settled()
        row = Completion.unscoped.get()
        assert (row.upstream_name, row.status) == ("good", "done")
        assert [attempt["upstream"] for attempt in row.attempts] == ["first"]

    @pytest.mark.parametrize(
        ("what", "error", "stream"),
        [
            ("refuses-529", "upstream_failed", True),
            ("refuses-529", "upstream_failed", False),
            ("refuses-429", "rate_limit_exceeded", True),
            ("refuses-rate_limit_exceeded", "rate_limit_exceeded", True),
            ("refuses-rate_limit_exceeded", "rate_limit_exceeded", False),
            ("refuses-oddly", "upstream_failed", True),
            ("refuses-oddly", "upstream_failed", False),
            ("hollow", "upstream_failed", True),
            ("unstreamed", "upstream_failed", True),
        ],
    )
    def test_an_error_under_200_is_no_answer(self, client, what, error, stream):
        """PX2: nothing of it has gone to the client."""
        answer = ask(client, f"m/{what}", stream=stream)
        text = (
            "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
            if stream
            else answer.choices[0].message.content
        )
        assert text == "Hello from the fake upstream."
        all_settled()
        row = Completion.unscoped.get()
        assert (row.upstream_name, row.status) == ("good", "done")
        assert row.attempts == [{"upstream": "first", "error": error}]

    @pytest.mark.parametrize(
        ("what", "status", "code"),
        [
            ("refuses-400", 400, "upstream_refused"),
            ("refuses-400-too-many-tokens", 400, "context_length_exceeded"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_an_error_of_the_callers_under_200_has_its_status(
        self, client, second, what, status, code, stream
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, f"m/{what}", stream=stream)
        assert (refused.value.status_code, refused.value.body["code"]) == (status, code)
        assert len(second.requests) == 1
        all_settled()
        assert Completion.unscoped.get().cost_nanos == 0

    def test_an_upstream_whose_streams_begin_with_errors_is_left_alone(self, client, second):
        for _ in range(OPENS_AFTER):
            list(ask(client, "m/refuses-529", stream=True))
        asked = len(second.requests)
        list(ask(client, "m/refuses-529", stream=True))
        assert len(second.requests) == asked + 1
        all_settled()

    def test_an_error_after_the_first_event_is_the_clients_to_see(self, client, second):
        with pytest.raises(openai.APIError, match="overloaded"):
            list(ask(client, "m/fails", stream=True))
        assert len(second.requests) == 1

    def test_what_the_caller_did_wrong_is_not_tried_elsewhere(self, client, second):
        with pytest.raises(openai.BadRequestError):
            ask(client, "m/status-400")
        assert len(second.requests) == 1

    def test_never_after_the_first_byte(self, client, second):
        with pytest.raises(openai.APIError, match="broke off"):
            list(ask(client, "m/breaks", stream=True))
        assert len(second.requests) == 1

    def test_an_upstream_that_cannot_be_reached_is_passed_over(self, client):
        row = Upstream.unscoped.get(name="first")
        row.base_url = "http://127.0.0.1:9/v1"
        row.set_api_key(KEY)
        row.save()
        answer = client.chat.completions.with_raw_response.create(
            model="m/plain", messages=[{"role": "user", "content": "Hello"}]
        )
        assert answer.headers["x-roocloud-upstream"] == "good"

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_upstream_that_says_nothing_in_time_is_passed_over(self, client, stream):
        """PX2"""
        Upstream.unscoped.filter(name="first").update(first_byte_timeout_s=1)
        answer = ask(client, "m/hangs", stream=stream)
        if stream:
            list(answer)
        all_settled()
        row = Completion.unscoped.get()
        assert (row.upstream_name, row.status) == ("good", "done")
        assert row.attempts == [{"upstream": "first", "error": "upstream_timeout"}]

    def test_a_failing_upstream_is_left_alone_for_a_while(self, client, second):
        for _ in range(OPENS_AFTER):
            ask(client, "m/status-500")
        asked = len(second.requests)
        ask(client, "m/status-500")
        assert len(second.requests) == asked + 1
        all_settled()
