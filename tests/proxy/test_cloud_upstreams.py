"""Claude at Amazon and at Google through the real server, with the client library of editors."""

import asyncio
import base64
import json
import logging
import socket
import sys

import openai
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from google.auth.exceptions import RefreshError

from proxy import access, actions, google_tokens, probe
from proxy.models import Route, Upstream
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes import anthropic as claude
from tests.fakes import clouds
from tests.fakes.upstream import KEY as OPENAI_KEY
from tests.fakes.upstream import WORDS, fake_upstream
from tests.proxy.test_anthropic_upstream import ASK, COST_NANOS, PRICE, TOOL, ask, text
from tests.proxy.test_completions import settled

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = [
    "claude-text", "claude-thinking-tools", "claude-refusing", "claude-overflowing",
    "claude-overloaded", "claude-truncated", *(f"claude-status-{s}" for s in (400, 403, 429, 503)),
]  # fmt: skip


@pytest.fixture(scope="module")
def bedrock():
    with clouds.fake_bedrock() as running:
        yield running


@pytest.fixture(scope="module")
def vertex():
    with clouds.fake_vertex() as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, bedrock, vertex):
    """Amazon's names resolve to loopback, and no token is known."""
    known = socket.getaddrinfo

    def resolve(host, *rest, **more):
        return known("127.0.0.1" if host == clouds.HOST else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    google_tokens._accounts.clear()
    bedrock.requests.clear()
    bedrock.refused = vertex.refused = 0
    vertex.reset()


def put(kind: str, base_url: str, key: str, name="claude") -> Upstream:
    return actions.put_upstream(
        name=name, kind=kind, base_url=base_url, api_key=key, by=None, at=timezone.now()
    )


@pytest.fixture(params=["signed", "temporary", "api-key", "vertex"])
def cloud(request, transactional_db, bedrock, vertex):
    """What a model is completed at."""
    if request.param == "vertex":
        row, fake = put("vertex", vertex.base_url, vertex.service_account()), vertex
    else:
        keys = {
            "signed": clouds.KEYS, "temporary": clouds.SESSION_KEYS, "api-key": clouds.API_KEY,
        }  # fmt: skip
        row, fake = put("bedrock", bedrock.url, keys[request.param]), bedrock
    return offer(row, fake)


@pytest.fixture
def google(transactional_db, vertex):
    return offer(put("vertex", vertex.base_url, vertex.service_account()), vertex)


def offer(row, fake):
    factories.models(
        row, MODELS, prefix="anthropic", price=PRICE, max_tokens=8000, context_window=200_000
    )
    return fake


@pytest.fixture
def account(alice):
    return factories.account(alice, dollars=9)


@pytest.fixture
def client(live_url, alice):
    token = factories.job_token(alice)
    return openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=token, max_retries=0)


