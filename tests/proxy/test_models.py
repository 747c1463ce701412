"""The list of models and the demo (protocol/proxy.md §3)."""

import json

import openai
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import User
from audit.models import Entry
from proxy import actions, catalogue
from proxy.models import LanguageModel, Price, Upstream
from proxy.pricing import Rates
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories


def models(client, **headers) -> list[dict]:
    answer = client.get("/proxy/v1/models?include_paid=true", headers=headers)
    assert answer.status_code == 200
    return answer.json()["data"]


@pytest.fixture
def upstream(db) -> Upstream:
    return actions.put_upstream(
        name="fake",
        base_url="https://api.example.com/v1/",
        api_key="sk-1",
        by=None,
        at=timezone.now(),
    )


def make(upstream, model_id="acme/coder", **facts):
    return actions.put_model(
        model_id=model_id, upstream=upstream, upstream_model="plain",
        price=actions.NewPrice(3 * USD, 15 * USD, 3 * USD // 10),
        facts=actions.ModelFacts(**facts), by=None, at=timezone.now(),
    )  # fmt: skip


class TestTheList:
    def test_answers_without_credentials_and_with_useless_ones(self, client, upstream):
        """Trap 28."""
        make(upstream)
        for headers in (
            {},
            {"Authorization": "Bearer unauthenticated"},
            {"Authorization": "Bearer x"},
        ):
            assert [entry["id"] for entry in models(client, **headers)] == ["acme/coder"]

    def test_prices_are_plain_decimals_in_usd_per_token(self, client, upstream):
        make(upstream)
        entry = models(client)[0]
        assert entry["pricing"] == {
            "input": "0.000003", "output": "0.000015", "input_cache_read": "0.0000003",
            "input_cache_write": "0.000003",
        }  # fmt: skip
        assert (entry["inputPrice"], entry["outputPrice"]) == (0.003, 0.015)

    def test_holds_no_null(self, client, upstream):
        """Trap 28: one null empties the client's list."""
        make(upstream, tags=["vision"], name="Coder")
        assert "null" not in json.dumps(models(client))

    def test_hides_what_has_no_price_or_is_switched_off(self, client, upstream):
        make(upstream)
        Price.unscoped.all().delete()
        assert models(client) == []
        make(upstream, "acme/other")
        Upstream.unscoped.update(enabled=False)
        assert "acme/other" not in [entry["id"] for entry in models(client)]

    def test_an_organizations_own_upstream_is_its_members_alone(
        self, client, upstream, bob, mallory, acme, evil
    ):
        upstream.organization = acme
        upstream.set_api_key("sk-1")
        upstream.save()
        make(upstream)
        assert models(client) == []
        assert models(client, **factories.bearer(mallory, evil)) == []
        assert models(client, **factories.bearer(bob)) == []
        assert len(models(client, **factories.bearer(bob, acme))) == 1

    def test_a_model_of_chosen_organizations_is_their_members_alone(
        self, client, upstream, bob, mallory, acme, evil
    ):
        """A1: to everybody else it does not exist, in the list and in completions."""
        at = timezone.now()
        make(upstream).organizations.set([acme])
        inside, outside = factories.actor(bob, acme), factories.actor(mallory, evil)
        personal = factories.actor(bob)

        assert models(client) == []
        assert models(client, **factories.bearer(mallory, evil)) == []
        assert models(client, **factories.bearer(bob)) == []
        assert len(models(client, **factories.bearer(bob, acme))) == 1
        assert catalogue.read(at=at).find(inside, "acme/coder", at=timezone.now())
        for actor in (outside, personal):
            assert catalogue.read(at=at).find(actor, "acme/coder", at=timezone.now()) is None

        LanguageModel.unscoped.get().organizations.clear()
        assert catalogue.read(at=at).find(outside, "acme/coder", at=timezone.now())
        assert len(models(client)) == 1

    def test_an_organization_that_goes_leaves_its_models_hidden(self, client, upstream, acme, evil):
        """A1: naming nobody means everybody, so a deletion must not publish."""
        make(upstream).organizations.set([acme])
        make(upstream, "both/coder").organizations.set([acme, evil])
        make(upstream, "all/coder")
        acme.delete()
        assert [entry["id"] for entry in models(client)] == ["all/coder"]
        assert not LanguageModel.unscoped.get(model_id="acme/coder").visible
        assert LanguageModel.unscoped.get(model_id="both/coder").visible

    @pytest.mark.django_db(transaction=True)
    def test_both_addresses_serve_the_same(self, live_url, client, upstream):
        """protocol/proxy.md §3.1"""
        make(upstream, settings={"reasoningEffort": "low"})
        asked = openai.OpenAI(base_url=f"{live_url}/proxy", api_key="unauthenticated")
        [served] = asked.models.list().data
        assert [served.model_dump(exclude_unset=True)] == models(client)
        assert served.settings == {"reasoningEffort": "low"}

    def test_asks_as_much_for_thirty_as_for_three(
        self, client, upstream, django_assert_num_queries, django_assert_max_num_queries
    ):
        for number in range(3):
            make(upstream, f"acme/m{number}")
        with django_assert_max_num_queries(6) as few:
            models(client)
        for number in range(3, 30):
            make(upstream, f"acme/m{number}")
        with django_assert_num_queries(len(few.captured_queries)):
            models(client)

    def test_a_completion_is_priced_with_the_price_of_its_time(self, upstream):
        model = make(upstream)
        before = timezone.now()
        actions.put_model(
            model_id="acme/coder", upstream=upstream, upstream_model="plain", price=actions.NewPrice(1, 1, 1, 1),
            facts=actions.ModelFacts(), by=None, at=timezone.now(),
        )  # fmt: skip
        offer = catalogue.read(at=timezone.now()).offers[model.model_id]
        assert offer.price(before).rates.input == 3 * USD
        assert offer.price(timezone.now()).rates.input == 1


class TestTheDemo:
    def test_is_labelled_and_free_and_gone_with_the_first_upstream(self, client, db):
        entry = models(client)[0]
        assert entry["id"] == "demo/coder"
        assert "not a real model" in entry["name"]
        assert entry["tags"] == ["free"]

    def test_disappears_with_a_real_upstream(self, client, upstream):
        assert models(client) == []

    def test_never_exists_in_production(self, client, db, settings):
        settings.ROOCLOUD_MODE = "production"
        assert models(client) == []

    @pytest.mark.django_db(transaction=True)
    def test_answers_streamed_and_whole_and_with_a_tool_call(self, live_url, alice):
        token = factories.bearer(alice, kind="job")["Authorization"][7:]
        client = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=token, max_retries=0)
        messages = [{"role": "user", "content": "Hello"}]
        tools = [{"type": "function", "function": {"name": "attempt_completion", "parameters": {}}}]

        chunks = list(
            client.chat.completions.create(
                model="demo/coder", messages=messages, stream=True, tools=tools
            )
        )
        calls = [
            c.choices[0].delta.tool_calls
            for c in chunks
            if c.choices and c.choices[0].delta.tool_calls
        ]
        assert calls[0][0].function.name == "attempt_completion"
        assert json.loads(calls[0][0].function.arguments)["result"]
        assert chunks[-1].usage.cost == 0
        assert chunks[-1].usage.prompt_tokens > 0

        whole = client.chat.completions.create(model="demo/coder", messages=messages)
        assert "demo model" in whole.choices[0].message.content
        assert whole.choices[0].finish_reason == "stop"


