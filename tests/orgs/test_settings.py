"""Settings of organizations and people, read and written (protocol/settings.md)."""

import copy
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.utils import timezone

from accounts.models import UserSettings, UserSettingsRevision, VersionCounter
from accounts.versions import next_version
from audit.models import Entry
from orgs import actions, documents, queries
from orgs.models import SettingsRevision
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories

BASE = documents.dump(documents.DEFAULT)


def save(org, by, document, *, version=None, note=""):
    return actions.save_settings(
        organization=org,
        document=document,
        read_version=version or actions.current_revision(org).version,
        by=factories.actor(by, org),
        at=timezone.now(),
        note=note,
    )


def with_(**changes):
    return {**copy.deepcopy(BASE), **changes}


class TestReading:
    def get(self, client, person, org=None, **headers):
        headers = {**factories.bearer(person, org), "User-Agent": "node", **headers}
        return client.get("/api/extension-settings", headers=headers)

    def test_both_halves_are_there_for_a_personal_account(self, client, alice):
        answer = self.get(client, alice).json()
        assert answer["organization"]["allowList"] == {"allowAll": True, "providers": {}}
        assert answer["organization"]["cloudSettings"]["taskShareExpirationDays"] == 30
        assert answer["user"]["settings"] == {"taskSyncEnabled": True}
        assert set(answer["user"]) == {"version", "features", "settings"}

    def test_versions_are_unique_across_contexts_and_people(self, client, alice, bob, acme, evil):
        """Trap 15."""
        seen = []
        for person, org in ((alice, None), (alice, acme), (bob, None), (bob, acme)):
            answer = self.get(client, person, org).json()
            seen.append((org.pk if org else person.pk, answer["organization"]["version"]))
            seen.append((f"user of {person.pk}", answer["user"]["version"]))
        scopes = dict(seen)
        assert len(set(scopes.values())) == len(scopes) == 5

    def test_reading_again_changes_nothing(self, client, alice, acme):
        assert self.get(client, alice, acme).content == self.get(client, alice, acme).content

    def test_an_etag_saves_the_body(self, client, alice, acme):
        first = self.get(client, alice, acme)
        again = self.get(client, alice, acme, **{"If-None-Match": first["ETag"]})
        assert again.status_code == 304
        save(acme, alice, with_(hiddenMcps=["x"]))
        assert self.get(client, alice, acme, **{"If-None-Match": first["ETag"]}).status_code == 200

    @pytest.mark.parametrize(
        ("wanted", "status"),
        [
            ("{}", 304), ("W/{}", 304), ('"x", W/{}', 304), ('W/"x" , {}', 304), ("*", 304),
            ('"x"', 200), ("nonsense", 200), ("", 200), ('W/"1-1", "2-2"', 200),
        ],
    )  # fmt: skip
    def test_an_etag_is_compared_weakly(self, client, alice, acme, wanted, status):
        """RFC 9110 §13.1.2"""
        strong = self.get(client, alice, acme)["ETag"].removeprefix("W/")
        answer = self.get(client, alice, acme, **{"If-None-Match": wanted.format(strong)})
        assert answer.status_code == status

    def test_the_context_is_the_tokens(self, client, alice, acme):
        save(acme, alice, with_(hiddenMcps=["x"]))
        assert self.get(client, alice, acme).json()["organization"]["hiddenMcps"] == ["x"]
        assert "hiddenMcps" not in self.get(client, alice).json()["organization"]

    def test_old_clients_get_the_bare_half(self, client, alice, acme):
        answer = client.get("/api/organization-settings", headers=factories.bearer(alice, acme))
        assert answer.json() == self.get(client, alice, acme).json()["organization"]