class TestWhatTheClientGets:
    def test_is_a_stream_that_costs_what_its_classes_of_tokens_cost(self, client, account, cloud):
        chunks = list(ask(client, stream=True))
        assert text(chunks) == claude.TEXT
        usage = chunks[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 50)
        assert usage.prompt_tokens_details.cached_tokens == 700
        row = settled(account)
        assert (row.status, row.cost_nanos, row.is_estimated) == ("done", COST_NANOS, False)
        assert (row.cache_read_tokens, row.cache_write_tokens) == (700, 200)
        assert cloud.requests[-1]["headers"]["Accept"] == cloud.stream_type

    def test_is_a_whole_answer_at_the_same_cost(self, client, account, cloud):
        """C5"""
        answer = ask(client)
        assert answer.choices[0].message.content == claude.TEXT
        assert answer.usage.cost == pytest.approx(COST_NANOS / USD)
        assert settled(account).cost_nanos == COST_NANOS

    def test_thinks_calls_tools_and_goes_on_with_what_it_thought(self, client, account, cloud):
        stream = ask(
            client, "thinking-tools", tools=[TOOL], stream=True,
            extra_body={"reasoning": {"enabled": True, "effort": "high"}},
        )  # fmt: skip
        calls = [
            c for chunk in stream if chunk.choices for c in chunk.choices[0].delta.tool_calls or ()
        ]
        assert [call.id for call in calls if call.id] == ["toolu_01", "toolu_02"]
        message = ask(client, "thinking-tools", tools=[TOOL]).choices[0].message
        assert message.reasoning == claude.THOUGHT
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "x"} for call in message.tool_calls
        ]
        answered = message.model_dump(exclude_none=True)
        list(ask(client, "thinking-tools", [ASK, answered, *results], stream=True, tools=[TOOL]))
        turns = cloud.requests[-1]["body"]["messages"]
        assert turns[1]["content"] == claude.content("claude-thinking-tools")
        assert turns[2]["content"][-1]["cache_control"] == {"type": "ephemeral"}

    def test_shows_it_images_of_any_size(self, client, account, cloud):
        """Rewritten, and signed, beside the event loop."""
        pixels = base64.b64encode(bytes(3_000_000)).decode()
        url = {"url": f"data:image/png;base64,{pixels}"}
        ask(
            client,
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": url}]}],
        )
        image = cloud.requests[-1]["body"]["messages"][0]["content"][0]
        assert image["source"] == {"type": "base64", "media_type": "image/png", "data": pixels}

    def test_asks_only_where_and_what_is_configured(self, client, account, cloud):
        """K2"""
        ask(
            client, user="me", extra_headers={"X-Amz-Security-Token": "mine", "anthropic-beta": "x"},
            extra_body={"anthropic_version": "x", "region": "us-east-1", "project": "other"},
        )  # fmt: skip
        request = cloud.requests[-1]
        assert request["model"] == "claude-text"
        assert request["headers"].get("X-Amz-Security-Token") != "mine"
        assert "anthropic-beta" not in request["headers"]
        assert set(request["body"]) == {"anthropic_version", "max_tokens", "messages"}
        assert cloud.refused == 0

    def test_leaves_no_secret_in_the_logs(self, client, account, cloud, caplog):
        """I1: also where everything is logged."""
        caplog.set_level(logging.DEBUG)
        list(ask(client, stream=True))
        written = caplog.text
        assert written
        for secret in (clouds.SECRET_KEY, clouds.SESSION, clouds.API_KEY, "ya29.", "PRIVATE KEY"):
            assert secret not in written


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("refusing", "rate_limit_exceeded"), ("status-429", "rate_limit_exceeded"),
            ("status-403", "upstream_auth_failed"), ("status-503", "upstream_failed"),
        ],
    )  # fmt: skip
    def test_another_upstream_takes_over_before_the_first_byte(
        self, client, account, cloud, name, error
    ):
        """PX2"""
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
            assert text(ask(client, name, stream=True)) == "".join(WORDS)
            row = settled(account)
        assert row.upstream_name == "other"
        assert row.attempts == [{"upstream": "claude", "error": error}]

    def test_a_conversation_that_is_too_long_has_the_words_that_the_client_knows(
        self, client, account, cloud
    ):
        """Also where they come in a stream: the client shortens the conversation at these words."""
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            ask(client, "overflowing", stream=True)
        assert settled(account).cost_nanos == 0

    @pytest.mark.parametrize("name", ["overloaded", "truncated"])
    def test_an_answer_that_breaks_off_is_an_error_event_and_not_free(
        self, client, account, cloud, name
    ):
        """C5"""
        with pytest.raises(openai.APIError, match=r"Slow down|Too many tokens|ended before"):
            list(ask(client, name, stream=True))
        row = settled(account)
        assert (row.status, row.is_estimated) == ("failed", True)
        assert row.cost_nanos > 0

    def test_a_key_that_is_not_accepted_is_502_and_not_shown(self, client, account, bedrock):
        """I1, and E1: whoever asked learns whom to tell."""
        offer(put("bedrock", bedrock.url, f"AKIAANOTHERONE12:{clouds.SECRET_KEY}"), bedrock)
        for stream in (True, False):
            with pytest.raises(openai.APIStatusError) as refused:
                ask(client, stream=stream)
            assert refused.value.body["code"] == "upstream_auth_failed"
            assert "AKIA" not in refused.value.response.text
        assert bedrock.refused == 2

    def test_a_library_that_is_not_installed_is_named_to_administrators(
        self, client, account, cloud, monkeypatch
    ):
        for module in ("botocore.auth", "google.oauth2.service_account"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(openai.APIStatusError, match="lacks what the upstream claude needs"):
            ask(client)
        assert cloud.requests == []
        report = probe.examine(Upstream.unscoped.get(name="claude"), model="claude-text")
        [key] = [step for step in report.steps if step.name == "Key"]
        assert key.state == "bad"
        assert "requirements-extras.txt" in key.said


class TestAGoogleToken:
    def test_serves_until_shortly_before_its_end(self, client, account, google, vertex):
        for _ in range(3):
            ask(client)
        assert vertex.tokens == 1
        vertex.reset()
        google_tokens._accounts.clear()
        vertex.expires_in = 120  # less than google-auth wants to be left
        for _ in range(3):
            ask(client)
        assert vertex.tokens == 3
        assert vertex.refused == 0

    def test_is_asked_for_once_by_many(self, vertex):
        vertex.token_delay_s = 0.2

        async def many():
            key = vertex.service_account()
            return await asyncio.gather(*(google_tokens.access_token(key) for _ in range(50)))

        assert len(set(asyncio.run(many()))) == 1
        assert vertex.tokens == 1

    def test_is_had_by_the_others_if_the_first_to_ask_goes(self, vertex):
        vertex.token_delay_s = 0.2

        async def two() -> str:
            key = vertex.service_account()
            first = asyncio.create_task(google_tokens.access_token(key))
            second = asyncio.create_task(google_tokens.access_token(key))
            await asyncio.sleep(0.05)
            first.cancel()
            return await second

        assert asyncio.run(two()) in vertex.valid
        assert vertex.tokens == 1

    def test_is_waited_for_beside_the_event_loop(self, vertex):
        vertex.token_delay_s = 0.2
        turns = 0

        async def busy() -> None:
            nonlocal turns
            token = asyncio.create_task(google_tokens.access_token(vertex.service_account()))
            while not token.done():
                await asyncio.sleep(0)
                turns += 1
            await token

        asyncio.run(busy())
        assert turns > 100

    def test_is_used_to_its_end_while_no_other_can_be_had(self, vertex):
        key = vertex.service_account()
        vertex.expires_in = 120
        first = asyncio.run(google_tokens.access_token(key))
        vertex.token_status = 403
        assert asyncio.run(google_tokens.access_token(key)) == first
        vertex.token_status, vertex.expires_in = 200, -1
        asyncio.run(google_tokens.access_token(key))
        vertex.token_status = 403
        with pytest.raises(RefreshError):
            asyncio.run(google_tokens.access_token(key))

    @pytest.mark.parametrize("stream", [False, True])
    def test_that_was_revoked_is_replaced_once(self, client, account, google, vertex, stream):
        ask(client)
        vertex.valid.clear()
        answer = ask(client, stream=stream)
        assert (text(answer) if stream else answer.choices[0].message.content) == claude.TEXT
        assert (vertex.tokens, vertex.refused) == (2, 1)

    def test_that_is_never_accepted_is_not_asked_for_again_and_again(
        self, client, account, google, vertex, monkeypatch
    ):
        monkeypatch.setattr(vertex, "is_allowed", lambda *_: False)
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client)
        assert refused.value.body["code"] == "upstream_auth_failed"
        assert "ya29" not in refused.value.response.text
        assert (vertex.tokens, vertex.refused) == (2, 2)

    @pytest.mark.parametrize(
        ("token_status", "code"), [(400, "upstream_auth_failed"), (503, "upstream_failed")]
    )
    def test_that_is_refused_is_the_upstreams_failure(
        self, client, account, google, vertex, monkeypatch, token_status, code
    ):
        monkeypatch.setattr("google.auth._exponential_backoff._DEFAULT_INITIAL_INTERVAL_SECONDS", 0)
        vertex.token_status = token_status
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client)
        assert (refused.value.status_code, refused.value.body["code"]) == (502, code)
        assert vertex.requests == []
        assert settled(account).cost_nanos == 0

    def test_is_only_asked_for_where_this_server_connects_to(self, vertex, settings):
        """K1"""
        settings.ROOCLOUD_INTERNAL_NETWORKS = []
        row = put("vertex", vertex.base_url, vertex.service_account())
        found = secret_of(row)
        assert isinstance(found, access.NoAccess)
        assert "not allowed" in found.reason
        assert vertex.tokens == 0


