"""An invalid settings document cannot be stored by form, JSON, YAML, file, rule, admin or command, and
what is stored parses with both published schemas (trap 16)."""

import copy
import io
import json
import random
from functools import cache
from itertools import cycle

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from orgs import actions, documents, texts
from orgs.fields import SECTIONS
from orgs.models import SettingsDraft, SettingsRevision
from orgs.settings_forms import AllowListForm, StructForm, part_of, parts_of
from roocloud.lib.refusals import InvalidInput
from tests import factories
from tests.contract.zod import problems
from tests.orgs.test_settings_pages import current

COUNT = 200
VALID = {
    "defaultSettings": {"maxOpenTabsContext": 20, "enableCheckpoints": True, "disabledTools": ["skill"],
                        "fuzzyMatchThreshold": 0.5},
    "allowList": {"allowAll": False, "providers": {
        "roo": {"allowAll": True}, "openrouter": {"allowAll": False, "models": ["a/b"]}}},
    "cloudSettings": {"recordTaskMessages": True, "taskShareExpirationDays": 30,
                      "workspaceTaskVisibility": "all"},
    "features": {"roomoteControlEnabled": True},
    "hiddenMcps": ["x"], "hideMarketplaceMcps": False,
    "mcps": [{"id": "a", "name": "A", "description": "", "url": "https://a.example/",
              "content": [{"name": "npx", "content": "{}", "prerequisites": ["node"]}],
              "parameters": [{"name": "Key", "key": "k", "optional": True}], "tags": ["t"]}],
    "providerProfiles": {"fast": {"apiProvider": "roo", "apiModelId": "a/b", "modelTemperature": 0.5,
                                  "moonshotBaseUrl": "https://api.moonshot.ai/v1"}},
}  # fmt: skip
#: Values that some place does not take.
JUNK = [
    None, True, "", "text", "x\x00y", 0, -1, 1.5, 2**60, 10**99, [], {}, [None], {"a": 1}, "http://", "fake", ["rm_rf"],
    "9" * 50, "🙂" * 5, [[]], {"": ""}, "true",
]  # fmt: skip


def places(value, path=()):
    """The path of everything in a document."""
    yield path
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def mutated(rng: random.Random) -> dict:
    """The valid document with one thing else, gone or too much, somewhere."""
    document = copy.deepcopy(VALID)
    *before, last = rng.choice([path for path in places(VALID) if path])
    parent = document
    for key in before:
        parent = parent[key]
    kind = rng.randrange(4)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(["typo", "version", "apiKey", "rooApiKey", "openAiHeaders"])] = (
            rng.choice(JUNK)
        )
    else:
        parent[last] = rng.choice(JUNK)
    return document


MUTATIONS = [mutated(random.Random(seed)) for seed in range(COUNT)]  # noqa: S311 - repeatable


@pytest.fixture
def path(acme) -> str:
    return f"/organizations/{acme.pk}/settings"


@pytest.fixture
def browser(client, alice, acme):
    client.force_login(alice)
    actions.save_settings(
        organization=acme, document=VALID, read_version=current(acme).version,
        by=factories.actor(alice, acme), at=timezone.now(),
    )  # fmt: skip
    return client


def every_stored() -> list[dict]:
    rows = [*SettingsRevision.unscoped.all(), *SettingsDraft.unscoped.all()]
    return [row.document for row in rows]


def objections(stored: list[dict]) -> list:
    cases = [("organizationSettingsSchema", {"version": 1, **document}) for document in stored]
    return [found for found in problems(cases) if any(found.values())]


@cache
def wrong() -> list[bool]:
    """Of each mutation, whether a client would drop all settings for it, or would keep a secret."""
    cases = [("organizationSettingsSchema", {"version": 1, **document}) for document in MUTATIONS]
    is_refused = []
    for found, document in zip(problems(cases), MUTATIONS, strict=True):
        has_secret = any(key in json.dumps(document) for key in ("ApiKey", "apiKey", "Headers"))
        is_refused.append(any(found.values()) or has_secret)
    return is_refused


def test_the_mutations_are_mostly_wrong():
    """Otherwise the tests below would prove little."""
    assert COUNT * 0.5 < sum(wrong()) < COUNT


