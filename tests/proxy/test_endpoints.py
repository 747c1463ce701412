"""Embeddings and images through the real server: one pipeline for every route (PX7)."""

import asyncio
import base64
import json

import aiohttp
import openai
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from credits.models import Account, Hold
from proxy import actions, calls
from proxy.models import LanguageModel
from roocloud.asgi import asgi_urlpatterns
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import InvalidInput
from tests import factories
from tests.fakes.upstream import IMAGE, KEY, fake_upstream
from tests.proxy.test_completions import MESSAGES, all_settled, settled
from tests.proxy.test_keys import make

pytestmark = pytest.mark.django_db(transaction=True)

Kind = LanguageModel.Kind
CENT = USD // 100
#: By kind: models of the fake, and their price.
TOKENS = actions.NewPrice(3 * USD, 15 * USD)
EACH = actions.NewPrice(0, 0, image=4 * CENT)
MODELS = {
    "plain": (Kind.LANGUAGE, TOKENS),
    "embed": (Kind.EMBEDDING, actions.NewPrice(USD, 0)),
    "embed-silent": (Kind.EMBEDDING, actions.NewPrice(USD, 0)),
    "flux": (Kind.IMAGE, EACH),
    "flux-counted": (Kind.IMAGE, EACH),
    "inline": (Kind.IMAGE, EACH),
    "link-png": (Kind.IMAGE, EACH),
    "link-webp": (Kind.IMAGE, EACH),
    "link-html": (Kind.IMAGE, EACH),
    "link-away": (Kind.IMAGE, EACH),
    "link-huge": (Kind.IMAGE, EACH),
    "webp": (Kind.IMAGE, EACH),
    "tokens-counted": (Kind.IMAGE, actions.NewPrice(5 * USD, 40 * USD, image=4 * CENT)),
    "tokens": (Kind.IMAGE, actions.NewPrice(5 * USD, 40 * USD)),
    "chat": (Kind.IMAGE, TOKENS),
    "chat-silent": (Kind.IMAGE, EACH),
}
#: The least that each plain ASGI route takes, and a model that answers it.
LEAST = {
    "proxy/v1/chat/completions": {"model": "fake/plain", "messages": MESSAGES},
    "proxy/v1/embeddings": {"model": "fake/embed", "input": "Hello"},
    "proxy/v1/images/generations": {"model": "fake/flux", "prompt": "A kangaroo"},
}
#: Plain routes that complete nothing.
OTHERS = {"task/<str:task_id>/live", "api/extension-settings", "socket.io/"}
ROUTES = sorted({str(pattern.pattern) for pattern in asgi_urlpatterns} - OTHERS)


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def offered(transactional_db, upstream):
    upstream.requests.clear()
    upstream.link = ""
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    for name, (kind, price) in MODELS.items():
        actions.put_model(
            model_id=f"fake/{name}", upstream=row, upstream_model=name, price=price,
            facts=actions.ModelFacts(kind=kind, max_tokens=4000, context_window=2000),
            by=None, at=at,
        )  # fmt: skip
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


@pytest.fixture
def post(live_url, offered, token):
    """As the editor sends it: (status, document)."""
    headers = {
        "Authorization": f"Bearer {token}",
        "HTTP-Referer": "https://github.com/RooVetGit/Roo-Code",
        "X-Title": "Roo Code",
    }

    async def ask(path, body):
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{live_url}/{path.lstrip('/')}", json=body) as answer,
        ):
            return answer.status, json.loads(await answer.read())

    return lambda path, body: asyncio.run(ask(path, body))


class TestNoRouteSpendsWithoutAHold:
    """PX7. A new route must say in LEAST what it takes."""

    @pytest.mark.parametrize("path", ROUTES)
    def test_without_credit_the_upstream_is_not_asked(self, post, upstream, path, alice):
        status, answer = post(path, LEAST[path])
        assert (status, answer["error"]["code"]) == (402, "insufficient_credits")
        assert upstream.requests == []

    @pytest.mark.parametrize("path", ROUTES)
    def test_with_credit_it_is_held_first_and_settled_once(self, post, account, upstream, path):
        assert post(path, LEAST[path])[0] == 200
        row = settled(account)
        hold = Hold.unscoped.get()
        assert (row.hold_id, len(upstream.requests)) == (hold.pk, 1)
        assert 0 < row.cost_nanos <= hold.amount_nanos
        assert account.balance_nanos == USD - row.cost_nanos

    def test_only_the_plain_routes_and_the_list_are_under_proxy(self):
        assert set(ROUTES) == set(LEAST) == {f"proxy/v1/{e.path}" for e in calls.ENDPOINTS}