def secret_of(row: Upstream):
    from proxy import dialects

    async def secret():
        return await access.secret_for(dialects.of(row), row.api_key(), upstream=row.name)

    try:
        return asyncio.run(secret())
    except access.NoAccess as fault:
        return fault


class TestTheTest:
    def steps(self, row, **more) -> dict[str, tuple[str, str]]:
        report = probe.examine(row, **more)
        return {step.name: (step.state, step.said) for step in report.steps}

    def test_completes_a_token(self, cloud):
        found = self.steps(Upstream.unscoped.get(), model="claude-text")
        assert [state for state, _ in found.values()] == ["good", "good", "good", "open", "good"]
        assert cloud.requests[-1]["body"]["max_tokens"] == 1

    def test_says_what_is_open_without_a_model(self, cloud):
        report = probe.examine(Upstream.unscoped.get())
        assert [step.state for step in report.steps] == ["good", "good", "open", "open", "open"]
        assert (report.is_good, report.proves_key) == (True, False)
        assert cloud.requests == [], "nobody is charged"

    def test_names_a_key_that_amazon_refuses(self, bedrock):
        row = put("bedrock", bedrock.url, f"{clouds.ACCESS_KEY}:{'x' * 40}")
        assert self.steps(row, model="claude-text")["Key"][0] == "bad"

    def test_names_a_key_that_google_refuses(self, vertex):
        vertex.token_status = 400
        row = put("vertex", vertex.base_url, vertex.service_account())
        state, said = self.steps(row, model="claude-text")["Key"]
        assert state == "bad"
        assert "invalid_grant: Invalid JWT Signature" in said
        assert "PRIVATE" not in said

    def test_is_a_page(self, cloud, client_of_staff):
        row = Upstream.unscoped.get()
        path = f"/admin/proxy/upstream/{row.pk.replace('_', '_5F')}/test/"
        assert "lists no models" in client_of_staff.get(path).content.decode()
        assert "Name a model to see whether it works" in client_of_staff.post(path).content.decode()
        said = client_of_staff.post(path, {"model": "claude-text"}).content.decode()
        assert "It works." in said

    def test_has_no_list_of_models(self, cloud, client_of_staff):
        row = Upstream.unscoped.get()
        path = f"/admin/proxy/upstream/{row.pk.replace('_', '_5F')}/models/"
        assert "It does not list its models" in client_of_staff.get(path).content.decode()


