"""The forms of the policy editor, made of the declared types."""

import random
import re

import msgspec
import pytest

from orgs import documents, fields
from orgs.models import SettingsDraft
from orgs.settings_forms import AllowListForm, StructForm, part_of, parts_of
from roocloud.lib.refusals import InvalidInput
from tests.contract.test_documents import struct_of
from tests.orgs.test_settings_pages import MCP

SIMPLE = [one for one in fields.SECTIONS if one.parts]
BASE = documents.dump(documents.DEFAULT)


@pytest.fixture
def path(acme) -> str:
    return f"/organizations/{acme.pk}/settings"


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def drafted() -> dict:
    return SettingsDraft.unscoped.get().document


def test_every_field_has_a_control_and_is_explained():
    """Of profiles, those whose name does not say what they are."""
    shown = set()
    for section in SIMPLE:
        for path, shape, infos in parts_of(section):
            assert all(f"{shape}.{info.encode_name}" in fields.HELP for info in infos)
            shown |= {f"{path}.{info.encode_name}".strip(".") for info in infos}
    shown |= {"allowList", "mcps", "providerProfiles"}  # which have pages of their own
    for info in msgspec.structs.fields(documents.OrganizationSettings):
        name = info.encode_name
        assert name in shown or any(one.startswith(f"{name}.") for one in shown), name
    for info in msgspec.structs.fields(documents.Mcp):
        assert f"Mcp.{info.encode_name}" in fields.HELP


def test_every_field_of_a_profile_is_shown_for_some_provider():
    for info in fields.profile_fields():
        assert any(
            fields.is_of_provider(info.encode_name, provider) for provider in fields.providers()
        ), info.encode_name


def test_what_a_form_shows_is_what_it_gives_back():
    """Nothing is lost by opening a page and saving it, or the page says so."""
    rng = random.Random(5)  # noqa: S311 - repeatable, not secret
    seen = 0
    for _ in range(60):
        document = struct_of(rng, documents.OrganizationSettings)
        forms = [StructForm(parts_of(section), document) for section in SIMPLE]
        for profile in document.get("providerProfiles", {}).values():
            names = [info.encode_name for info in fields.profile_fields()]
            forms.append(StructForm(part_of(documents.ProviderProfile, names), profile))
        forms += [StructForm(part_of(documents.Mcp), mcp) for mcp in document.get("mcps", [])]
        for form in forms:
            seen += form.shows_all()
            again = type(form)(form._parts, form._before, form.initial)
            if again.is_valid() and not form.shows_all():
                assert again.applied() != form._before
        shown = AllowListForm(document)
        allowed = AllowListForm(document, {name: shown[name].initial for name in shown.fields})
        assert allowed.is_valid()
        assert allowed.applied() == document
    assert seen > 200


class TestAPart:
    def test_is_kept_as_it_was_entered(self, browser, path, acme):
        entered = {
            "cloudSettings.recordTaskMessages": "false",
            "cloudSettings.taskShareExpirationDays": "7",
            "cloudSettings.workspaceTaskVisibility": "creator",
            "features.roomoteControlEnabled": "true",
            "do": "keep",
        }
        answer = browser.post(f"{path}/edit/tasks", entered)
        assert answer["Location"] == f"{path}/edit/tasks"
        assert drafted()["cloudSettings"] == {
            "recordTaskMessages": False,
            "taskShareExpirationDays": 7,
            "workspaceTaskVisibility": "creator",
        }
        assert drafted()["features"] == {"roomoteControlEnabled": True}
        assert drafted()["allowList"] == BASE["allowList"]

    @pytest.mark.parametrize("typed", ["0", "1.5", "x", "1e400", "9" * 200, "null"])
    def test_says_beside_the_field_what_is_wrong_and_keeps_it(self, browser, path, typed):
        name = "cloudSettings.taskShareExpirationDays"
        answer = browser.post(f"{path}/edit/tasks", {name: typed, "do": "review"})
        assert answer.status_code == 400
        page = answer.content.decode()
        (field,) = [f for f in page.split('<div class="field"') if f'name="{name}"' in f]
        assert 'data-state="error"' in field[:30]
        assert f'value="{typed}"' in field
        assert "errorlist" in field
        assert not SettingsDraft.unscoped.exists()

    def test_of_lists_and_choices(self, browser, path):
        browser.post(f"{path}/edit/defaults", {"defaultSettings.disabledTools": ["edit", "skill"]})
        browser.post(f"{path}/edit/marketplace", {"hiddenMcps": " a \r\n\r\nb", "do": "keep"})
        assert drafted()["defaultSettings"] == {"disabledTools": ["edit", "skill"]}
        assert drafted()["hiddenMcps"] == ["a", "b"]

    def test_unknown_is_not_there(self, browser, path):
        assert browser.get(f"{path}/edit/nothing").status_code == 404
        assert browser.post(f"{path}/edit/text").status_code == 404