BAD = [
    ({"cloudSettings": {"taskShareExpirationDays": 0}}, "cloudSettings.taskShareExpirationDays"),
    ({"cloudSettings": {"taskShareExpirationDays": 1.5}}, "cloudSettings.taskShareExpirationDays"),
    ({"cloudSettings": {"recordTaskMessages": None}}, "cloudSettings.recordTaskMessages"),
    ({"cloudSettings": {"workspaceTaskVisibility": "some"}}, "cloudSettings.workspaceTaskVisibility"),
    ({"cloudSettings": None}, "cloudSettings"),
    ({"defaultSettings": {"disabledTools": ["rm_rf"]}}, "defaultSettings.disabledTools[0]"),
    ({"defaultSettings": {"maxOpenTabsContext": -1}}, "defaultSettings.maxOpenTabsContext"),
    ({"allowList": {"allowAll": True}}, "allowList.providers"),
    ({"allowList": {"allowAll": False, "providers": {"roo": {"allowAll": False}}}}, "allowList.providers.roo"),
    ({"typo": 1}, "typo"),
    ({"version": 5}, "version"),
    ({"providerProfiles": {"a": {"apiProvider": "nope"}}}, "providerProfiles[...].apiProvider"),
    ({"providerProfiles": {"a": {"apiProvider": "poe"}}}, "providerProfiles[...].apiProvider"),
    ({"providerProfiles": {"a": {"id": "abc123"}}}, "providerProfiles[...].id"),
    ({"providerProfiles": {"a": {"moonshotBaseUrl": "https://evil.example"}}}, "providerProfiles[...].moonshotBaseUrl"),
    ({"mcps": [{"id": "a", "name": "a", "description": "", "url": "nope", "content": "{}"}]}, "mcps[0].url"),
    ({"mcps": [{"id": "a", "name": "a", "description": "", "url": "https://x.example", "content": "{"}]}, "mcps[0].content"),
    ({"mcps": [{"id": "a", "name": "a", "description": "", "url": "https://x.example", "content": "[" * 99_999}]}, "mcps[0].content"),
    ({"mcps": [{"id": "a", "name": "a", "description": "a\ud800b", "url": "https://x.example", "content": "{}"}]}, "mcps[0].description"),
    ({"hiddenMcps": ["fine", "not\x00fine"]}, "hiddenMcps[1]"),
    ({"allowList": {"allowAll": True, "providers": {"a\udfff": {"allowAll": True}}}}, "allowList.providers"),
    ({"a\x00": 1}, None),
]  # fmt: skip
#: JavaScript's URL parser throws at each.
NO_URLS = [
    "http://999.999.999.999", "http://1.2.3.4.5/", "http://08.1.1.1/", "http://a.0x/", "http://exa%20mple.com",
    "http://%zz/", "http://xn--/", "http://xn--a.com", "http://[v1.a]/", "http://[::1]x/", "http://[]/",
    "http://[fe80::1%25eth0]/", "http://a\x7fb/", "http://a:65536/", "http:///", "//a.example", "ftp://a.example",
    "http://xn--y9e.com/", "http://a b/", "https://",
]  # fmt: skip
URLS = [
    "https://a.example/x?y=z#w", "http://localhost:3000", "http://1.2.3.4/", "http://[::1]:8080/", "HTTP://A.Example",
    "https://xn--mnchen-3ya.de/", "https://a-b.example/%7Euser/(1)",
]  # fmt: skip
SECRETS = [
    "apiKey", "openRouterApiKey", "awsAccessKey", "rooApiKey", "poeApiKey", "vertexJsonCredentials",
    "openAiHeaders", "codebaseIndexOpenRouterApiKey", "litellmApiKey",
]  # fmt: skip


class TestWhatIsRefused:
    @pytest.mark.parametrize(("change", "field"), BAD)
    def test_what_a_client_would_drop_all_settings_for(self, change, field):
        """Trap 16."""
        with pytest.raises(InvalidInput) as refused:
            documents.parse(with_(**change))
        assert refused.value.field == field

    @pytest.mark.parametrize("key", ["url", "authorUrl"])
    def test_what_javascript_takes_for_no_url(self, key):
        """Trap 16."""
        mcp = {"id": "a", "name": "a", "description": "", "url": URLS[0], "content": "{}"}
        for url in URLS:
            documents.parse(with_(mcps=[{**mcp, key: url}]))
        for url in NO_URLS:
            with pytest.raises(InvalidInput) as refused:
                documents.parse(with_(mcps=[{**mcp, key: url}]))
            assert refused.value.field == f"mcps[0].{key}"

    @pytest.mark.parametrize("key", ["defaultSettings", "allowList"])
    def test_a_document_without_a_required_half(self, key):
        document = with_()
        del document[key]
        with pytest.raises(InvalidInput) as refused:
            documents.parse(document)
        assert refused.value.field == key

    @pytest.mark.parametrize("secret", SECRETS)
    def test_every_secret_in_a_profile(self, secret):
        """Trap 19: a client would keep some of them."""
        with pytest.raises(InvalidInput) as refused:
            documents.parse(with_(providerProfiles={"a": {secret: "sk-1"}}))
        assert refused.value.field.endswith(secret)

    def test_a_save_by_somebody_who_is_no_admin(self, bob, rhea, acme):
        """O1"""
        for person in (bob, rhea):
            with pytest.raises(Forbidden):
                save(acme, person, with_(hiddenMcps=["x"]))

    def test_half_a_character_in_the_form(self, client, alice, acme):
        """Trap 16: explained there, rather than stored and failing at every member's request."""
        client.force_login(alice)
        for key, value in (("hiddenMcps", ["a\ud800b"]), ("hiddenMcps", ["\x00"]), ("\ud800", 1)):
            fields = {
                "document": json.dumps(with_(**{key: value})),
                "form": "json",
                "read_version": 1,
            }
            answer = client.post(f"/organizations/{acme.pk}/settings/text", fields)
            assert b"must not hold NUL" in answer.content