@pytest.fixture
def client_of_staff(db):
    from django.test import Client

    browser = Client()
    browser.force_login(factories.user("root@example.com", is_staff=True, is_superuser=True))
    return browser


AWS = "https://bedrock-runtime.us-east-1.amazonaws.com"
GOOGLE = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5"
BAD = [
    ("bedrock", AWS, "AKIAIOSFODNN7EXAMPLE", "api_key"),
    ("bedrock", AWS, "AKIAIOSFODNN7EXAMPLE:short", "api_key"),
    ("bedrock", AWS, f"ASIAIOSFODNN7EXAMPLE:{clouds.SECRET_KEY}", "api_key"),
    ("bedrock", AWS, f"{clouds.KEYS}:{clouds.SESSION}", "api_key"),
    ("bedrock", AWS, f"{clouds.KEYS} ", "api_key"),
    ("bedrock", AWS, "short", "api_key"),
    ("bedrock", AWS, "with spaces in the middle", "api_key"),
    ("bedrock", "https://bedrock.example.com", clouds.KEYS, "base_url"),
    ("bedrock", "https://bedrock.us-east-1.amazonaws.com", clouds.KEYS, "base_url"),
    ("vertex", "https://us-east5-aiplatform.googleapis.com", "ACCOUNT", "base_url"),
    ("vertex", f"{GOOGLE}/publishers/anthropic", "ACCOUNT", "base_url"),
    ("vertex", GOOGLE, "AIzaSyA-a-plain-key", "api_key"),
    ("vertex", GOOGLE, "{}", "api_key"),
    ("vertex", GOOGLE, '{"type": "authorized_user"}', "api_key"),
    ("vertex", GOOGLE, "NO PEM", "api_key"),
    ("vertex", GOOGLE, "NO URL", "api_key"),
]