class TestAllowedModels:
    def test_are_chosen_by_provider(self, browser, path):
        entered = {
            "allow_all": "false",
            "roo:is": "all",
            "anthropic:is": "some",
            "anthropic:models": "claude-a\nclaude-b\n",
        }
        assert browser.post(f"{path}/edit/models", entered).status_code == 302
        assert drafted()["allowList"] == {
            "allowAll": False,
            "providers": {
                "roo": {"allowAll": True},
                "anthropic": {"allowAll": False, "models": ["claude-a", "claude-b"]},
            },
        }

    def test_no_list_is_offered_where_no_client_can_match_one(self, browser, path):
        """Trap 18."""
        page = browser.get(f"{path}/edit/models").content.decode()
        assert 'name="anthropic:models"' in page
        assert 'name="roo:models"' not in page

    @pytest.mark.parametrize("provider", ["roo", "minimax", "zai", "unknown"])
    def test_a_policy_that_nobody_could_work_under_is_refused(self, provider):
        """Trap 18, PO1"""
        entry = {"allowAll": False, "models": ["m"]}
        document = {**BASE, "allowList": {"allowAll": False, "providers": {provider: entry}}}
        with pytest.raises(InvalidInput) as refused:
            documents.parse(document)
        assert refused.value.field == f"allowList.providers.{provider}"


class TestProfiles:
    def test_one_is_added_renamed_and_removed(self, browser, path):
        page = browser.get(f"{path}/profile?provider=anthropic").content.decode()
        assert 'name="anthropicBaseUrl"' in page
        assert 'name="openRouterModelId"' not in page
        assert not re.search(r'name="\w*(apiKey|ApiKey|secret)', page)
        entered = {"profile_name": "fast", "apiProvider": "roo", "apiModelId": "a/b"}
        browser.post(f"{path}/profile", entered)
        assert drafted()["providerProfiles"] == {
            "fast": {"apiProvider": "roo", "apiModelId": "a/b"}
        }
        renamed = {**entered, "profile_name": "quick", "modelTemperature": "null"}
        browser.post(f"{path}/profile?name=fast", renamed)
        quick = {"apiProvider": "roo", "apiModelId": "a/b", "modelTemperature": None}
        assert drafted()["providerProfiles"] == {"quick": quick}
        assert b"quick" in browser.get(f"{path}/edit/profiles").content
        browser.post(f"{path}/profile?name=quick", {"do": "remove"})
        assert drafted()["providerProfiles"] == {}  # trap 19

    def test_other_fields_are_shown_for_another_provider(self, browser, path):
        entered = {"profile_name": "x", "apiProvider": "ollama", "do": "show"}
        page = browser.post(f"{path}/profile?provider=roo", entered).content.decode()
        assert 'name="ollamaModelId"' in page
        assert 'value="x"' in page
        assert not SettingsDraft.unscoped.exists()

    def test_errors_are_beside_the_field(self, browser, path):
        entered = {"profile_name": "x", "apiProvider": "ollama", "ollamaNumCtx": "5"}
        answer = browser.post(f"{path}/profile?provider=ollama", entered)
        assert answer.status_code == 400
        (field,) = [
            f for f in answer.content.decode().split('<div class="field"') if "ollamaNumCtx" in f
        ]
        assert 'data-state="error"' in field
        browser.post(f"{path}/profile", {"profile_name": "x", "apiProvider": "roo"})
        again = browser.post(f"{path}/profile", {"profile_name": "x", "apiProvider": "roo"})
        assert b"another profile of this name" in again.content

    def test_of_a_name_that_is_none_there_is_no_page(self, browser, path):
        assert browser.get(f"{path}/profile?name=x").status_code == 404


class TestMcps:
    def test_one_is_added_changed_and_removed(self, browser, path):
        browser.post(f"{path}/mcp", MCP)
        assert drafted()["mcps"] == [MCP]
        ways = "- {name: npx, content: '{}'}\n"
        browser.post(f"{path}/mcp?index=0", {**MCP, "content": ways, "tags": "a\nb"})
        assert drafted()["mcps"] == [
            {**MCP, "content": [{"name": "npx", "content": "{}"}], "tags": ["a", "b"]}
        ]
        assert b"npx" in browser.get(f"{path}/mcp?index=0").content
        browser.post(f"{path}/mcp?index=0", {"do": "remove"})
        assert drafted()["mcps"] == []

    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("url", "nope"),
            ("content", "{"),
            ("content", ""),
            ("id", ""),
            ("parameters", "- {x: 1}"),
        ],
    )
    def test_errors_are_beside_the_field(self, browser, path, field, typed):
        answer = browser.post(f"{path}/mcp", {**MCP, field: typed})
        assert answer.status_code == 400
        (shown,) = [
            f for f in answer.content.decode().split('<div class="field"') if f'name="{field}"' in f
        ]
        assert 'data-state="error"' in shown

    def test_of_a_place_that_is_none_there_is_no_page(self, browser, path):
        for place in ("0", "x", "-1", "9" * 50):
            assert browser.get(f"{path}/mcp?index={place}").status_code == 404