class TestSaving:
    def test_keeps_every_revision_and_who_made_it(self, alice, adam, acme):
        first = actions.current_revision(acme).version
        second = save(acme, adam, with_(hiddenMcps=["x"]), note="hide x")

        assert second.previous_version == first
        assert (second.made_by_id, second.note) == (adam.pk, "hide x")
        assert SettingsRevision.unscoped.filter(organization=acme).count() == 2
        entry = Entry.objects.get(action="organization_settings.saved")
        assert entry.after == {"version": second.version, "changed": ["hiddenMcps"]}

    def test_what_an_earlier_rule_let_in_stays_readable(self, alice, acme):
        mcp = {"id": "a", "name": "a", "description": "", "url": "http://a.0x/", "content": "{}"}
        revision = actions.current_revision(acme)
        revision.document = with_(mcps=[mcp])
        revision.save(update_fields=["document"])
        settings = queries.organization_settings(factories.actor(alice, acme))
        assert settings.mcps[0].url == mcp["url"]

    def test_a_stale_version_is_refused(self, alice, acme):
        """D7"""
        stale = actions.current_revision(acme).version
        save(acme, alice, with_(hiddenMcps=["x"]))
        with pytest.raises(actions.VersionConflict):
            save(acme, alice, with_(hiddenMcps=["y"]), version=stale)

    def test_a_profile_keeps_its_id_through_a_rename(self, alice, acme):
        save(acme, alice, with_(providerProfiles={"fast": {"apiProvider": "roo"}}))
        profile = queries.organization_settings(factories.actor(alice, acme)).provider_profiles[
            "fast"
        ]
        assert profile.id.startswith("cloud_")
        renamed = {"quick": {"apiProvider": "roo", "id": profile.id}}
        save(acme, alice, with_(providerProfiles=renamed))
        stored = queries.organization_settings(factories.actor(alice, acme)).provider_profiles
        assert stored["quick"].id == profile.id

    def test_ids_of_elsewhere_and_doubled_ones_are_refused(self, alice, mallory, acme, evil):
        save(evil, mallory, with_(providerProfiles={"a": {}}))
        foreign = actions.current_revision(evil).document["providerProfiles"]["a"]["id"]
        for profiles in ({"a": {"id": foreign}}, {"a": {"id": "cloud_made-up"}}):
            with pytest.raises(InvalidInput):
                save(acme, alice, with_(providerProfiles=profiles))
        save(acme, alice, with_(providerProfiles={"a": {}}))
        own = actions.current_revision(acme).document["providerProfiles"]["a"]["id"]
        with pytest.raises(InvalidInput):
            save(acme, alice, with_(providerProfiles={"a": {"id": own}, "b": {"id": own}}))

    def test_all_profiles_can_be_removed(self, alice, acme):
        """Trap 19: ``{}`` reaches the client."""
        save(acme, alice, with_(providerProfiles={}))
        assert (
            queries.settings_document(actions.current_revision(acme).version)["providerProfiles"]
            == {}
        )

    def test_a_rollback_is_a_new_version(self, alice, acme):
        """O1"""
        first = actions.current_revision(acme)
        second = save(acme, alice, with_(hiddenMcps=["x"]))
        third = actions.roll_back(
            organization=acme,
            to_version=first.version,
            read_version=second.version,
            by=factories.actor(alice, acme),
            at=timezone.now(),
        )
        assert third.document == first.document
        assert third.version > second.version

    @pytest.mark.django_db(transaction=True)
    def test_of_many_writers_none_overwrites_another(self, alice, acme):
        """D7: who read a stale version gets a conflict; the chain has no fork."""
        actor = factories.actor(alice, acme)

        def write(number: int) -> bool:
            try:
                actions.save_settings(
                    organization=acme,
                    document=with_(hiddenMcps=[str(number)]),
                    read_version=actions.current_revision(acme).version,
                    by=actor,
                    at=timezone.now(),
                )
            except actions.VersionConflict:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(8) as pool:
            saved = sum(pool.map(write, range(40)))

        rows = list(SettingsRevision.unscoped.filter(organization=acme).order_by("version"))
        assert len(rows) == saved + 1
        chain = [(row.previous_version, row.version) for row in rows]
        assert all(left[1] == right[0] for left, right in itertools.pairwise(chain))

    def test_version_numbers_have_no_gaps(self, alice, acme):
        """D7: a rollback gives the number back."""
        from django.db import transaction

        before = VersionCounter.objects.get().value
        with transaction.atomic():
            assert next_version() == before + 1
            transaction.set_rollback(True)
        assert save(acme, alice, with_(hiddenMcps=["x"])).version == before + 1


