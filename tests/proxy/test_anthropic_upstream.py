"""A Claude upstream through the real server, with the client library that editors use."""

import base64
import json

import openai
import pytest
from django.utils import timezone

from proxy import actions
from proxy.models import Route, Upstream
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes import anthropic as fake
from tests.fakes.upstream import KEY as OPENAI_KEY
from tests.fakes.upstream import WORDS, fake_upstream
from tests.proxy.test_completions import settled

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = actions.NewPrice(3 * USD, 15 * USD, cache_read=3 * USD // 10, cache_write=15 * USD // 4)
COST_NANOS = 100 * 3000 + 700 * 300 + 200 * 3750 + 50 * 15000
MODELS = [
    "claude-text", "claude-thinking-tools", "claude-endless", "claude-overloaded",
    "claude-truncated", "claude-garbled", "claude-refusing", *(f"claude-status-{s}" for s in (400, 401, 429, 529)),
]  # fmt: skip
TOOL = {"type": "function", "function": {"name": "read_file", "strict": True,
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}}  # fmt: skip


@pytest.fixture(scope="module")
def claude():
    with fake.fake_anthropic() as running:
        yield running


@pytest.fixture
def offered(transactional_db, claude):
    claude.requests.clear()
    claude.cut.clear()
    at = timezone.now()
    row = actions.put_upstream(
        name="claude", kind="anthropic", base_url=claude.url, api_key=fake.KEY, by=None, at=at
    )
    factories.models(
        row, MODELS, prefix="anthropic", price=PRICE, max_tokens=8000, context_window=200_000
    )
    return row


@pytest.fixture
def account(alice):
    return factories.account(alice, dollars=9)


@pytest.fixture
def client(live_url, offered, alice):
    token = factories.job_token(alice)
    return openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=token, max_retries=0)


ASK = {"role": "user", "content": "Read a file."}


def ask(client, name="text", messages=(ASK,), **more):
    return client.chat.completions.create(
        model=f"anthropic/claude-{name}", messages=list(messages), **more
    )


def text(chunks) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


class TestWhatTheClientGets:
    def test_is_a_stream_that_costs_what_its_classes_of_tokens_cost(self, client, account):
        chunks = list(ask(client, stream=True))

        assert text(chunks) == fake.TEXT
        assert all(chunk.choices is not None for chunk in chunks)
        usage = chunks[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 50)
        assert usage.prompt_tokens_details.cached_tokens == 700
        assert usage.cache_creation_input_tokens == 200
        assert usage.cost == pytest.approx(COST_NANOS / USD)
        row = settled(account)
        assert (row.status, row.cost_nanos, row.is_estimated) == ("done", COST_NANOS, False)
        assert (row.prompt_tokens, row.cache_read_tokens, row.cache_write_tokens) == (
            1000, 700, 200,
        )  # fmt: skip
        assert account.balance_nanos == 9 * USD - COST_NANOS

    def test_is_a_whole_answer_at_the_same_cost(self, client, account):
        answer = ask(client)
        assert answer.choices[0].message.content == fake.TEXT
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.cost == pytest.approx(COST_NANOS / USD)
        assert settled(account).cost_nanos == COST_NANOS

    def test_thinks_calls_tools_and_goes_on_with_what_it_thought(self, client, account, claude):
        """The whole round of an editor's turn."""
        whole = ask(
            client, "thinking-tools", tools=[TOOL], tool_choice="auto", temperature=0,
            extra_body={"reasoning": {"enabled": True, "effort": "high"}},
        )  # fmt: skip
        message = whole.choices[0].message
        assert whole.choices[0].finish_reason == "tool_calls"
        assert message.reasoning == fake.THOUGHT
        assert json.loads(message.tool_calls[0].function.arguments) == fake.INPUT
        sent = claude.requests[-1]["body"]
        assert sent["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert "temperature" not in sent

        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "x"} for call in message.tool_calls
        ]
        answered = message.model_dump(exclude_none=True)
        list(ask(client, "thinking-tools", [ASK, answered, *results], stream=True, tools=[TOOL]))

        turns = claude.requests[-1]["body"]["messages"]
        assert turns[1]["content"] == fake.content("claude-thinking-tools")
        assert [block["tool_use_id"] for block in turns[2]["content"]] == ["toolu_01", "toolu_02"]

    def test_shows_it_images(self, client, account, claude):
        pixels = base64.b64encode(bytes(300_000)).decode()
        url = {"url": f"data:image/png;base64,{pixels}"}
        parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": url}]
        ask(client, messages=[{"role": "user", "content": parts}])
        image = claude.requests[-1]["body"]["messages"][0]["content"][1]
        assert image["source"] == {"type": "base64", "media_type": "image/png", "data": pixels}

    def test_names_its_key_and_version_and_not_the_client(self, client, account, claude):
        """K2"""
        ask(client, extra_headers={"X-Api-Key": "sk-mine", "anthropic-beta": "x"}, user="me")
        request = claude.requests[-1]
        headers = {name.lower(): value for name, value in request["headers"].items()}
        assert headers["x-api-key"] == fake.KEY
        assert headers["anthropic-version"] == "2023-06-01"
        assert not {"authorization", "anthropic-beta"} & set(headers)
        assert not {"metadata", "user"} & set(request["body"])


