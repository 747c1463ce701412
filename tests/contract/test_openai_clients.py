"""The openai packages for Python and JavaScript against the real server and an upstream on loopback:
every shape that editors send and read (protocol/proxy.md §4 to §6), by both packages."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.utils import timezone

from credits.models import Account
from orgs import documents
from orgs.actions import current_revision, save_settings
from proxy import actions
from proxy.models import Completion, LanguageModel
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.contract.openai_clients import PACKAGES, Job, Outcome, Package, Running
from tests.fakes.upstream import IMAGE, KEY, THOUGHT, THOUGHTS, TOOL_CALLS, WORDS, fake_upstream
from tests.proxy.test_completions import COST_NANOS, PRICE, settled

pytestmark = pytest.mark.django_db(transaction=True)

STATUSES = (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503)
CHATTING = (
    "plain", "thinking", "pondering", "tools", "fails", "breaks", "endless", "unhurried",
    "recovers-429", "recovers-503", *(f"status-{status}" for status in STATUSES),
)  # fmt: skip
KINDS = {"embed": LanguageModel.Kind.EMBEDDING, "flux": LanguageModel.Kind.IMAGE}
HELLO = [{"role": "user", "content": "Hello"}]
PICTURE = f"data:image/png;base64,{IMAGE}"
#: What the editor sends beside what its openai package does; ``X-Stainless-*`` is the package's.
EDITOR = {
    "HTTP-Referer": "https://github.com/RooVetGit/Roo-Cline",
    "X-Title": "Roo Code",
    "User-Agent": "RooCode/3.52.1",
    "X-Roo-App-Version": "3.52.1",
    "X-Roo-Task-ID": "01a1fc28-e533-74cc-bdea-72d893efeccd",
}
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}
MCP_TOOL = {"type": "function", "function": {**TOOL["function"], "name": "mcp--git--log", "strict": False}}  # fmt: skip
#: The second turn of a task, with everything in it that the first one brought.
CONVERSATION = [
    {"role": "system", "content": "You are Roo."},
    {"role": "user", "content": [
        {"type": "text", "text": "What is on this picture?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]},
    {"role": "assistant", "content": "", "tool_calls": TOOL_CALLS,
     "reasoning_details": THOUGHT["reasoning_details"]},
    {"role": "tool", "tool_call_id": "call_1", "content": "(empty)"},
    {"role": "tool", "tool_call_id": "call_2", "content": "commit 1"},
    {"role": "user", "content": "Go on."},
    {"role": "user", "content": [{"type": "text", "text": "<environment_details/>"}]},
]  # fmt: skip
#: A request of a task, field by field as the editor's provider makes it.
OF_A_TASK = {
    "max_tokens": 50, "temperature": 0, "messages": CONVERSATION, "stream": True,
    "stream_options": {"include_usage": True}, "reasoning": {"enabled": True, "effort": "medium"},
    "tools": [TOOL, MCP_TOOL], "tool_choice": "auto",
}  # fmt: skip


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def offered(transactional_db, upstream):
    upstream.requests.clear()
    upstream.recovered.clear()
    upstream.cut.clear()
    upstream.answered = 0
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    limits = {"max_tokens": 100, "context_window": 2000}
    factories.models(row, CHATTING, prefix="fake", price=PRICE, **limits)
    for name, kind in KINDS.items():
        price = actions.NewPrice(0, 0, image=USD // 25) if name == "flux" else PRICE
        actions.put_model(
            model_id=f"fake/{name}", upstream=row, upstream_model=name, price=price, by=None, at=at,
            facts=actions.ModelFacts(kind=kind, **limits),
        )  # fmt: skip
    return row


@pytest.fixture
def account(alice) -> Account:
    return factories.account(alice)


@pytest.fixture
def token(alice) -> str:
    return factories.job_token(alice)


@pytest.fixture(scope="module", params=PACKAGES)
def package(request) -> Iterator[Package]:
    made = PACKAGES[request.param]()
    yield made
    made.close()


@dataclass(frozen=True)
class Client:
    """One of the packages with an address and a key."""

    package: Package
    base_url: str
    key: str

    def start(self, call: str, request: Mapping[str, Any], **options: Any) -> Running:
        return self.package.start(Job(self.base_url, self.key, call, request, **options))

    def ask(self, call: str, **request: Any) -> Outcome:
        return self.start(call, request).outcome()

    def chat(self, model: str = "plain", **request: Any) -> Outcome:
        """Of one message, if no others are given."""
        return self.ask("chat", **{"model": f"fake/{model}", "messages": HELLO, **request})


@pytest.fixture
def client(package, live_url, offered, token) -> Client:
    return Client(package, f"{live_url}/proxy/v1", token)


class TestWhatIsAnswered:
    @pytest.mark.parametrize("stream", [False, True])
    def test_text_and_what_it_costs(self, client, account, stream):
        found = client.chat(stream=stream)
        assert (found.error, found.text, found.finish) == (None, "".join(WORDS), "stop")
        assert found.usage["cost"] == pytest.approx(COST_NANOS / USD)
        assert found.usage["prompt_tokens_details"]["cached_tokens"] == 400
        assert settled(account).cost_nanos == COST_NANOS

    @pytest.mark.parametrize("stream", [False, True])
    def test_reasoning_with_its_sealed_details(self, client, account, stream):
        found = client.chat("thinking", stream=stream)
        assert (found.error, found.reasoning) == (None, THOUGHT["reasoning"])
        pieces = [detail for thought in THOUGHTS for detail in thought["reasoning_details"]]
        assert found.details == (pieces if stream else THOUGHT["reasoning_details"])
        assert found.text == "".join(WORDS)

    def test_reasoning_in_the_other_field(self, client, account):
        found = client.chat("pondering", stream=True)
        assert (found.error, found.reasoning) == (None, "Let me see.")

    @pytest.mark.parametrize("stream", [False, True])
    def test_tool_calls(self, client, account, stream):
        found = client.chat("tools", stream=stream, tools=[TOOL, MCP_TOOL])
        calls = [{"id": call["id"], **call["function"]} for call in TOOL_CALLS]
        assert (found.error, found.finish, found.tool_calls) == (None, "tool_calls", calls)
        assert settled(account).cost_nanos == COST_NANOS

    def test_a_picture_by_chat(self, client, account):
        found = client.chat(modalities=["image", "text"])
        assert (found.error, found.images) == (None, [PICTURE])

    def test_a_picture_by_its_own_route(self, client, account):
        found = client.ask("images", model="fake/flux", prompt="A kangaroo", output_format="png")
        assert (found.error, found.images) == (None, [IMAGE])
        assert settled(account).cost_nanos == USD // 25

    def test_embeddings_in_either_encoding(self, client, account):
        """Unless told otherwise the packages ask for base64, and decode it."""
        for more in ({}, {"encoding_format": "float"}):
            found = client.ask("embeddings", model="fake/embed", input=["Hello", "World"], **more)
            assert (found.error, found.vectors) == (None, [[1.0, 2.0]] * 2)

    def test_the_list_of_models(self, client):
        found = client.ask("models")
        assert sorted(found.models) == sorted(f"fake/{name}" for name in CHATTING)


class TestARequestOfATask:
    def test_reaches_the_upstream_field_by_field(self, client, account, upstream):
        request = {"model": "fake/tools", **OF_A_TASK}
        found = client.start("chat", request, headers=EDITOR).outcome()
        assert (found.error, found.finish) == (None, "tool_calls")
        assert upstream.requests[-1]["body"] == {"model": "tools", **OF_A_TASK}
        assert settled(account).task_id == EDITOR["X-Roo-Task-ID"]

    def test_passes_every_reasoning_effort(self, client, account, upstream):
        efforts = [{"enabled": True, "effort": name} for name in ("none", "low", "high", "xhigh")]
        for reasoning in ({"enabled": False}, {"enabled": True}, *efforts):
            assert client.chat(**{**OF_A_TASK, "reasoning": reasoning}).text
            assert upstream.requests[-1]["body"]["reasoning"] == reasoning

    def test_helpers_send_a_message_and_no_more(self, client, account, upstream):
        """Prompt enhancement."""
        assert client.chat().text == "".join(WORDS)
        assert upstream.requests[-1]["body"] == {
            "model": "plain", "messages": HELLO, "max_tokens": 100
        }  # fmt: skip

    def test_a_picture_of_megabytes_passes(self, client, account, upstream):
        url = f"data:image/png;base64,{base64.b64encode(bytes(3 * 2**20)).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}]
        found = client.chat(messages=[{"role": "user", "content": content}])
        assert (found.error, found.text) == (None, "".join(WORDS))
        assert upstream.requests[-1]["body"]["messages"][0]["content"] == content


#: Upstream's status → what the client is told, and as which exception. 402 and 413 have none of their
#: own.
TRANSLATED = {
    400: (400, "context_length_exceeded", "BadRequestError"),
    401: (502, "upstream_auth_failed", "InternalServerError"),
    402: (502, "upstream_out_of_credit", "InternalServerError"),
    403: (502, "upstream_auth_failed", "InternalServerError"),
    404: (404, "upstream_refused", "NotFoundError"),
    408: (502, "upstream_failed", "InternalServerError"),
    413: (413, "upstream_refused", None),
    422: (422, "upstream_refused", "UnprocessableEntityError"),
    429: (429, "rate_limit_exceeded", "RateLimitError"),
    500: (502, "upstream_failed", "InternalServerError"),
    503: (502, "upstream_failed", "InternalServerError"),
}
_PLAIN = {"python": "APIStatusError", "node": "APIError"}


def told(client: Client, found: Outcome, kind: str | None) -> tuple[int, str]:
    """(status, code) of an error, which is an exception of that kind and has a message."""
    assert found.error, found
    assert found.error["kind"] == (kind or _PLAIN[client.package.name])
    assert found.error["message"]
    return found.error["status"], found.error["code"]


class TestErrors:
    @pytest.mark.parametrize("stream", [False, True])
    def test_of_an_upstream(self, client, account, stream):
        for status, (*expected, kind) in TRANSLATED.items():
            found = client.chat(f"status-{status}", stream=stream)
            assert told(client, found, kind) == tuple(expected)
        wait_for(len(TRANSLATED))
        assert set(spent(account)) == {0}

    def test_a_context_that_is_full_says_so_in_the_words_that_editors_look_for(
        self, client, account
    ):
        """Trap 32: they shorten the conversation, and ask again."""
        found = client.chat("status-400", stream=True)
        assert "maximum context length" in found.error["message"]

    def test_a_body_that_is_none_names_the_field(self, client, account):
        found = client.chat(messages=[])
        assert told(client, found, "BadRequestError")[0] == 400
        assert found.error["param"] == "messages"
        assert "at least one message" in found.error["message"]

    def test_a_token_that_is_none(self, client):
        stranger = replace(client, key="unauthenticated")
        found = stranger.chat()
        assert told(client, found, "AuthenticationError") == (401, "invalid_token")

    def test_no_credit(self, client, alice):
        assert told(client, client.chat(), None) == (402, "insufficient_credits")

    def test_a_model_that_the_organization_does_not_allow(self, client, alice, acme):
        document = documents.dump(documents.DEFAULT)
        document["allowList"] = {"allowAll": False, "providers": {"openai": {"allowAll": True}}}
        save_settings(
            organization=acme, document=document, read_version=current_revision(acme).version,
            by=factories.actor(alice, acme), at=timezone.now(),
        )  # fmt: skip
        bearer = factories.bearer(alice, acme, "job")["Authorization"]
        found = replace(client, key=bearer.removeprefix("Bearer ")).chat()
        assert told(client, found, "PermissionDeniedError") == (403, "model_not_allowed")

    def test_an_unknown_model(self, client, account):
        found = client.chat("unknown")
        assert told(client, found, "NotFoundError") == (404, "model_not_found")

    def test_a_body_that_is_too_large(self, client, account, settings):
        settings.ROOCLOUD_COMPLETION_BODY_LIMIT = 10_000
        found = client.chat(messages=[{"role": "user", "content": "x" * 20_000}])
        assert told(client, found, None) == (413, "too_large")

    def test_a_limit_of_ours(self, client, account, settings):
        none = dict.fromkeys(("requests", "tokens", "at_once"), 0)
        settings.ROOCLOUD_LIMITS = {
            **dict.fromkeys(settings.ROOCLOUD_LIMITS, none), "member": {**none, "requests": 2},
        }  # fmt: skip
        assert client.chat().text
        found = client.chat()
        assert told(client, found, "RateLimitError") == (429, "rate_limit_exceeded")
        assert int(found.error["retry_after"]) >= 1

    @pytest.mark.parametrize("model", ["fails", "breaks"])
    def test_after_the_first_byte_end_the_stream(self, client, account, model):
        found = client.chat(model, stream=True)
        assert found.error["kind"] == "APIError"
        assert settled(account).status == "failed"


class TestTryingAgain:
    """The packages do by themselves what the editor relies on (trap 32)."""

    def ask(self, client, model, **request) -> Outcome:
        body = {"model": f"fake/{model}", "messages": HELLO, **request}
        return client.start("chat", body, max_retries=2).outcome()

    @pytest.mark.parametrize("stream", [False, True])
    def test_waits_as_long_as_it_is_told_and_pays_once(self, client, account, upstream, stream):
        found = self.ask(client, "recovers-429", stream=stream)
        assert (found.error, found.text) == (None, "".join(WORDS))
        first, second = upstream.requests
        assert second["at"] - first["at"] > 0.9, "a second, by Retry-After; half of one without it"
        wait_for(2)
        assert spent(account) == [0, COST_NANOS]

    def test_follows_a_failure(self, client, account, upstream):
        assert self.ask(client, "recovers-503").text == "".join(WORDS)
        assert len(upstream.requests) == 2

    def test_does_not_follow_what_will_not_change(self, client, account, upstream):
        for count, status in enumerate((400, 404, 422), start=1):
            assert self.ask(client, f"status-{status}").error
            assert len(upstream.requests) == count


class TestLeaving:
    """C5: what was produced is paid for."""

    def test_a_stream_pays_for_what_passed_and_cuts_the_upstream(self, client, account, upstream):
        request = {"model": "fake/endless", "messages": HELLO, "stream": True}
        found = client.start("chat", request, leave_after=8).outcome()
        assert (found.error, found.chunks) == (None, 8)
        row = settled(account)
        assert upstream.cut.wait(5)
        assert (row.status, row.is_estimated) == ("cut", True)
        assert 0 < row.cost_nanos < COST_NANOS
        assert account.balance_nanos == USD - row.cost_nanos

    def test_a_whole_answer_is_paid_for_although_nobody_waits(self, client, account, upstream):
        job = client.start("chat", {"model": "fake/unhurried", "messages": HELLO})
        deadline = time.monotonic() + 10
        while not upstream.requests:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        job.abort()
        assert settled(account).cost_nanos == COST_NANOS
        assert upstream.answered == 1


async def test_a_body_that_never_ends_is_408(live_url, token, monkeypatch):
    """Which no package sends, and a network that stalls does."""
    monkeypatch.setattr("proxy.caller._BODY_PAUSE_S", 0.1)
    port = int(live_url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /proxy/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Authorization: Bearer " + token.encode() + b"\r\n"
        b'Content-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"model":'
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    error = json.loads(await reader.readexactly(length))["error"]
    writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert error["code"] == "timeout"


def wait_for(count: int) -> None:
    """Until so many completions have ended: an answer is settled a moment after its last byte."""
    deadline = time.monotonic() + 10
    while Completion.unscoped.exclude(ended_at=None).count() < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def spent(account: Account) -> list[int]:
    """Of each completion, the first one first."""
    rows = Completion.unscoped.filter(hold__account=account).order_by("started_at")
    return list(rows.values_list("cost_nanos", flat=True))
