"""The admin's pages of an upstream: what it lists (PX8), and whether it works."""

import html
import re

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from audit.models import Entry
from credits.models import Hold
from proxy import actions, probe
from proxy.models import Completion, LanguageModel, Price, Route, Upstream
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.lister import KEY, FakeLister, fake_lister


@pytest.fixture
def fake():
    with fake_lister() as lister:
        yield lister


@pytest.fixture
def upstream(db, fake) -> Upstream:
    return actions.put_upstream(
        name="main", base_url=fake.url, api_key=KEY, by=None, at=timezone.now()
    )


@pytest.fixture
def root(db):
    return factories.user("root@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def cockpit(client, root):
    client.force_login(root)
    return client


def address(upstream, page: str) -> str:
    return f"/admin/proxy/upstream/{upstream.pk.replace('_', '_5F')}/{page}/"


def text_of(answer) -> str:
    """What a person reads, on one line."""
    assert answer.status_code == 200
    bare = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare))


def form_of(answer) -> dict[str, str]:
    """The fields of the page's own form, unchosen ones left out."""
    page = answer.content.decode().partition('class="listing__rows"')[2]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page):
        found = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if found.get("type") != "checkbox" or re.search(r"\schecked", tag):
            fields[found["name"]] = html.unescape(found.get("value", ""))
    return fields


PRICED = {"id": "acme/priced", "context_length": 32000,
          "pricing": {"prompt": "0.000003", "completion": "0.000015"}}  # fmt: skip
BARE = {"id": "bare", "max_model_len": 8192}


