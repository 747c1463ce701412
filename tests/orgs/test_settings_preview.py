"""What a member's editor would receive, and what each client makes of it."""

import html
import random

import pytest

from accounts.models import UserSettings
from orgs import clients, documents
from tests import factories
from tests.contract.test_documents import struct_of
from tests.contract.zod import parsed
from tests.orgs.test_drafts import propose
from tests.orgs.test_settings_pages import current, enter, somebody_saves

TYPES = {"Roo Code 3.51.0 and newer": "1.115.0", "Roo Code 3.26.3 to 3.50.5": "1.89.0"}


@pytest.fixture
def path(acme) -> str:
    return f"/organizations/{acme.pk}/settings"


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def shown(answer) -> str:
    return html.unescape(answer.content.decode())


def test_it_is_the_answer_of_that_members_editor(browser, client, path, alice, bob, acme):
    answer = client.get("/api/extension-settings", headers=factories.bearer(bob, acme)).json()
    page = shown(browser.get(f"{path}/preview", {"member": bob.pk}))
    for version in (answer["organization"]["version"], answer["user"]["version"]):
        assert f'"version": {version}' in page


def test_looking_makes_nothing(browser, path, bob):
    assert browser.get(f"{path}/preview", {"member": bob.pk}).status_code == 200
    assert not UserSettings.unscoped.filter(pk=bob.pk).exists()


def test_it_can_be_of_what_i_changed_and_of_a_proposal(browser, path, adam, acme):
    enter(browser, path, acme, hiddenMcps=["mine"])
    draft = propose(adam, acme, hiddenMcps=["theirs"])
    for of, said in (("mine", "mine"), (draft.pk, "theirs")):
        assert f'"{said}"' in shown(browser.get(f"{path}/preview", {"of": of}))
    assert "hiddenMcps" not in shown(browser.get(f"{path}/preview", {"of": "now"}))


def test_of_strangers_and_unknown_drafts_there_is_none(browser, path, mallory, evil):
    """A1"""
    foreign = propose(mallory, evil, hiddenMcps=["x"])
    for asked in ({"member": mallory.pk}, {"of": foreign.pk}, {"of": "nothing"}):
        assert browser.get(f"{path}/preview", asked).status_code == 404


def test_profiles_that_the_allow_list_stops_are_named(browser, path, adam, acme):
    """PO1"""
    somebody_saves(
        acme, adam,
        providerProfiles={
            "here": {"apiProvider": "roo", "apiModelId": "a/b"},
            "listed": {"apiProvider": "openrouter", "openRouterModelId": "x/y"},
            "other": {"apiProvider": "openrouter", "openRouterModelId": "x/z"},
            "local": {"apiProvider": "vscode-lm", "vsCodeLmModelSelector": {"id": "m"}},
            "none": {},
        },
        allowList={
            "allowAll": False,
            "providers": {
                "roo": {"allowAll": True},
                "openrouter": {"allowAll": False, "models": ["x/y"]},
                "vscode-lm": {"allowAll": False, "models": ["m"]},
            },
        },
    )  # fmt: skip
    found = {
        name: runs for name, _, runs in clients.profiles_run(documents.load(current(acme).document))
    }
    assert found == {"here": True, "listed": True, "other": False, "local": True, "none": False}
    assert shown(browser.get(f"{path}/preview")).count("Refused") == 2


def test_what_each_version_drops_is_what_its_schema_drops():
    """N5: the verdict is that of the published schemas."""
    rng = random.Random(8)  # noqa: S311 - repeatable, not secret
    seen = set()
    for _ in range(40):
        document = struct_of(rng, documents.OrganizationSettings) | {"mcps": []}
        read = parsed("organizationSettingsSchema", {"version": 1, **document})
        for verdict in clients.verdicts(document):
            left = read[TYPES[verdict.client.name]]
            dropped = {
                f"{key}.{name}"
                for key in ("cloudSettings", "defaultSettings", "features")
                for name in document.get(key, {}).keys() - left.get(key, {}).keys()
            }
            for name, profile in document.get("providerProfiles", {}).items():
                gone = profile.keys() - left["providerProfiles"][name].keys()
                dropped |= {f"providerProfiles.{key}" for key in gone}
            assert set(verdict.unread) == dropped
            seen |= dropped
    assert seen == {path for client in clients.CLIENTS for path in client.unread}