class TestUserSettings:
    def send(self, client, person, body, method="patch", **extra):
        return getattr(client, method)(
            "/api/user-settings",
            body if isinstance(body, bytes) else json.dumps(body),
            content_type="application/json",
            headers=factories.bearer(person, **extra),
        )

    def test_the_clients_patch_gets_the_whole_answer_with_a_greater_version(self, client, bob):
        """Trap 17."""
        first = self.send(client, bob, {"settings": {"taskSyncEnabled": False}}).json()
        second = self.send(
            client,
            bob,
            {"settings": {"extensionBridgeEnabled": True}, "version": first["version"]},
        ).json()
        assert second["version"] > first["version"]
        assert second["settings"] == {"taskSyncEnabled": False, "extensionBridgeEnabled": True}
        assert set(second) == {"version", "features", "settings"}

    def test_the_guides_post_of_bare_keys_works(self, client, bob):
        answer = self.send(client, bob, {"taskSyncEnabled": False}, method="post")
        assert answer.json()["settings"] == {"taskSyncEnabled": False}

    def test_no_change_still_raises_the_version(self, client, bob):
        one = self.send(client, bob, {"settings": {}}).json()["version"]
        assert self.send(client, bob, {"settings": {}}).json()["version"] > one

    def test_a_stale_version_gets_the_current_settings(self, client, bob):
        current = self.send(client, bob, {"settings": {"taskSyncEnabled": False}}).json()
        answer = self.send(client, bob, {"settings": {"taskSyncEnabled": True}, "version": 1})
        assert answer.status_code == 409
        assert answer.json()["error"] == "version_conflict"
        assert answer.json()["current"] == current

    def test_unknown_keys_are_ignored(self, client, bob):
        answer = self.send(client, bob, {"settings": {"fromTheFuture": 1}})
        assert answer.json()["settings"] == {"taskSyncEnabled": True}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"settings": {"taskSyncEnabled": "yes"}}, "settings.taskSyncEnabled"),
            ({"settings": {"taskSyncEnabled": None}}, "settings.taskSyncEnabled"),
            ({"settings": []}, "settings"),
            ({"settings": {}, "version": "1"}, "version"),
            ({"settings": {}, "version": 1.5}, "version"),
            ([], None),
            (b"{", None),
        ],
    )
    def test_bad_input_names_the_field(self, client, bob, body, field):
        answer = self.send(client, bob, body)
        assert answer.status_code == 400
        assert answer.json()["success"] is False
        assert answer.json().get("field") == field

    def test_settings_belong_to_the_person_in_every_context(self, client, bob, acme):
        self.send(client, bob, {"settings": {"taskSyncEnabled": False}}, org=acme)
        assert UserSettings.unscoped.get().document == {"taskSyncEnabled": False}

    def test_every_version_stays(self, client, bob):
        for value in (True, False, True):
            self.send(client, bob, {"settings": {"taskSyncEnabled": value}})
        versions = UserSettingsRevision.unscoped.order_by("version").values_list(
            "version", flat=True
        )
        assert len(versions) == len(set(versions)) == 4

    @pytest.mark.django_db(transaction=True)
    def test_two_first_reads_at_once_make_one(self, client, bob):
        from accounts import user_settings

        def read(_: int) -> int:
            try:
                return user_settings.current(user_id=bob.pk, at=timezone.now()).version
            finally:
                connections.close_all()

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(read, range(12)))) == 1