class TestItsModels:
    def test_are_shown_beside_what_is_offered_and_taken_when_chosen(self, cockpit, upstream, fake):
        fake.models = {"data": [PRICED, BARE]}
        path = address(upstream, "models")
        page = cockpit.get(path)
        said = text_of(page)
        assert "acme/priced new" in said
        assert "main/bare new No price is known: give one to offer it." in said
        assert not LanguageModel.unscoped.exists()

        fields = form_of(page)
        assert (fields["input-0"], fields["output-0"], fields["input-1"]) == ("3", "15", "")
        done = cockpit.post(path, {**fields, "take-0": "take", "input-0": "$3.5"}, follow=True)
        assert "1 taken." in text_of(done)
        model = LanguageModel.unscoped.get()
        assert (model.model_id, model.context_window) == ("acme/priced", 32000)
        assert model.prices.get().given() == (3_500_000_000, 15 * USD, None, None)
        entry = Entry.objects.get(action="model.price_saved")
        assert entry.target_id == "acme/priced"
        assert entry.actor_id

        said = text_of(cockpit.get(path))
        assert "acme/priced changed Now $3.5 in, $15 out. The price changes." in said

    def test_a_row_without_a_price_is_refused_and_keeps_what_was_typed(
        self, cockpit, upstream, fake
    ):
        fake.models = {"data": [PRICED, BARE]}
        path = address(upstream, "models")
        fields = form_of(cockpit.get(path))
        for typed, named in (
            ({"output-1": "7.25"}, "Give bare a price, or 0 if it is free: Input is empty."),
            ({"input-1": "much", "output-1": "7.25"}, "bare, Input: 'much' is not an amount"),
            ({"input-1": "-1", "output-1": "7.25"}, "a price is from 0 to 100,000 USD"),
        ):
            sent = {**fields, "take-0": "take", "take-1": "take", **typed}
            answer = cockpit.post(path, sent)
            assert named in text_of(answer)
            again = form_of(answer)
            assert (again["output-1"], again["take-1"]) == ("7.25", "take")
        assert not LanguageModel.unscoped.exists(), "all or nothing"
        assert "Choose a model first" in text_of(cockpit.post(path, fields))

    def test_of_other_kinds_have_prices_of_their_own(self, cockpit, upstream, fake, client):
        embed = {"id": "acme/embed", "pricing": {"prompt": "0.00000002", "completion": "0"}}
        fake.models = {"data": [embed, {"id": "acme/flux", "type": "image"}]}
        path = address(upstream, "models")
        page = cockpit.get(path)
        said, fields = text_of(page), form_of(page)
        assert "acme/embed Embedding new" in said
        assert "acme/flux Image new No price is known" in said
        prices = {name for name in fields if not name.startswith(("listed", "csrf"))}
        assert prices == {"input-0", "image-1", "input-1", "output-1", "cache_read-1"}

        chosen = {**fields, "take-0": "take", "take-1": "take"}
        assert "Give acme/flux a price" in text_of(cockpit.post(path, chosen))
        cockpit.post(path, {**chosen, "image-1": "0.04"})
        found = {model.model_id: model for model in LanguageModel.unscoped.all()}
        assert {key: model.kind for key, model in found.items()} == {
            "acme/embed": "embedding", "acme/flux": "image",
        }  # fmt: skip
        assert found["acme/flux"].prices.get().image_nanos == USD // 25
        assert found["acme/embed"].prices.get().given() == (USD // 50, 0, None, None)
        assert "Nothing is new or changed" in text_of(cockpit.get(path))
        assert client.get("/proxy/v1/models").json()["data"] == [], "trap 28"

    def test_0_is_a_price(self, cockpit, upstream, fake, client):
        fake.models = {"data": [BARE]}
        path = address(upstream, "models")
        fields = form_of(cockpit.get(path))
        cockpit.post(path, {**fields, "take-0": "take", "input-0": "0", "output-0": "0"})
        [entry] = client.get("/proxy/v1/models").json()["data"]
        assert (entry["id"], entry["pricing"]["input"]) == ("main/bare", "0")

    def test_all_that_have_a_price_are_chosen_by_a_link(self, cockpit, upstream, fake):
        fake.models = {"data": [PRICED, BARE]}
        path = address(upstream, "models")
        link = re.search(r'href="(\?chosen=all)"', cockpit.get(path).content.decode())[1]
        fields = form_of(cockpit.get(path + link))
        assert [name for name in fields if name.startswith("take-")] == ["take-0"]

    def test_what_is_gone_is_closed_when_chosen(self, cockpit, upstream, fake):
        actions.put_model(
            model_id="main/old", upstream=upstream, upstream_model="old", price=actions.NewPrice(1, 1),
            facts=actions.ModelFacts(), by=None, at=timezone.now(),
        )  # fmt: skip
        path = address(upstream, "models")
        fake.models = {"data": [BARE]}
        page = cockpit.get(path)
        assert "main/old gone: close its route" in text_of(page)
        number = re.search(r'name="take-(\d)"\s+value="close"', page.content.decode())[1]
        cockpit.post(path, {**form_of(page), f"take-{number}": "close"})
        assert Route.unscoped.get().enabled is False
        assert Entry.objects.filter(action="model.route_closed", target_id="main/old").count() == 1

    def test_a_long_list_has_pages_and_a_search(self, cockpit, upstream, fake):
        fake.models = {"data": [{**PRICED, "id": f"acme/m{n:03d}"} for n in range(120)]}
        path = address(upstream, "models")
        first = cockpit.get(path)
        assert "Page 1 of 3" in text_of(first)
        assert len([name for name in form_of(first) if name.startswith("listed-")]) == 50
        assert "acme/m100" in text_of(cockpit.get(f"{path}?p=3"))
        found = form_of(cockpit.get(f"{path}?q=M11*"))
        assert found == {}, "patterns know case"
        found = form_of(cockpit.get(f"{path}?q=m11"))
        assert len([name for name in found if name.startswith("listed-")]) == 10

    def test_the_seed_stands_in_for_an_upstream_that_does_not_tell(self, cockpit, upstream, fake):
        fake.models_status = 503
        path = address(upstream, "models")
        said = text_of(cockpit.get(path))
        assert "main did not tell what it has. It answered 503" in said
        assert "Nothing is known of its provider either." in said

    @pytest.mark.parametrize(
        "record", ["", "[]", '{"id": ""}', '{"id": "m", "price": {"input": -1, "output": 1}}',
                   '{"id": "m", "settings": {"typo": 1}}', '{"id": "m", "context_window": 0}']
    )  # fmt: skip
    def test_a_form_that_is_not_ours_changes_nothing(self, cockpit, upstream, record):
        fields = {"take-0": "take", "listed-0": record, "input-0": "1", "output-0": "1"}
        assert cockpit.post(address(upstream, "models"), fields).status_code == 200
        assert not LanguageModel.unscoped.exists()
        assert not Price.unscoped.exists()


class TestWhoMay:
    """A2"""

    @pytest.mark.parametrize(
        ("held", "models", "test"),
        [
            ([], 403, 403), (["view_upstream"], 403, 403), (["change_upstream"], 403, 200),
            (["change_upstream", "add_languagemodel", "change_languagemodel"], 200, 200),
        ],
    )  # fmt: skip
    def test_needs_the_permissions(self, client, upstream, held, models, test):
        staff = factories.user("staff@example.com", is_staff=True)
        staff.user_permissions.set(Permission.objects.filter(codename__in=held))
        client.force_login(staff)
        for page, status in (("models", models), ("test", test)):
            for method in (client.get, client.post):
                assert method(address(upstream, page)).status_code == status
        if "change_upstream" in held:
            said = text_of(client.get(address(upstream, "change")))
            assert ("Models of this upstream" in said) == (models == 200)
            assert "Test this upstream" in said

    def test_nobody_else_gets_in(self, client, upstream, alice):
        client.force_login(alice)
        for page in ("models", "test"):
            assert client.post(address(upstream, page)).status_code == 302
        assert not Entry.objects.filter(action="upstream.tested").exists()

    def test_an_unknown_upstream_is_not_found(self, cockpit, db):
        for page in ("models", "test"):
            assert cockpit.get(f"/admin/proxy/upstream/up_5Fnone/{page}/").status_code == 404


class TestTheTest:
    def test_says_how_far_it_went(self, cockpit, upstream):
        said = text_of(cockpit.post(address(upstream, "test")))
        assert "It works." in said
        assert "127.0.0.1 may be connected to" in said
        assert "The key is accepted." in said
        assert "It lists 1 models." in said
        assert re.search(r"answered without encryption after \d+ ms", said)
        entry = Entry.objects.get(action="upstream.tested")
        assert entry.after == {
            "model": "", "Address": "good", "Connection": "good", "Key": "good", "Models": "good",
            "Completion": "open",
        }  # fmt: skip

    def test_only_a_post_asks(self, cockpit, upstream, fake):
        assert "with its key" in text_of(cockpit.get(address(upstream, "test")))
        assert fake.asked == []

    def test_completes_one_token_without_charging_anybody(self, cockpit, upstream, fake):
        upstream.output_limit = "max_completion_tokens"
        upstream.save()
        said = text_of(cockpit.post(address(upstream, "test"), {"model": "plain"}))
        assert re.search(r"plain answered after \d+ ms", said)
        assert fake.asked[-1] == (
            "/v1/chat/completions",
            {"model": "plain", "messages": [{"role": "user", "content": "Hi"}],
             "max_completion_tokens": 1},
        )  # fmt: skip
        assert not Completion.unscoped.exists()
        assert not Hold.unscoped.exists()


def test_anthropics_own_api_is_asked_in_its_words(upstream, fake):
    upstream.kind, upstream.base_url = "anthropic", fake.url.removesuffix("/v1")
    upstream.set_api_key(KEY)
    upstream.save()
    fake.models = {"data": [{"type": "model", "id": "claude-opus-4-6", "display_name": "Opus"}]}
    fake.completion = {"type": "message", "content": [{"type": "text", "text": "H"}]}
    found = steps(upstream, model="claude-opus-4-6")
    assert {state for state, _ in found.values()} == {"good"}
    assert fake.asked == [
        ("/v1/models", None),
        (
            "/v1/messages",
            {"model": "claude-opus-4-6", "max_tokens": 1, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}]},
        ),
    ]  # fmt: skip