class TestWhatGoesWrong:
    def test_who_hangs_up_pays_for_the_input_by_class_and_for_what_was_produced(
        self, client, account, claude
    ):
        """C5"""
        stream = ask(client, "endless", stream=True)
        for _ in zip(range(20), stream, strict=False):
            pass
        stream.close()

        row = settled(account)
        assert claude.cut.wait(5)
        assert (row.status, row.is_estimated) == ("cut", True)
        assert (row.prompt_tokens, row.cache_read_tokens, row.cache_write_tokens) == (
            1000, 700, 200,
        )  # fmt: skip
        assert row.completion_tokens > 2
        assert 0 < row.cost_nanos < COST_NANOS

    @pytest.mark.parametrize("name", ["overloaded", "truncated"])
    def test_an_answer_that_breaks_off_is_an_error_event_and_not_free(self, client, account, name):
        """C5"""
        with pytest.raises(openai.APIError, match=r"Overloaded|ended before"):
            list(ask(client, name, stream=True))
        row = settled(account)
        assert (row.status, row.is_estimated) == ("failed", True)
        assert row.cost_nanos > 0

    @pytest.mark.parametrize(
        ("upstream_status", "status", "code"),
        [
            (400, 400, "context_length_exceeded"), (401, 502, "upstream_auth_failed"),
            (429, 429, "rate_limit_exceeded"), (529, 502, "upstream_failed"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("stream", [False, True])
    def test_its_refusals_are_translated_and_free(
        self, client, account, upstream_status, status, code, stream
    ):
        """I1; trap 32: the client shortens the conversation at these words."""
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client, f"status-{upstream_status}", stream=stream)
        assert (refused.value.status_code, refused.value.body["code"]) == (status, code)
        assert fake.KEY not in refused.value.response.text
        if upstream_status == 400:
            assert "maximum context length" in refused.value.body["message"]
        if upstream_status == 429:
            assert refused.value.response.headers["retry-after"] == "7"
        assert settled(account).cost_nanos == 0

    def test_an_answer_that_is_none_is_502(self, client, account):
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client, "garbled")
        assert refused.value.status_code == 502
        assert settled(account).cost_nanos == 0

    def test_what_it_cannot_be_asked_is_400_and_free(self, client, account, claude):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, n=2)
        assert refused.value.body["param"] == "n"
        assert claude.requests == []
        assert settled(account).cost_nanos == 0

    @pytest.mark.parametrize(
        ("name", "stream"), [("status-529", False), ("status-529", True), ("refusing", True)]
    )
    def test_an_openai_upstream_takes_over_before_the_first_byte(
        self, client, account, name, stream
    ):
        """PX2: whatever each of them speaks."""
        with fake_upstream() as other:
            at = timezone.now()
            row = actions.put_upstream(
                name="other", base_url=other.url, api_key=OPENAI_KEY, by=None, at=at
            )
            actions.put_model(
                model_id=f"anthropic/claude-{name}", upstream=row, upstream_model="plain",
                price=None, facts=actions.ModelFacts(), by=None, at=at,
            )  # fmt: skip
            Route.unscoped.filter(upstream=row).update(priority=1)
            answer = ask(client, name, stream=stream)
            found = text(answer) if stream else answer.choices[0].message.content
            assert found == "".join(WORDS)
            row = settled(account)
        assert row.upstream_name == "other"
        assert [attempt["upstream"] for attempt in row.attempts] == ["claude"]


def test_a_body_of_ten_megabytes_arrives(client, account, claude):
    """Rewritten beside the event loop."""
    said = "word " * 2_000_000
    ask(client, messages=[{"role": "user", "content": said}])
    assert claude.requests[-1]["body"]["messages"][0]["content"][0]["text"] == said


def test_an_upstream_keeps_its_kind_when_its_key_is_changed(offered, claude):
    at = timezone.now()
    actions.put_upstream(name="claude", base_url=claude.url, api_key="sk-2", by=None, at=at)
    row = Upstream.unscoped.get(name="claude")
    assert (row.kind, row.api_key()) == ("anthropic", "sk-2")
