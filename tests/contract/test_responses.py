"""Every answer that clients parse, checked with their own published schemas (traps 8, 16, 17, 25, 28)."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from orgs import documents
from orgs.actions import current_revision, save_settings
from proxy import actions as proxy
from proxy import model_settings
from roocloud.lib.money import NANOS_PER_USD as USD
from tasks_sharing import actions as tasks
from tests import factories
from tests.contract.zod import assert_accepted, problems

BOTH = {"1.115.0", "1.89.0"}
RICH = {
    "cloudSettings": {
        "recordTaskMessages": True, "enableTaskSharing": True, "allowPublicTaskSharing": False,
        "taskShareExpirationDays": 7, "allowMembersViewAllTasks": False,
        "workspaceTaskVisibility": "list-only", "llmEnhancedFeaturesEnabled": False,
    },
    "defaultSettings": {
        "maxOpenTabsContext": 10, "maxReadFileLine": 5000, "maxWorkspaceFiles": 1000,
        "terminalOutputLineLimit": 500, "disabledTools": ["execute_command"], "fuzzyMatchThreshold": 0.9,
    },
    "allowList": {"allowAll": False, "providers": {"roo": {"allowAll": True}, "openai": {"allowAll": False, "models": ["gpt-5"]}}},
    "features": {"roomoteControlEnabled": True},
    "hiddenMcps": ["x"], "hideMarketplaceMcps": False,
    "mcps": [
        {"id": "a", "name": "A", "description": "", "url": "https://a.example", "content": "{}",
         "parameters": [{"name": "Key", "key": "key", "optional": True}]},
        {"id": "b", "name": "B", "description": "d", "url": "https://b.example", "author": "x",
         "authorUrl": "https://x.example", "tags": ["t"], "content": [{"name": "npx", "content": "{}"}]},
    ],
    "providerProfiles": {
        "fast": {"apiProvider": "roo", "apiModelId": "v/m", "modelTemperature": None, "reasoningEffort": "low"},
        "other": {"apiProvider": "bedrock", "awsRegion": "eu-west-1", "anthropicBeta1MContext": True},
    },
}  # fmt: skip


def settings_of(client, person, org=None) -> dict:
    return client.get("/api/extension-settings", headers=factories.bearer(person, org)).json()


def check_settings(both: dict) -> None:
    assert_accepted("organizationSettingsSchema", both["organization"], BOTH)
    assert_accepted("userSettingsDataSchema", both["user"], BOTH)


def test_the_checker_itself_objects():
    seen = problems(
        [
            ("organizationSettingsSchema", {"version": 1}),
            ("shareResponseSchema", {"success": True, "error": None}),
        ]
    )
    assert all(seen[0][version] and seen[1][version] for version in BOTH)


def test_settings_of_a_personal_account(client, alice):
    check_settings(settings_of(client, alice))


def test_settings_of_an_organization(client, alice, acme):
    check_settings(settings_of(client, alice, acme))


def test_settings_with_everything_in_them(client, alice, acme):
    save_settings(
        organization=acme, document=RICH, read_version=current_revision(acme).version,
        by=factories.actor(alice, acme), at=timezone.now(),
    )  # fmt: skip
    both = settings_of(client, alice, acme)
    check_settings(both)
    assert both["organization"]["providerProfiles"]["fast"]["id"].startswith("cloud_")
    legacy = client.get("/api/organization-settings", headers=factories.bearer(alice, acme)).json()
    assert_accepted("organizationSettingsSchema", legacy, BOTH)


@pytest.mark.parametrize("method", ["patch", "post"])
def test_the_answer_to_a_change_of_user_settings(client, bob, method):
    answer = getattr(client, method)(
        "/api/user-settings",
        json.dumps(
            {
                "settings": {
                    "taskSyncEnabled": False,
                    "extensionBridgeEnabled": True,
                    "llmEnhancedFeaturesEnabled": False,
                }
            }
        ),
        content_type="application/json",
        headers=factories.bearer(bob),
    )
    assert_accepted("userSettingsDataSchema", answer.json(), BOTH)


def test_every_answer_to_a_share(client, alice, acme):
    message = {"ts": 1, "type": "say", "say": "text", "text": "Hello"}
    for event in (
        tasks.Event("Task Created", {"taskId": "t-1"}),
        tasks.Event("Task Message", {"taskId": "t-1", "message": message}),
    ):
        tasks.record_event(actor=factories.actor(alice), event=event, at=timezone.now())
    for task_id, visibility in (
        ("t-1", "public"),
        ("t-1", "public"),
        ("t-1", "organization"),
        ("no", "public"),
    ):
        answer = client.post(
            "/api/extension/share",
            json.dumps({"taskId": task_id, "visibility": visibility}),
            content_type="application/json",
            headers=factories.bearer(alice),
        )
        assert_accepted("shareResponseSchema", answer.json(), BOTH)


def test_the_models_with_and_without_an_upstream(client, db):
    at = timezone.now()
    assert_accepted("RooModelsResponseSchema", client.get("/proxy/v1/models").json(), BOTH)
    upstream = proxy.put_upstream(
        name="u", base_url="https://a.example/v1", api_key="k", by=None, at=at
    )
    proxy.put_model(
        model_id="v/m", upstream=upstream, upstream_model="m", price=proxy.NewPrice(3 * USD, 15 * USD, 1, 2),
        facts=proxy.ModelFacts(tags=["vision", "reasoning"]), by=None, at=at,
    )  # fmt: skip
    listed = client.get("/proxy/v1/models").json()
    assert [entry["id"] for entry in listed["data"]] == ["v/m"]
    assert_accepted("RooModelsResponseSchema", listed, BOTH)


def test_a_default_document_is_accepted_as_it_is():
    assert_accepted(
        "organizationSettingsSchema", {"version": 1, **documents.dump(documents.DEFAULT)}, BOTH
    )


SETTINGS = {
    "maxTokens": 64_000, "contextWindow": 1_000_000, "supportsImages": True, "supportsPromptCache": True,
    "promptCacheRetention": "24h", "supportsReasoningEffort": ["disable", "low", "high"],
    "reasoningEffort": "low", "supportsReasoningBudget": False, "supportsReasoningBinary": False,
    "preserveReasoning": True, "supportsTemperature": False, "defaultTemperature": 0.7,
    "includedTools": ["search_replace"], "excludedTools": ["apply_diff"], "inputPrice": 1.25,
    "outputPrice": 10, "cacheWritesPrice": 0, "cacheReadsPrice": 0.125, "isFree": False,
    "deprecated": False, "description": "d",
    "tiers": [{"name": "flex", "contextWindow": 272_000, "inputPrice": 0.6}],
}  # fmt: skip


def test_models_with_settings(client, db):
    """Clients check the list when they fetch it, and what they stored of it when they read that."""
    at = timezone.now()
    upstream = proxy.put_upstream(
        name="main", base_url="https://a.example/v1", api_key="k", by=None, at=at
    )
    versioned = {"3.36.4": SETTINGS, "3.40.0": {"supportsReasoningEffort": True}}
    proxy.put_model(
        model_id="v/m", upstream=upstream, upstream_model="m", price=proxy.NewPrice(USD, USD), by=None, at=at,
        facts=proxy.ModelFacts(tags=["vision"], settings=SETTINGS, versioned_settings=versioned),
    )  # fmt: skip
    body = client.get("/proxy/v1/models").json()
    assert body["data"][0]["settings"] == SETTINGS
    assert body["data"][0]["versionedSettings"] == versioned
    assert_accepted("RooModelsResponseSchema", body, BOTH)
    known = {"contextWindow": 1, "supportsPromptCache": False}
    assert_accepted("modelInfoSchema", {**known, **SETTINGS}, BOTH)


@pytest.mark.parametrize(
    "bad",
    [
        {"contextWindow": "1"}, {"supportsImages": None}, {"supportsReasoningEffort": ["much"]},
        {"reasoningEffort": "disable"}, {"includedTools": [1]}, {"tiers": [{"name": "flex"}]},
        {"inputPrice": "3"}, {"promptCacheRetention": "1h"},
    ],
)  # fmt: skip
def test_settings_that_clients_choke_on_are_refused(bad):
    known = {"contextWindow": 1, "supportsPromptCache": False}
    assert all(problems([("modelInfoSchema", {**known, **bad})])[0].values())
    with pytest.raises(ValidationError, match=next(iter(bad))):
        model_settings.check_settings(bad)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ([], "object"), ({"3.36": {}}, "3.36"), ({"latest": {}}, "latest"), ({"v1.2.3": {}}, "v1.2.3"),
        ({"1.2.3": {"typo": 1}}, "1.2.3: typo"), ({"1.2.3": None}, "1.2.3"),
    ],
)  # fmt: skip
def test_versioned_settings_name_versions(bad, named):
    with pytest.raises(ValidationError, match=named):
        model_settings.check_versioned_settings(bad)