class TestTheCommands:
    def test_make_and_change_without_doubling(self, db, capsys):
        for url in ("https://a.example/v1", "https://b.example/v1/"):
            call_command("create_upstream", "main", base_url=url, api_key="sk-1")
        for price in ("3", "3", "4"):
            call_command(
                "create_model", "v/m", upstream="main", input_price=price, output_price="15",
                cached_input_price="0.3", context=200_000, max_tokens=8192, tag=["vision"],
                alias=["xai/grok-code-fast-1"],
            )  # fmt: skip
        assert Upstream.unscoped.get().base_url == "https://b.example/v1"
        model = LanguageModel.unscoped.get()
        assert (model.context_window, model.tags) == (200_000, ["vision"])
        assert model.prices.count() == 2
        assert model.aliases.get().alias == "xai/grok-code-fast-1"
        assert "sk-1" not in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"input_price": "free"}, "--input-price"), ({"output_price": "-1"}, "--output-price"),
            ({"upstream": "nope"}, "create_upstream"), ({"context": 0}, "context_window"),
        ],
    )  # fmt: skip
    def test_say_what_is_wrong(self, upstream, change, named):
        given = {"upstream": "fake", "input_price": "1", "output_price": "1", **change}
        with pytest.raises(CommandError, match=named):
            call_command("create_model", "v/m", **given)

    @pytest.mark.parametrize(
        ("name", "url", "key", "field"),
        [
            ("a b", "https://x.example", "k", "name"), ("a", "ftp://x", "k", "base_url"),
            ("a", "https://u:p@x.example", "k", "base_url"), ("a", "nonsense", "k", "base_url"),
            ("a", "https://x.example", "", "api_key"), ("a", "https://x.example", "k k", "api_key"),
        ],
    )  # fmt: skip
    def test_refuse_a_bad_upstream(self, db, name, url, key, field):
        with pytest.raises(CommandError, match=field):
            call_command("create_upstream", name, base_url=url, api_key=key)

    def test_name_the_kind_of_an_upstream(self, db):
        for more in ({"kind": "anthropic"}, {}, {"api_key": "sk-2"}):
            given = {"base_url": "https://x.example", "api_key": "sk-1", **more}
            call_command("create_upstream", "claude", **given)
            assert Upstream.unscoped.get().kind == "anthropic", "and leave it when it is not named"
        with pytest.raises(CommandError, match="kind"):
            call_command(
                "create_upstream", "c", kind="x", base_url="https://x.example", api_key="k"
            )