class TestEveryRoute:
    @pytest.mark.parametrize("path", ROUTES)
    def test_is_found_in_every_spelling(self, post, account, path):
        """Trap 29."""
        rest = path.removeprefix("proxy/v1/")
        for spelled in (f"proxy/{rest}", f"proxy//v1/{rest}", f"proxy/v1//v1/{rest}"):
            assert post(spelled, LEAST[path])[0] == 200, spelled

    @pytest.mark.parametrize("path", ROUTES)
    def test_finds_only_models_of_its_kind(self, post, account, upstream, path):
        for other in set(LEAST) - {path}:
            status, answer = post(path, {**LEAST[path], "model": LEAST[other]["model"]})
            assert (status, answer["error"]["code"]) == (404, "model_not_found")
        assert upstream.requests == []

    @pytest.mark.parametrize("path", ROUTES)
    def test_knows_aliases(self, post, account, upstream, path):
        model = LanguageModel.unscoped.get(model_id=LEAST[path]["model"])
        actions.put_alias(alias="other/name", model=model)
        assert post(path, {**LEAST[path], "model": "other/name"})[0] == 200
        assert settled(account).model_id == model.model_id

    @pytest.mark.parametrize("path", ROUTES)
    def test_refuses_strangers_and_large_bodies(self, live_url, post, account, path, settings):
        stranger = openai.OpenAI(base_url=live_url, api_key="unauthenticated", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            stranger.post(f"/{path}", body=LEAST[path], cast_to=dict)
        settings.ROOCLOUD_COMPLETION_BODY_LIMIT = 10
        assert post(path, LEAST[path])[0] == 413

    def test_another_kind_of_upstream_is_passed_over(self, post, account, upstream):
        at = timezone.now()
        other = actions.put_upstream(
            name="claude", base_url=upstream.url, api_key=KEY, kind="anthropic", by=None, at=at
        )
        model = LanguageModel.unscoped.get(model_id="fake/embed")
        model.routes.update(priority=1)
        model.routes.create(upstream=other, upstream_model="m")
        assert post("proxy/v1/embeddings", LEAST["proxy/v1/embeddings"])[0] == 200
        row = settled(account)
        assert row.upstream_name == "fake"
        assert row.attempts == [{"upstream": "claude", "error": "upstream_failed"}]

    def test_only_language_models_are_listed(self, client):
        """Trap 28: one entry of another kind empties the editor's list."""
        assert [model.id for model in client.models.list()] == ["fake/plain"]


class TestEmbeddings:
    def test_come_back_as_they_are_and_cost_their_input(self, client, account, upstream):
        answer = client.embeddings.create(model="fake/embed", input=["Hello", "World"])
        assert [one.embedding for one in answer.data] == [[1.0, 2.0]] * 2
        row = settled(account)
        assert (row.prompt_tokens, row.completion_tokens, row.is_estimated) == (8, 0, False)
        assert row.cost_nanos == 8 * USD // 10**6
        sent = upstream.requests[0]["body"]
        assert sent == {"model": "embed", "input": ["Hello", "World"], "encoding_format": "base64"}

    def test_are_counted_where_the_upstream_does_not(self, post, account):
        body = {"model": "fake/embed-silent", "input": [[1, 2, 3], [4, 5]], "dimensions": 2}
        assert post("proxy/v1/embeddings", body)[0] == 200
        row = settled(account)
        assert (row.prompt_tokens, row.is_estimated) == (5, True)

    def test_the_hold_covers_every_input_to_the_models_window(self):
        """C3: each input has the window to itself."""
        body = {"model": "m", "input": ["x" * 5000] * 10}
        call = calls.read_embeddings(json.dumps(body).encode())
        assert call.prompt_tokens_bound(2000) == 20_000

    @pytest.mark.parametrize(
        ("field", "value"),
        [("input", None), ("input", []), ("input", ""), ("input", {}), ("input", ["a", 1]),
         ("input", [[1], "a"]), ("encoding_format", "hex"), ("dimensions", 0)],
    )  # fmt: skip
    def test_refuse_what_is_none_by_its_field(self, field, value):
        with pytest.raises(InvalidInput) as refused:
            calls.read_embeddings(json.dumps({"model": "m", "input": "a", field: value}).encode())
        assert refused.value.field == field


class TestImages:
    PATH = "proxy/v1/images/generations"

    def test_cost_by_the_piece(self, client, account, upstream):
        answer = client.images.generate(
            model="fake/flux", prompt="A kangaroo", n=2, size="1024x1024", output_format="png",
            extra_body={"user": "me", "providerOptions": {"gateway": {"order": ["x"]}}},
        )  # fmt: skip
        assert [one.b64_json for one in answer.data] == [IMAGE] * 2
        row = settled(account)
        assert (row.cost_nanos, row.images, row.held_nanos) == (8 * CENT, 2, 8 * CENT)
        assert upstream.requests[0]["body"] == {
            "model": "flux", "prompt": "A kangaroo", "n": 2, "size": "1024x1024",
            "output_format": "png",
        }  # fmt: skip

    def test_as_the_editor_asks_black_forest_labs(self, post, account, upstream):
        """K2: nothing else of the options passes."""
        image = f"data:image/png;base64,{IMAGE}"
        flux = {"outputFormat": "png", "inputImage": image}
        body = {
            "model": "fake/flux", "prompt": "Greener", "n": 1,
            "providerOptions": {"blackForestLabs": {**flux, "webhookUrl": "x"}, "gateway": {}},
        }  # fmt: skip
        status, answer = post(self.PATH, body)
        assert (status, answer["data"]) == (200, [{"b64_json": IMAGE}])
        sent = upstream.requests[0]["body"]
        assert sent["providerOptions"] == {"blackForestLabs": flux}

    def test_are_tokens_where_those_are_reported_and_priced(self, post, account):
        body = {"model": "fake/tokens-counted", "prompt": "A kangaroo"}
        assert post(self.PATH, body)[0] == 200
        row = settled(account)
        assert (row.prompt_tokens, row.completion_tokens, row.images) == (10, 1000, 0)
        assert row.cost_nanos == (10 * 5 + 1000 * 40) * USD // 10**6

    def test_reported_tokens_without_a_price_do_not_make_them_free(self, post, account):
        assert post(self.PATH, {"model": "fake/flux-counted", "prompt": "A"})[0] == 200
        assert settled(account).cost_nanos == 4 * CENT

    def test_without_a_report_or_a_price_of_their_own_are_estimated(self, post, account):
        """C5"""
        assert post(self.PATH, {"model": "fake/tokens", "prompt": "A kangaroo"})[0] == 200
        row = settled(account)
        assert (row.is_estimated, row.completion_tokens) == (True, 1500)

    def test_a_data_url_passes(self, post, account):
        _, answer = post(self.PATH, {"model": "fake/inline", "prompt": "A"})
        assert answer["data"] == [{"url": f"data:image/png;base64,{IMAGE}"}]

    def test_a_link_becomes_the_image(self, post, account):
        status, answer = post(self.PATH, {"model": "fake/link-png", "prompt": "A", "n": 2})
        assert (status, answer["data"]) == (200, [{"b64_json": IMAGE}] * 2)

    @pytest.mark.parametrize("link", ["link-html", "link-away", "link-huge"])
    def test_what_cannot_be_fetched_is_paid_for_and_told(self, post, account, link):
        """The provider charges what it made."""
        status, answer = post(self.PATH, {"model": f"fake/{link}", "prompt": "A"})
        assert (status, answer["error"]["code"]) == (502, "upstream_failed")
        row = settled(account)
        assert (row.status, row.cost_nanos) == ("failed", 4 * CENT)

    @pytest.mark.parametrize(
        "link",
        ["http://127.0.0.1:9/x.png", "https://[::1]:9/x.png", "https://169.254.169.254/x.png",
         "https://u:p@example.com/x.png", "file:///etc/passwd", "https://[/"],
    )  # fmt: skip
    def test_a_link_to_elsewhere_inside_is_not_followed(self, post, account, upstream, link):
        """K1"""
        upstream.link = link
        status, answer = post(self.PATH, {"model": "fake/link-png", "prompt": "A"})
        assert (status, answer["error"]["code"]) == (502, "upstream_failed")

    def test_a_link_in_the_clear_leads_to_the_upstream_alone(self, post, account, upstream):
        upstream.link = upstream.url.replace("127.0.0.1", "localhost") + "/png"
        assert post(self.PATH, {"model": "fake/link-png", "prompt": "A"})[0] == 502

    @pytest.mark.parametrize("model", ["webp", "link-webp"])
    def test_webp_is_refused_with_a_way_out(self, post, account, model):
        status, answer = post(self.PATH, {"model": f"fake/{model}", "prompt": "A"})
        assert (status, answer["error"]["code"]) == (422, "unsupported_image")
        assert "Set output_format to png" in answer["error"]["message"]

    @pytest.mark.parametrize(
        ("field", "more"),
        [
            ("prompt", {"prompt": ""}),
            ("n", {"n": 9}),
            ("size", {"size": 1}),
            ("output_format", {"output_format": "webp"}),
            ("providerOptions", {"providerOptions": []}),
            ("providerOptions.blackForestLabs.outputFormat",
             {"providerOptions": {"blackForestLabs": {"outputFormat": "webp"}}}),
            ("providerOptions.blackForestLabs.inputImage",
             {"providerOptions": {"blackForestLabs": {"inputImage": "http://10.0.0.1/"}}}),
        ],
    )  # fmt: skip
    def test_refuse_what_is_none_by_its_field(self, field, more):
        with pytest.raises(InvalidInput) as refused:
            calls.read_images(json.dumps({"model": "m", "prompt": "a", **more}).encode())
        assert refused.value.field == field


class TestImagesByChat:
    PATH = "proxy/v1/chat/completions"

    def body(self, model, **more):
        return {"model": model, "messages": MESSAGES, "modalities": ["image", "text"], **more}

    @pytest.mark.parametrize("model", ["fake/plain", "fake/chat"])
    def test_pass_through_and_cost_the_reported_tokens(self, post, account, upstream, model):
        status, answer = post(self.PATH, self.body(model))
        image = answer["choices"][0]["message"]["images"][0]["image_url"]["url"]
        assert (status, image) == (200, f"data:image/png;base64,{IMAGE}")
        assert upstream.requests[0]["body"]["modalities"] == ["image", "text"]
        row = settled(account)
        assert (row.prompt_tokens, row.completion_tokens, row.is_estimated) == (1000, 50, False)
        assert answer["usage"]["cost"] == pytest.approx(row.cost_nanos / USD)

    def test_cost_by_the_piece_where_that_is_the_price(self, post, account):
        assert post(self.PATH, self.body("fake/chat-silent"))[0] == 200
        assert settled(account).cost_nanos == 4 * CENT

    def test_do_not_stream_from_a_model_that_makes_images(self, post, account, upstream):
        status, answer = post(self.PATH, self.body("fake/chat", stream=True))
        assert (status, answer["error"]["param"]) == (400, "stream")
        assert upstream.requests == []


def test_a_key_is_limited_to_models_of_every_kind(live_url, offered, account, alice, upstream):
    """MO9: it may be given those that editors do not list, and none else on any route."""
    made = make(alice, model_ids=["fake/embed", "fake/inline"])
    client = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=made.secret, max_retries=0)
    client.embeddings.create(model="fake/embed", input="A")
    client.images.generate(model="fake/inline", prompt="A cat")
    asked = len(upstream.requests)
    for refused in (
        lambda: client.embeddings.create(model="fake/embed-silent", input="A"),
        lambda: client.images.generate(model="fake/tokens", prompt="A cat"),
        lambda: client.chat.completions.create(
            model="fake/plain", messages=[{"role": "user", "content": "Hello"}]
        ),
    ):
        with pytest.raises(openai.PermissionDeniedError, match="does not allow"):
            refused()
    assert len(upstream.requests) == asked
    all_settled()


def test_create_model_sets_the_kind_and_the_price_of_an_image(offered):
    def make(*more):
        call_command("create_model", "v/m", "--upstream", "fake", *more)
        return LanguageModel.unscoped.get(model_id="v/m")

    made = make("--kind", "image", "--image-price", "0.04")
    assert made.kind == Kind.IMAGE
    assert made.prices.get().image_nanos == 4 * CENT
    made = make("--input-price", "1", "--output-price", "2")  # says nothing of images
    assert (made.kind, made.prices.order_by("pk").last().image_nanos) == (Kind.IMAGE, 4 * CENT)
    with pytest.raises(CommandError, match="needed"):
        make("--input-price", "1")


def test_the_fakes_images_are_what_they_say():
    assert base64.b64decode(IMAGE).startswith(b"\x89PNG")


def test_the_page_of_a_completion_explains_what_its_images_cost(client, account, alice):
    client.images.generate(model="fake/flux", prompt="A kangaroo", n=2)
    row = settled(account)
    browser = Client()
    browser.force_login(alice)
    page = " ".join(browser.get(f"/usage/{row.pk}").content.decode().split())
    assert "2 images" in page
    assert "$0.04" in page
    assert "= $0.08" in page