def by_text(form):
    def send(browser, path, acme, document):
        fields = {
            "document": texts.write(document, form),
            "form": form,
            "read_version": current(acme).version,
        }
        return browser.post(f"{path}/text", fields).status_code == 302

    return send


def by_file(browser, path, acme, document):
    file = io.BytesIO(json.dumps(document).encode())
    file.name = "policy.json"
    fields = {"file": file, "form": "json", "read_version": current(acme).version}
    return browser.post(f"{path}/text", fields).status_code == 302


def by_rule(browser, path, acme, document):
    by = factories.actor(browser.alice, acme)
    is_taken = False
    for rule, more in (
        (actions.save_settings, {}), (actions.keep_draft, {}), (actions.propose, {"note": ""}),
    ):  # fmt: skip
        try:
            rule(organization=acme, document=document, read_version=current(acme).version, by=by,
                 at=timezone.now(), **more)  # fmt: skip
            is_taken = True
        except InvalidInput:
            pass
    return is_taken


def by_command(browser, path, acme, document):
    browser.file.write_text(texts.write(document, "yaml"))
    try:
        call_command(
            "org_settings", "import", "Acme", str(browser.file), "--as", "alice@acme.example",
            stdout=io.StringIO(),
        )  # fmt: skip
    except CommandError:
        return False
    return True


TABLES = cycle(["settingsrevision", "settingsdraft"])


def by_admin(browser, path, acme, document):
    page = reverse(f"admin:orgs_{next(TABLES)}_add")
    fields = {"document": json.dumps(document), "organization": acme.pk, "version": 10**9}
    return browser.post(page, fields).status_code != 403


DOORS = {
    "JSON": by_text("json"), "YAML": by_text("yaml"), "file": by_file, "rule": by_rule,
    "command": by_command, "admin": by_admin,
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_nothing_invalid_is_stored_by(door, browser, path, acme, alice, tmp_path):
    """Trap 16: 200 mutations of a valid document."""
    browser.alice, browser.file = alice, tmp_path / "policy.yaml"
    if door == "admin":
        browser.force_login(factories.user("root@x.example", is_staff=True, is_superuser=True))
    taken = [DOORS[door](browser, path, acme, document) for document in MUTATIONS]
    assert not any(one and bad for one, bad in zip(taken, wrong(), strict=True))
    assert (sum(taken) > 0) == (door != "admin")
    assert objections(every_stored()) == []


def test_nothing_invalid_is_stored_by_a_form(browser, path, acme):
    """Trap 16: 200 forms with something else in a field."""
    rng = random.Random(9)  # noqa: S311 - repeatable, not secret
    document = documents.dump(documents.parse(VALID))
    pages = [
        (f"edit/{section.slug}", StructForm(parts_of(section), document)) for section in SECTIONS if section.parts
    ]  # fmt: skip
    profile = StructForm(part_of(documents.ProviderProfile), document["providerProfiles"]["fast"])
    profile.initial["profile_name"] = "fast"
    pages += [
        ("edit/models", AllowListForm(document)),
        ("profile?name=fast", profile),
        ("mcp?index=0", StructForm(part_of(documents.Mcp), document["mcps"][0])),
    ]
    typed = [
        "",
        "x",
        "0",
        "-1",
        "1.5",
        "null",
        "true",
        "9" * 60,
        "{",
        "- a: 1",
        "[1, 2]",
        "http://",
        "a\x00b",
        "fake",
        "ü\n\nü",
    ]
    statuses, kept = [], []
    for _ in range(COUNT):
        page, form = rng.choice(pages)
        fields = {
            name: form[name].initial for name in form.fields if name in form.initial or "_" in name
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        fields[rng.choice(list(form.fields))] = rng.choice(typed)
        statuses.append(browser.post(f"{path}/{page}", {**fields, "do": "keep"}).status_code)
        kept += SettingsDraft.unscoped.values_list("document", flat=True)
    assert objections(kept) == []
    assert set(statuses) == {302, 400}
    assert statuses.count(400) > COUNT * 0.2


def test_no_route_of_the_api_writes_them(client, alice, acme):
    headers = factories.bearer(alice, acme)
    for route in ("/api/extension-settings", "/api/organization-settings"):
        for method in ("post", "put", "patch", "delete"):
            answer = getattr(client, method)(
                route, json.dumps(VALID), content_type="application/json", headers=headers
            )
            assert answer.status_code == 405