def steps(upstream, **more) -> dict[str, tuple[str, str]]:
    return {step.name: (step.state, step.said) for step in probe.examine(upstream, **more).steps}


def moved(upstream, base_url: str, key: str = KEY) -> Upstream:
    upstream.base_url = base_url
    upstream.set_api_key(key)
    upstream.save()
    return upstream


class TestWhatIsWrong:
    """Each fault is named at its step, with what to do; what comes after is open."""

    def test_a_wrong_key(self, upstream, fake):
        found = steps(moved(upstream, fake.url, "sk-wrong"), model="plain")
        assert found["Connection"][0] == "good"
        assert found["Key"] == ("bad", "The key is not accepted. Give the upstream another one.")
        assert found["Completion"] == ("open", "Not tried.")
        assert KEY not in str(found)
        assert len(fake.asked) == 1

    def test_a_key_that_cannot_be_read(self, upstream, fake):
        Upstream.unscoped.update(sealed_api_key="nonsense")
        upstream.refresh_from_db()
        found = steps(upstream)
        assert found["Key"][0] == "bad"
        assert "cannot read the stored key" in found["Key"][1]
        assert found["Address"][0] == "open"
        assert fake.asked == []

    def test_a_refused_address(self, upstream, settings):
        """K1"""
        settings.ROOCLOUD_INTERNAL_NETWORKS = []
        for host in ("127.0.0.1", "localhost", "169.254.169.254"):
            state, said = steps(moved(upstream, f"http://{host}/v1"))["Address"]
            assert state == "bad"
            assert "ROOCLOUD_INTERNAL_NETWORKS" in said
        assert steps(upstream)["Connection"] == ("open", "Not tried.")

    def test_a_name_that_nobody_has(self, upstream):
        state, said = steps(moved(upstream, "http://no-such-host.invalid/v1"))["Address"]
        assert (state, said) == (
            "bad", "No address is known for no-such-host.invalid. Check how it is written.",
        )  # fmt: skip

    def test_nothing_listens(self, upstream):
        found = steps(moved(upstream, "http://127.0.0.1:9/v1"))
        assert found["Connection"] == (
            "bad", "Nothing answers at 127.0.0.1:9. Does the server run there?",
        )  # fmt: skip
        assert found["Address"][0] == "good"

    def test_tls_where_there_is_none(self, upstream, fake):
        state, said = steps(moved(upstream, fake.url.replace("http:", "https:")))["Connection"]
        assert state == "bad"
        assert "does not speak TLS" in said

    @pytest.mark.parametrize(
        ("status", "body", "headers", "step", "words"),
        [
            (404, b"", {}, "Models", "There is no list of models"),
            (301, b"", {"Location": "https://new.example/v1"}, "Connection", "https://new.example/v1"),
            (429, b"", {}, "Models", "limits the rate"), (503, b"", {}, "Models", "It answered 503"),
            (200, b"<html>", {}, "Models", "no list of models"), (200, b"{}", {}, "Models", "Check the path"),
        ],
    )  # fmt: skip
    def test_an_odd_answer(self, upstream, fake, status, body, headers, step, words):
        fake.models_status, fake.models, fake.headers = status, body, headers
        state, said = steps(upstream)[step]
        assert state == "bad"
        assert words in said

    def test_an_endless_list(self, upstream, fake):
        fake.models = b'{"data": [' + b" " * 2**23 + b"]}"
        assert steps(upstream)["Models"][0] == "bad"

    def test_one_without_a_list_may_complete_all_the_same(self, upstream, fake):
        fake.models_status, fake.models = 404, b""
        found = steps(upstream, model="plain")
        assert (found["Models"][0], found["Completion"][0]) == ("bad", "good")

    @pytest.mark.parametrize(
        ("status", "body", "words"),
        [
            (404, {"error": {"message": f"no model for {KEY}"}}, "plain refused: no model for …"),
            (400, {"error": {"message": "maximum context length is 1"}}, "maximum context length"),
            (500, {}, "failed: status 500"), (200, {"choices": []}, "something else than a completion"),
            (200, b"\xff", "something else than a completion"),
        ],
    )  # fmt: skip
    def test_a_completion_that_fails(self, upstream, fake, status, body, words):
        fake.completion_status, fake.completion = status, body
        state, said = steps(upstream, model="plain")["Completion"]
        assert state == "bad"
        assert words in said
        assert KEY not in said

    def test_a_model_that_is_none(self, upstream, fake):
        """F5"""
        state, said = steps(upstream, model="m" * 201)["Completion"]
        assert (state, said) == ("bad", "model: must be the id of a model")
        assert len(fake.asked) == 1

    def test_a_key_that_the_list_does_not_ask_for(self, upstream, fake: FakeLister):
        fake.completion_status = 401
        found = steps(upstream, model="plain")
        assert found["Key"][0] == "bad"
        assert found["Completion"][0] == "open"