def test_the_environments_upstream_comes_and_goes(db, settings):
    settings.ROOCLOUD_UPSTREAM_BASE_URL = "https://api.example.com/v1"
    settings.ROOCLOUD_UPSTREAM_API_KEY = "sk-env"
    for _ in range(2):
        actions.sync_environment_upstream(at=timezone.now())
    row = Upstream.unscoped.get()
    assert (row.enabled, row.api_key()) == (True, "sk-env")
    assert Entry.objects.filter(action="upstream.saved").count() == 1, "nothing changed"

    settings.ROOCLOUD_UPSTREAM_BASE_URL = ""
    actions.sync_environment_upstream(at=timezone.now())
    row.refresh_from_db()
    assert row.enabled is False


def test_a_key_is_sealed_for_its_row(upstream):
    """I2"""
    assert "sk-1" not in upstream.sealed_api_key
    assert upstream.api_key() == "sk-1"


class TestPricesInTheAdmin:
    """They are typed and shown in USD per million tokens; one that counted is never changed."""

    @pytest.fixture
    def model(self, upstream):
        return make(upstream)

    @pytest.fixture
    def save(self, model, client, alice):
        """``save(input_nanos_per_mtok="6", …)`` adds a price on the model's page."""
        User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
        client.force_login(alice)
        route = model.routes.get()

        def post(**price):
            rows = {"routes": [1, 1], "prices": [0, 0], "prices-2": [1, 0], "aliases": [0, 0]}
            form = {
                f"{prefix}-{name}_FORMS": count
                for prefix, (total, initial) in rows.items()
                for name, count in (("TOTAL", total), ("INITIAL", initial))
            }
            form |= {
                "model_id": model.model_id, "kind": "language", "context_window": 1000,
                "max_tokens": 100, "tags": "[]", "settings": "{}", "versioned_settings": "{}",
                "visible": "on", "routes-0-id": route.pk, "routes-0-model": model.pk,
                "routes-0-upstream": route.upstream_id, "routes-0-upstream_model": "m",
                "routes-0-priority": 0, "routes-0-weight": 1, "routes-0-enabled": "on",
                "prices-2-0-model": model.pk, "prices-2-0-valid_from_0": "2026-03-01",
                "prices-2-0-valid_from_1": "12:00:00",
            }  # fmt: skip
            form |= {f"prices-2-0-{name}": value for name, value in price.items()}
            return client.post(f"/admin/proxy/languagemodel/{model.pk}/change/", form)

        return post

    def test_a_new_one(self, save, model, client):
        answer = save(
            input_nanos_per_mtok="2.5", output_nanos_per_mtok="$15", cache_read_nanos_per_mtok="0.25",
            long_above_tokens="272000", long_input_nanos_per_mtok="5", long_output_nanos_per_mtok="22.5",
        )  # fmt: skip
        assert answer.status_code == 302, answer.context["errors"]
        row = model.prices.latest("pk")
        assert row.rates() == Rates(
            2_500_000_000, 15 * USD, 250_000_000, 2_500_000_000, above=272_000,
            beyond=Rates(5 * USD, 22_500_000_000, 5 * USD, 5 * USD),
        )  # fmt: skip
        page = client.get(f"/admin/proxy/languagemodel/{model.pk}/change/").text
        assert "$2.5 in, $15 out, $0.25 cached" in page
        assert "above 272,000 tokens of input: $5 in, $22.5 out" in page

    @pytest.mark.parametrize(
        "wrong",
        [
            {"input_nanos_per_mtok": "-1", "output_nanos_per_mtok": "1"},
            {"input_nanos_per_mtok": "much", "output_nanos_per_mtok": "1"},
            {"input_nanos_per_mtok": "1"},
            {"input_nanos_per_mtok": "1", "output_nanos_per_mtok": "1", "long_above_tokens": "9"},
        ],
    )
    def test_one_that_makes_no_sense_is_refused(self, save, model, wrong):
        before = model.prices.count()
        assert save(**wrong).status_code == 200
        assert model.prices.count() == before