def key_of(named: str, vertex) -> str:
    made = {
        "ACCOUNT": {}, "NO PEM": {"private_key": "x"}, "NO URL": {"token_uri": "file:///etc/passwd"},
    }  # fmt: skip
    return vertex.service_account(**made[named]) if named in made else named


class TestWhatAnAdministratorGives:
    @pytest.mark.parametrize(("kind", "base_url", "key", "field"), BAD)
    def test_is_checked_by_the_command(self, db, vertex, kind, base_url, key, field):
        with pytest.raises(CommandError, match=f"^{field}: "):
            call_command(
                "create_upstream", "c", kind=kind, base_url=base_url, api_key=key_of(key, vertex)
            )
        assert not Upstream.unscoped.exists()

    @pytest.mark.parametrize(("kind", "base_url", "key", "field"), [BAD[2], BAD[7], *BAD[9:12]])
    def test_is_checked_by_the_form(self, client_of_staff, vertex, kind, base_url, key, field):
        given = {**FORM, "kind": kind, "base_url": base_url, "api_key": key_of(key, vertex)}
        answer = client_of_staff.post("/admin/proxy/upstream/add/", given)
        assert list(answer.context["adminform"].form.errors) == [field]
        assert not Upstream.unscoped.exists()

    def test_is_stored_sealed(self, client_of_staff, vertex):
        """I2"""
        key = vertex.service_account()
        given = {**FORM, "kind": "vertex", "base_url": GOOGLE, "api_key": key}
        answer = client_of_staff.post("/admin/proxy/upstream/add/", given)
        assert answer.status_code == 302
        row = Upstream.unscoped.get()
        assert json.loads(row.api_key()) == json.loads(key)
        path = f"/admin/proxy/upstream/{row.pk.replace('_', '_5F')}/change/"
        assert "PRIVATE" not in client_of_staff.get(path).content.decode()

    def test_includes_the_key_again_for_another_kind(self, client_of_staff):
        """K2: the secret half of a pair never goes out as a bearer's key."""
        row = put("bedrock", AWS, clouds.KEYS)
        path = f"/admin/proxy/upstream/{row.pk.replace('_', '_5F')}/change/"
        answer = client_of_staff.post(path, {**FORM, "kind": "openai", "base_url": AWS})
        assert list(answer.context["adminform"].form.errors) == ["api_key"]
        row.refresh_from_db()
        assert row.kind == "bedrock"


FORM = {
    "name": "claude", "enabled": "on", "output_limit": "max_tokens", "dropped_parameters": "[]",
    "extra_parameters": "[]", "first_byte_timeout_s": "300", "idle_timeout_s": "300",
}  # fmt: skip
