"""Models and prices out of lists (PX8): what would change is shown, then taken."""

import json
from io import StringIO

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.models import Entry
from proxy import actions, clouds, imports, listings
from proxy.listings import Listed, ListPrice, LongPrice, read_file, read_list
from proxy.models import LanguageModel, Price, Route, Upstream
from proxy.pricing import Rates
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import InvalidInput
from tests.fakes.clouds import ACCESS_KEY, SECRET_KEY
from tests.fakes.lister import KEY, fake_lister

LITELLM = {
    "sample_spec": {"litellm_provider": "one of https://docs.litellm.ai", "mode": "one of: chat"},
    "claude-opus-4-6": {
        "litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 1_000_000,
        "max_output_tokens": 128_000, "input_cost_per_token": 5e-06, "output_cost_per_token": 2.5e-05,
        "cache_read_input_token_cost": 5e-07, "cache_creation_input_token_cost": 6.25e-06,
        "supports_vision": True, "supports_reasoning": True, "deprecation_date": "2027-02-05",
    },
    "gemini/gemini-2.5-pro": {
        "litellm_provider": "gemini", "mode": "chat", "max_input_tokens": 1_048_576,
        "max_output_tokens": 65_536, "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
        "input_cost_per_token_above_200k_tokens": 2.5e-06, "supports_vision": True,
    },
    "gpt-5-codex": {
        "litellm_provider": "openai", "mode": "responses", "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
    },
    "text-embedding-3-large": {
        "litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 1.3e-07,
        "output_cost_per_token": 0.0, "max_input_tokens": 8191, "output_vector_size": 3072,
    },
    "gpt-image-9": {
        "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 5e-06,
        "input_cost_per_image_token": 1e-05, "output_cost_per_image_token": 4e-05,
        "cache_read_input_token_cost": 1.25e-06, "supported_endpoints": ["/v1/images/generations"],
    },
    "dall-e-9": {
        "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.04,
    },
    "low/1024-x-1024/gpt-image-9": {
        "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.011,
    },
    "dall-e-8": {
        "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1.9e-08,
        "output_cost_per_pixel": 0.0, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0,
    },
    "whisper-9": {
        "litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001,
    },
    "gemini/gemini-9-flash-image": {
        "litellm_provider": "gemini", "mode": "image_generation", "output_cost_per_image": 0.039,
        "input_cost_per_token": 3e-07, "output_cost_per_token": 2.5e-06,
        "output_cost_per_image_token": 3e-05, "supported_output_modalities": ["text", "image"],
        "supported_endpoints": ["/v1/chat/completions"],
    },
    "groq/odd": {
        "litellm_provider": "groq", "mode": "chat", "max_tokens": 8192,
        "input_cost_per_token": 5.9000000000000003e-08, "output_cost_per_token": -1,
    },
}  # fmt: skip
MODELS_DEV = {
    "openrouter": {
        "id": "openrouter", "name": "OpenRouter", "models": {
            "z-ai/glm-5": {
                "id": "z-ai/glm-5", "name": "GLM-5", "reasoning": True, "tool_call": True,
                "modalities": {"input": ["text", "image"], "output": ["text"]},
                "limit": {"context": 200_000, "output": 131_072},
                "cost": {"input": 0.6, "output": 2.08, "cache_read": 0.12,
                         "context_over_200k": {"input": 1.2, "output": 4}},
            },
            "z-ai/free": {"name": "Free", "limit": {"context": 8192, "output": 4096},
                          "cost": {"input": 0, "output": 0}, "status": "deprecated"},
            "x/painter": {"modalities": {"input": ["text"], "output": ["image"]},
                          "limit": {"context": 0, "output": 0}, "cost": {"input": 0, "output": 0}},
            "x/singer": {"modalities": {"input": ["text"], "output": ["audio"]}, "cost": {}},
            "x/small-3": {"name": "Small", "family": "text-embedding",
                          "modalities": {"input": ["text"], "output": ["text"]},
                          "limit": {"context": 8191, "output": 1536}, "cost": {"input": 0.02, "output": 0}},
        },
    },
}  # fmt: skip
OPENROUTER = {
    "data": [
        {
            "id": "anthropic/claude-opus-4.6", "name": "Anthropic: Claude Opus 4.6", "created": 1,
            "description": "Opus.", "context_length": 1_000_000,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.000005", "completion": "0.000025", "request": "0", "image": "0",
                        "input_cache_read": "0.0000005", "input_cache_write": "0.00000625"},
            "top_provider": {"context_length": 1_000_000, "max_completion_tokens": 128_000},
            "supported_parameters": ["tools", "reasoning"],
        },
        {"id": "qwen/free:free", "context_length": 32768, "architecture": {"input_modalities": ["text"]},
         "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "perplexity/sonar", "pricing": {"prompt": "0.000001", "completion": "0.000001", "request": "0.005"}},
        {"id": "x/painter", "architecture": {"output_modalities": ["image"]},
         "pricing": {"prompt": "0", "completion": "0", "image": "0.04"}},
        {"id": "x/small-3", "architecture": {"output_modalities": ["embeddings"]},
         "pricing": {"prompt": "0.00000002", "completion": "0"}},
        {"id": "x/singer", "architecture": {"output_modalities": ["audio"]}, "pricing": {"prompt": "0"}},
    ]
}  # fmt: skip
ROO_CLOUD = {
    "object": "list",
    "data": [
        {
            "id": "xai/grok-code-fast-1", "object": "model", "created": 1, "owned_by": "xai", "name": "Grok",
            "description": "", "context_window": 262_144, "max_tokens": 16_384, "type": "language",
            "tags": ["reasoning", "free"], "deprecated": True,
            "pricing": {"input": "0.0000002", "output": "0.0000015", "input_cache_read": "0.00000002"},
            "settings": {"includedTools": ["search_replace"]},
            "versionedSettings": {"3.36.4": {"reasoningEffort": "low"}, "new": {}},
            "inputPrice": 0.0002, "outputPrice": 0.0015,
        },
        {"id": "roo/unknown", "type": "language", "pricing": {"input": "", "output": ""}},
        {"id": "roo/painter", "type": "image", "pricing": {"input": "0", "output": "0"}},
    ],
}  # fmt: skip


def bytes_of(document: object) -> bytes:
    return json.dumps(document).encode()


def by_id(models: list[Listed]) -> dict[str, Listed]:
    return {listed.id: listed for listed in models}


class TestReading:
    def test_litellms_file(self):
        found = read_file(bytes_of(LITELLM))
        assert found["anthropic"] == [
            Listed(
                id="claude-opus-4-6", kind="language", context_window=1_000_000, max_tokens=128_000,
                tags=["vision", "reasoning"],
                price=ListPrice(5 * USD, 25 * USD, USD // 2, 6 * USD + USD // 4),
                notes=["ends on 2027-02-05"],
            )
        ]  # fmt: skip
        gemini, painter = found["google"]
        assert (gemini.id, painter.id) == ("gemini-2.5-pro", "gemini-9-flash-image")
        assert gemini.price == ListPrice(
            5 * USD // 4, 10 * USD, long=LongPrice(200_000, 5 * USD // 2, 10 * USD)
        )  # what is not said of long prompts is as of others
        assert (painter.kind, painter.price) == (
            "image", ListPrice(3 * USD // 10, 30 * USD, image=39 * USD // 1000),
        )  # fmt: skip
        assert found["groq"][0].price is None, "a negative price is none"

    def test_litellms_embeddings_and_images(self):
        found = by_id(read_file(bytes_of(LITELLM))["openai"])
        assert set(found) == {"text-embedding-3-large", "gpt-image-9", "dall-e-9", "dall-e-8"}
        large = found["text-embedding-3-large"]
        assert (large.kind, large.context_window, large.max_tokens, large.price) == (
            "embedding", 8191, None, ListPrice(13 * USD // 100, 0),
        )  # fmt: skip
        by_token = found["gpt-image-9"]
        assert by_token.price == ListPrice(5 * USD, 40 * USD, 5 * USD // 4)
        assert by_token.notes == ["dearer for images in the input at the provider"]
        assert found["dall-e-9"] == Listed(
            id="dall-e-9", kind="image", tags=[], price=ListPrice(0, 0, image=4 * USD // 100)
        )
        by_pixel = found["dall-e-8"]
        assert (by_pixel.price, by_pixel.notes) == (None, ["the provider charges by the pixel"])

    def test_models_devs_file(self):
        glm, free, painter, small = read_file(bytes_of(MODELS_DEV))["openrouter"]
        assert (glm.id, glm.name, glm.context_window, glm.max_tokens) == (
            "z-ai/glm-5", "GLM-5", 200_000, 131_072,
        )  # fmt: skip
        assert glm.price == ListPrice(
            600_000_000, 2_080_000_000, 120_000_000,
            long=LongPrice(200_000, 1_200_000_000, 4 * USD, 120_000_000),
        )  # fmt: skip
        assert glm.tags == ["vision", "reasoning"]
        assert glm.notes == []
        assert (free.price, free.deprecated, free.notes) == (ListPrice(0, 0), True, [])
        assert (painter.kind, painter.price) == ("image", None), "0 is no price of an image"
        assert (small.kind, small.context_window, small.max_tokens, small.price) == (
            "embedding", 8191, None, ListPrice(USD // 50, 0),
        )  # fmt: skip

    def test_openrouters_list(self):
        found = by_id(read_list(OPENROUTER))
        opus = found["anthropic/claude-opus-4.6"]
        assert opus.price == ListPrice(5 * USD, 25 * USD, USD // 2, 6 * USD + USD // 4)
        assert (opus.context_window, opus.max_tokens) == (1_000_000, 128_000)
        assert opus.tags == ["vision", "reasoning"]
        assert found["qwen/free:free"].price == ListPrice(0, 0), "an explicit 0 is free"
        assert found["openrouter/auto"].price is None
        assert found["perplexity/sonar"].notes == ["the provider also charges by request"]
        assert (found["x/painter"].kind, found["x/painter"].price) == ("image", None)
        assert (found["x/small-3"].kind, found["x/small-3"].price) == (
            "embedding", ListPrice(USD // 50, 0),
        )  # fmt: skip
        assert "x/singer" not in found

    def test_the_list_of_another_roo_cloud(self):
        found = by_id(read_list(ROO_CLOUD))
        grok = found["xai/grok-code-fast-1"]
        assert grok.price == ListPrice(200_000_000, 1_500_000_000, 20_000_000)
        assert (grok.tags, grok.deprecated) == (["reasoning", "free"], True)
        assert grok.settings == {"includedTools": ["search_replace"]}
        assert (grok.versioned_settings, grok.notes) == (
            None, ["its settings do not fit and are left out"],
        )  # fmt: skip
        assert found["roo/unknown"].price is None
        assert (found["roo/painter"].kind, found["roo/painter"].price) == ("image", None)

    @pytest.mark.parametrize(
        ("entry", "context", "most"),
        [
            ({"id": "gpt-5", "object": "model", "owned_by": "system"}, None, None),
            ({"id": "models/gpt-5", "object": "model"}, None, None),
            ({"id": "gpt-5", "max_model_len": 32768, "root": "/models/x"}, 32768, None),
            ({"id": "gpt-5", "context_window": 131072, "max_completion_tokens": 65536}, 131072, 65536),
            ({"id": "gpt-5", "max_context_length": 128000, "capabilities": {"completion_chat": True}}, 128000, None),
            ({"id": "gpt-5", "type": "model", "display_name": "G", "max_input_tokens": 9, "max_tokens": 5}, 9, 5),
            ({"id": "gpt-5", "pricing": {"input": 0.02, "output": 0.05}}, None, None),
        ],
        ids=["openai", "gemini", "vllm", "groq", "mistral", "anthropic", "together"],
    )  # fmt: skip
    def test_lists_without_prices(self, entry, context, most):
        """Nothing is taken for a price that is not surely one."""
        [found] = read_list({"object": "list", "data": [entry]})
        assert (found.id, found.price) == ("gpt-5", None)
        assert (found.context_window, found.max_tokens) == (context, most)

    @pytest.mark.parametrize(
        "entry",
        [
            {"id": ""}, {"id": "a b"}, {"id": "é"}, {"id": "x" * 161}, {"id": "a\x00"}, {"id": 7}, {},
            {"id": "m", "capabilities": {"completion_chat": False}}, {"id": "e", "type": "rerank"},
        ],
    )  # fmt: skip
    def test_what_is_no_model_of_ours_is_left_out(self, entry):
        assert read_list([entry, None, "x", {"id": "good"}]) == [Listed(id="good")]

    @pytest.mark.parametrize(
        ("entry", "kind"),
        [
            ({"id": "text-embedding-3-large"}, "embedding"), ({"id": "gpt-image-1"}, "image"),
            ({"id": "mistral-embed", "capabilities": {"completion_chat": False}}, "embedding"),
            ({"id": "b/g", "type": "embedding"}, "embedding"), ({"id": "b/f", "type": "image"}, "image"),
            ({"id": "black-forest-labs/flux-2"}, "image"), ({"id": "b/c", "type": "chat"}, None),
            ({"id": "magistral", "capabilities": {"completion_chat": True}}, "language"),
            ({"id": "gpt-5"}, None),
        ],
    )  # fmt: skip
    def test_the_kind_is_what_is_said_or_else_named(self, entry, kind):
        assert read_list([entry])[0].kind == kind

    @pytest.mark.parametrize(
        "price",
        ["1e999999999", "NaN", "-0.1", "Infinity", "0x1", True, None, [], 1e300, "9" * 5000],
    )
    def test_hostile_prices_are_none(self, price):
        entry = {"id": "m", "pricing": {"prompt": price, "completion": "0"}}
        assert read_list([entry])[0].price is None
        dev = {"p": {"models": {"m": {"cost": {"input": price, "output": 0}}}}}
        assert (
            read_file(json.dumps(dev).replace("Infinity", "1e9999").encode())["p"][0].price is None
        )

    @pytest.mark.parametrize(
        "body", [b"[]x", b"{}", b'{"a": 1}', b"\xff", b"3", b'"x"', b"[" * 99999]
    )
    def test_a_file_of_another_kind_is_refused(self, body):
        with pytest.raises(InvalidInput):
            read_file(body)

    def test_the_seed(self):
        """The eight providers that are named in the guide, priced, in little space."""
        found = listings.seed()
        assert found.keys() == listings.PROVIDERS.keys()
        assert listings.SEED.stat().st_size <= 100 * 1024
        for models in found.values():
            assert models
            for listed in models:
                assert listed.price
                assert listed.context_window
        opus = by_id(found["anthropic"])["claude-opus-4-6"]
        assert opus.price == ListPrice(5 * USD, 25 * USD, USD // 2, 6 * USD + USD // 4)
        assert "MIT" in (listings.SEED.parent / "NOTICE").read_text()


@pytest.fixture
def upstream(db) -> Upstream:
    return actions.put_upstream(
        name="main",
        base_url="https://api.anthropic.com/v1",
        api_key=KEY,
        by=None,
        at=timezone.now(),
    )


def differ(upstream, listed, **more) -> list[imports.Change]:
    return imports.differences(upstream, listed, at=timezone.now(), **more)


def take_all(upstream, listed) -> None:
    for change in differ(upstream, listed):
        if change.is_takeable:
            imports.take(upstream, change.listed, change.price, by=None, at=timezone.now())


OPUS = Listed(id="claude-opus-4-6", name="Opus", context_window=1000, max_tokens=100, tags=["vision"],
              price=ListPrice(5, 25, 1))  # fmt: skip


class TestTaking:
    def test_what_is_new_then_the_same(self, upstream):
        [change] = differ(upstream, [OPUS])
        assert (change.state, change.model_id) == ("new", "anthropic/claude-opus-4.6")

        take_all(upstream, [OPUS])
        model = LanguageModel.unscoped.get()
        assert (model.model_id, model.name, model.context_window, model.max_tokens, model.tags) == (
            "anthropic/claude-opus-4.6", "Opus", 1000, 100, ["vision"],
        )  # fmt: skip
        assert model.routes.get().upstream_model == "claude-opus-4-6"
        assert model.prices.get().given() == (5, 25, 1, None)
        assert [change.state for change in differ(upstream, [OPUS])] == ["same"]

    def test_every_kind_with_its_price(self, upstream):
        openai = read_file(bytes_of(LITELLM))["openai"]
        take_all(upstream, openai)
        found = {model.model_id: model for model in LanguageModel.unscoped.all()}
        small, each = found["anthropic/text-embedding-3-large"], found["anthropic/dall-e-9"]
        assert (small.kind, small.context_window) == ("embedding", 8191)
        assert (each.kind, each.prices.get().image_nanos) == ("image", USD // 25)
        assert "anthropic/dall-e-8" not in found, "it has no price"
        assert {c.state for c in differ(upstream, openai) if c.is_priced} == {"same"}

    def test_a_list_that_says_nothing_of_images_leaves_their_price(self, upstream):
        take_all(upstream, [Listed(id="flux", kind="image", price=ListPrice(5, 0, image=7))])
        [change] = differ(upstream, [Listed(id="flux", price=ListPrice(6, 0))])
        assert (change.kind, change.price) == ("image", ListPrice(6, 0, image=7))
        [change] = differ(upstream, [Listed(id="flux", price=ListPrice(5, 0))])
        assert change.state == "same"

    def test_a_price_of_long_prompts(self, upstream):
        priced = ListPrice(5, 25, 1, long=LongPrice(2000, 10, 40, 2))
        take_all(upstream, [Listed(id="m", price=priced)])
        assert Price.unscoped.get().rates() == Rates(
            5, 25, 1, 5, above=2000, beyond=Rates(10, 40, 2, 10)
        )
        entry = Entry.objects.get(action="model.price_saved")
        assert entry.after == {
            "nanos_per_mtok": [5, 25, 1, None],
            "long": {"above_tokens": 2000, "nanos_per_mtok": [10, 40, 2, None]},
        }

        [change] = differ(upstream, [Listed(id="m", price=priced)])
        assert change.state == "same"
        [change] = differ(upstream, [Listed(id="m", price=ListPrice(6, 25, 1))])
        assert change.price == msgspec.structs.replace(priced, input=6), "left as it is"
        assert change.notes == [
            "above 2,000 tokens of input: $0.00000001 in, $0.00000004 out, $0.000000002 cached"
        ]
        take_all(upstream, [Listed(id="m", price=ListPrice(6, 25, 1))])
        assert Price.unscoped.latest("valid_from").rates().beyond == Rates(10, 40, 2, 10)

    @pytest.mark.parametrize("wrong", ["-1", "x", True, 10**9])
    def test_a_price_of_long_prompts_that_cannot_be_understood_is_none(self, wrong):
        """Else long prompts would be sold at the price of short ones."""
        document = json.loads(json.dumps(LITELLM))
        document["gemini/gemini-2.5-pro"]["input_cost_per_token_above_200k_tokens"] = wrong
        assert read_file(bytes_of(document))["google"][0].price is None

    def test_of_several_steps_the_first_is_taken_and_a_note_says_so(self):
        document = json.loads(json.dumps(MODELS_DEV))
        document["openrouter"]["models"]["z-ai/glm-5"]["cost"]["tiers"] = [
            {"input": 0.9, "output": 3, "tier": {"type": "context", "size": 32_000}}
        ]
        glm = read_file(bytes_of(document))["openrouter"][0]
        assert glm.price.long == LongPrice(32_000, 9 * USD // 10, 3 * USD, 120_000_000)
        assert glm.notes == ["dearer still for longer prompts at the provider"]

    def test_a_kind_that_the_list_knows_better_is_shown(self, upstream):
        take_all(upstream, [Listed(id="bge", price=ListPrice(1, 0))])
        [change] = differ(upstream, [Listed(id="bge", kind="embedding")])
        assert [(f.label, f.before, f.after) for f in change.facts] == [
            ("kind", "language", "embedding")
        ]
        take_all(upstream, [change.listed])
        assert LanguageModel.unscoped.get().kind == "embedding"

    def test_a_changed_price_is_shown_and_counts_from_then_on(self, upstream):
        take_all(upstream, [OPUS])
        before = timezone.now()
        dearer = Listed(id=OPUS.id, price=ListPrice(6, 25, 1))
        [change] = differ(upstream, [dearer])
        assert (change.state, change.present, change.price) == (
            "changed", ListPrice(5, 25, 1), ListPrice(6, 25, 1),
        )  # fmt: skip
        assert Price.unscoped.count() == 1, "showing changes nothing"

        take_all(upstream, [dearer])
        old, new = Price.unscoped.order_by("valid_from")
        assert (old.input_nanos_per_mtok, new.input_nanos_per_mtok) == (5, 6)
        assert old.valid_from < before < new.valid_from
        entry = Entry.objects.filter(action="model.price_saved").latest("at")
        assert entry.before == {"nanos_per_mtok": [5, 25, 1, None]}
        assert entry.after == {"nanos_per_mtok": [6, 25, 1, None]}

    def test_a_list_without_a_price_leaves_the_price(self, upstream):
        take_all(upstream, [OPUS])
        [change] = differ(upstream, [Listed(id=OPUS.id)])
        assert (change.state, change.price) == ("same", None)

    def test_without_a_price_nothing_is_taken_with_the_rest_nor_offered(self, upstream, client):
        bare = Listed(id="llama3")
        [change] = differ(upstream, [bare])
        assert (change.state, change.is_takeable) == ("new", False)
        imports.take(upstream, bare, None, by=None, at=timezone.now())
        assert client.get("/proxy/v1/models").json()["data"] == []
        imports.take(upstream, bare, ListPrice(0, 0), by=None, at=timezone.now())
        assert len(client.get("/proxy/v1/models").json()["data"]) == 1

    def test_facts_change_and_what_is_the_administrators_stays(self, upstream):
        take_all(upstream, [OPUS])
        LanguageModel.unscoped.update(name="Our Opus", tags=["vision", "stealth"], visible=False)
        grown = Listed(id=OPUS.id, name="Opus!", context_window=2000, tags=["vision", "reasoning"])
        [change] = differ(upstream, [grown])
        assert [(fact.label, fact.before, fact.after) for fact in change.facts] == [
            ("context", "1,000", "2,000"), ("tags", "vision stealth", "vision stealth reasoning"),
        ]  # fmt: skip
        take_all(upstream, [grown])
        model = LanguageModel.unscoped.get()
        assert (model.name, model.context_window, model.max_tokens, model.tags, model.visible) == (
            "Our Opus", 2000, 100, ["vision", "stealth", "reasoning"], False,
        )  # fmt: skip

    def test_a_route_that_somebody_chose_is_kept(self, upstream):
        take_all(upstream, [OPUS])
        for choice in ({"enabled": False}, {"enabled": True, "upstream_model": "claude-opus-x"}):
            Route.unscoped.update(**choice)
            take_all(upstream, [OPUS])
            [change] = differ(upstream, [OPUS])
            assert change.state == "kept"
            assert Route.unscoped.filter(**choice).count() == 1

    def test_what_a_whole_list_lacks_is_gone(self, upstream):
        take_all(upstream, [OPUS])
        other = Listed(id="claude-haiku-5-5", price=ListPrice(1, 1))
        assert [c.state for c in differ(upstream, [other])] == ["new"]
        gone = differ(upstream, [other], is_complete=True)[-1]
        assert (gone.state, gone.model_id, gone.is_takeable) == (
            "gone",
            "anthropic/claude-opus-4.6",
            False,
        )
        take_all(upstream, [other])
        actions.close_route(
            upstream=upstream, upstream_model=gone.listed.id, by=None, at=timezone.now()
        )
        assert [c.state for c in differ(upstream, [other], is_complete=True)] == ["same"]

    def test_filters_match_either_id(self, upstream):
        models = [Listed(id="claude-a"), Listed(id="claude-b"), Listed(id="vendor/c")]
        for pattern, ids in (("*/claude-*", 2), ("claude-a", 1), ("vendor/*", 1), ("nothing", 0)):
            assert len(differ(upstream, models, filters=[pattern])) == ids

    def test_a_model_of_two_upstreams_says_so(self, upstream):
        take_all(upstream, [OPUS])
        second = actions.put_upstream(
            name="openrouter", base_url="https://openrouter.ai/api/v1", api_key="k", by=None,
            at=timezone.now(),
        )  # fmt: skip
        listed = Listed(id="anthropic/claude-opus-4.6", price=ListPrice(5, 25, 1))
        [change] = differ(second, [listed])
        assert change.state == "new"
        assert change.notes == ["also completed at main, for the same price"]
        take_all(second, [listed])
        assert LanguageModel.unscoped.get().routes.count() == 2
        assert Price.unscoped.count() == 1

    def test_differences_ask_as_much_for_thirty_as_for_three(
        self, upstream, django_assert_num_queries, django_assert_max_num_queries
    ):
        models = [Listed(id=f"m{n}", price=ListPrice(1, 1)) for n in range(30)]
        take_all(upstream, models[:3])
        with django_assert_max_num_queries(8) as few:
            differ(upstream, models[:3], is_complete=True)
        take_all(upstream, models)
        with django_assert_num_queries(len(few.captured_queries)):
            differ(upstream, models, is_complete=True)


def run(*args, **options) -> str:
    out = StringIO()
    call_command("import_models", *args, stdout=out, **options)
    return out.getvalue()


class TestTheCommand:
    def test_shows_first_and_changes_when_told_to(self, upstream, tmp_path):
        file = tmp_path / "prices.json"
        file.write_bytes(bytes_of(LITELLM))
        line = "+ anthropic/claude-opus-4.6: new; $5 in, $25 out, $0.5 cached, $6.25 cache write"
        shown = run(str(file))
        assert line in shown
        assert "1 to change, 0 the same. Nothing was changed: add --apply." in shown
        assert not LanguageModel.unscoped.exists()

        assert "1 changed, 0 the same." in run(str(file), apply=True)
        assert "0 changed, 1 the same." in run(str(file), apply=True)

        dearer = json.loads(json.dumps(LITELLM))
        dearer["claude-opus-4-6"]["input_cost_per_token"] = 6e-06
        file.write_bytes(bytes_of(dearer))
        assert "cache write -> $6 in, $25 out" in run(str(file))
        assert Price.unscoped.count() == 1

    def test_takes_the_seed_of_the_providers_there_are(self, upstream):
        actions.put_upstream(
            name="local", base_url="http://127.0.0.1:1/v1", api_key="k", by=None, at=timezone.now()
        )
        run(apply=True, filter=["*opus-4.6"])
        model = LanguageModel.unscoped.get()
        assert (model.model_id, model.name) == ("anthropic/claude-opus-4.6", "Claude Opus 4.6")
        assert model.prices.get().input_nanos_per_mtok == 5 * USD

    def test_upstreams_that_disagree_do_not_change_a_model_to_and_fro(self, upstream, tmp_path):
        file = tmp_path / "api.json"
        opus = {"limit": {"context": 9000, "output": 100}, "cost": {"input": 4, "output": 20}}
        same = {"limit": {"context": 1000, "output": 100}, "cost": {"input": 5, "output": 25}}
        file.write_bytes(bytes_of({
            "anthropic": {"models": {"claude-opus-4-6": same}},
            "openrouter": {"models": {"anthropic/claude-opus-4.6": opus}},
        }))  # fmt: skip
        actions.put_upstream(
            name="router", base_url="https://openrouter.ai/api/v1", api_key="k", by=None, at=timezone.now()
        )  # fmt: skip
        for _ in range(2):
            shown = run(str(file), apply=True)
            assert "new, taken only if --upstream names this one" in shown
            assert "also completed at main" in shown
        model = LanguageModel.unscoped.get()
        assert (model.context_window, model.prices.count(), model.routes.count()) == (1000, 1, 1)

        assert "1 changed" in run(str(file), upstream="router", apply=True)
        assert "0 changed" in run(str(file), upstream="router", apply=True)
        assert (model.prices.count(), model.routes.count()) == (2, 2)

    def test_asks_the_upstream_itself(self, upstream):
        with fake_lister() as fake:
            fake.models = {"data": [{"id": "llama3", "max_model_len": 8192}, *OPENROUTER["data"]]}
            upstream.base_url = fake.url
            upstream.set_api_key(KEY)
            upstream.save()
            shown = run(upstream="main", own_list=True, apply=True)
            again = run(upstream="main", own_list=True)
        assert "+ main/llama3: new, not taken without a price; no price" in shown
        assert "+ qwen/free:free: new; free" in shown
        assert "+ x/small-3: new embedding model; $0.02 in, $0 out" in shown
        assert "+ x/painter: new image model, not taken without a price" in shown
        assert "4 changed" in shown
        assert "0 to change, 4 the same" in again

    def test_completes_the_own_list_from_the_file(self, upstream, tmp_path):
        file = tmp_path / "api.json"
        file.write_bytes(bytes_of(MODELS_DEV))
        with fake_lister() as fake:
            fake.models = {"data": [{"id": "z-ai/glm-5"}]}
            upstream.base_url = fake.url
            upstream.set_api_key(KEY)
            upstream.save()
            shown = run(
                str(file), upstream="main", own_list=True, provider="openrouter", apply=True
            )
        assert "$0.6 in, $2.08 out, $0.12 cached" in shown
        assert LanguageModel.unscoped.get().context_window == 200_000

    @pytest.mark.parametrize(
        ("args", "named"),
        [
            (["--upstream", "nope"], "create_upstream"), (["/nowhere.json"], "/nowhere.json"),
            (["--upstream", "main", "--provider", "acme"], "--provider"), ([__file__], "not JSON"),
            (["--upstream", "main", "--own-list"], "Nothing answers"),
        ],
    )  # fmt: skip
    def test_says_what_is_wrong(self, upstream, args, named):
        upstream.base_url = "http://127.0.0.1:9/v1"
        upstream.set_api_key(KEY)
        upstream.save()
        with pytest.raises(CommandError, match=named):
            run(*args)


def at_clouds(*ids, usd=5) -> dict[str, object]:
    """litellm's file with those ids: of Bedrock, and behind ``vertex_ai/`` of Vertex."""
    cost = {"mode": "chat", "input_cost_per_token": usd / 10**6, "output_cost_per_token": 1e-5}
    return {
        name: {**cost, "litellm_provider": "vertex_ai-anthropic_models" if "vertex_ai/" in name
               else "bedrock_converse"}
        for name in ids
    }  # fmt: skip


OPUS_AT_BEDROCK = [
    f"{geography}anthropic.claude-opus-4-6-v1"
    for geography in ("", "global.", "us.", "eu.", "au.", "apac.")
]


class TestClouds:
    """Claude at Bedrock and Vertex, where a model has an id for each place that answers it."""

    @pytest.mark.parametrize(
        ("region", "begins"),
        [
            ("us-east-1", "us.anthropic."), ("eu-central-1", "eu.anthropic."),
            ("ap-southeast-2", "au.anthropic."), ("ap-south-1", "apac.anthropic."),
            ("ap-northeast-1", "apac.anthropic."), ("sa-east-1", "global.anthropic."),
        ],
    )  # fmt: skip
    def test_bedrock_is_asked_by_the_profile_of_its_own_geography(self, region, begins):
        (known,) = read_file(bytes_of(at_clouds(*OPUS_AT_BEDROCK))).values()
        address = f"https://bedrock-runtime.{region}.amazonaws.com"
        assert [one.id for one in clouds.fitting(address, known)] == [f"{begins}claude-opus-4-6-v1"]

    def test_vertex_is_asked_by_the_plain_id(self):
        file = at_clouds(
            "vertex_ai/claude-opus-4-6@default", "vertex_ai/claude-opus-4-6",
            "vertex_ai/claude-haiku-4-5@20251001", "vertex_ai/mistral-large",
        )  # fmt: skip
        (known,) = read_file(bytes_of(file)).values()
        address = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5"
        assert [one.id for one in clouds.fitting(address, known)] == [
            "claude-opus-4-6", "claude-haiku-4-5@20251001",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("listed_id", "name"),
        [
            ("us.anthropic.claude-opus-4-6-v1", "anthropic/claude-opus-4.6"),
            ("anthropic.claude-opus-4-1-20250805-v1:0", "anthropic/claude-opus-4.1"),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic/claude-3.5-sonnet"),
            ("claude-haiku-4-5@20251001", "anthropic/claude-haiku-4.5"),
            ("anthropic.claude-sonnet-5", "anthropic/claude-sonnet-5"),
            ("meta.llama3-70b-instruct-v1:0", None),
        ],
    )
    def test_a_model_has_the_name_that_clients_ask_for(self, listed_id, name):
        assert clouds.model_id(listed_id) == name

    def test_a_file_is_imported_with_their_ids_and_prices(self, db, tmp_path):
        actions.put_upstream(
            name="aws", kind=Upstream.Kind.BEDROCK, api_key=f"{ACCESS_KEY}:{SECRET_KEY}",
            base_url="https://bedrock-runtime.eu-west-1.amazonaws.com", by=None, at=timezone.now(),
        )  # fmt: skip
        file = tmp_path / "prices.json"
        file.write_bytes(bytes_of(at_clouds(*OPUS_AT_BEDROCK)))

        run(str(file), upstream="aws", apply=True)

        model = LanguageModel.unscoped.get()
        assert model.model_id == "anthropic/claude-opus-4.6"
        assert model.routes.get().upstream_model == "eu.anthropic.claude-opus-4-6-v1"
        assert model.prices.get().given() == (5 * USD, 10 * USD, None, None)
        assert "1 the same" in run(str(file), upstream="aws")
