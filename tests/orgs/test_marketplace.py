"""The marketplace that editors read (protocol/tasks-and-telemetry.md §9)."""

import io
import json

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from audit.models import Entry
from orgs import actions, items, texts
from orgs.models import MarketplaceItem
from roocloud.lib.fresh import forget_everything
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories
from tests.contract.zod import assert_accepted
from tests.orgs.test_settings_pages import MCP, somebody_saves

CONTENT = "slug: docs\nname: Docs\nroleDefinition: You write.\ngroups: [read, [edit, {fileRegex: '\\.md$'}]]\n"
MODE = {"id": "docs", "name": "Docs", "description": "", "content": CONTENT, "tags": ["no", "1e3"]}
VERSIONS = {"1.115.0", "1.89.0"}


def put(value, org=None, by=None):
    return actions.put_item(organization=org, item=items.parse(value), by=by, at=timezone.now())


def read(client, what, **headers):
    forget_everything()
    answer = client.get(
        f"/api/marketplace/{what}", headers={"Accept": "application/json", **headers}
    )
    assert answer.status_code == 200
    text = answer.content.decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)  # trap 27
    return yaml.safe_load(text)["items"]


class TestReading:
    def test_nothing_is_a_list_and_no_json(self, client, db):
        """Trap 27."""
        assert read(client, "modes") == read(client, "mcps") == []

    def test_every_item_is_accepted_by_both_versions(self, client, db):
        put(MODE)
        put(
            {**MCP, "content": [{"name": "npx", "content": "{}"}], "authorUrl": "https://a.example"}
        )
        put({**MCP, "id": "n", "parameters": [{"name": "Key", "key": "k", "optional": True}]})
        assert read(client, "modes") == [MODE]
        for mode in read(client, "modes"):
            assert_accepted("modeMarketplaceItemSchema", mode, VERSIONS)
            assert_accepted("modeConfigSchema", yaml.safe_load(mode["content"]), VERSIONS)
        mcps = read(client, "mcps")
        assert [one["id"] for one in mcps] == ["m", "n"]
        for mcp in mcps:
            assert_accepted("mcpMarketplaceItemSchema", mcp, VERSIONS)

    def test_an_organizations_mode_is_for_its_tokens_until_it_is_for_everybody(
        self, client, alice, mallory, acme, evil
    ):
        """A1"""
        row = put({**MODE, "name": "Ours"}, acme, factories.actor(alice, acme))
        assert [one["name"] for one in read(client, "modes", **factories.bearer(alice, acme))] == [
            "Ours"
        ]
        for headers in ({}, factories.bearer(mallory, evil), factories.bearer(alice)):
            assert read(client, "modes", **headers) == []
        root = factories.user("root@x.example", is_staff=True)
        actions.offer_to_everybody(
            row=row, is_offered=True, by=factories.actor(root), at=timezone.now()
        )
        put(MODE)
        assert len(read(client, "modes")) == 1  # of two with the same id one
        ours = read(client, "modes", **factories.bearer(alice, acme))
        assert [one["name"] for one in ours] == ["Ours"]

    def test_a_token_that_is_not_good_is_none(self, client, db):
        put(MODE)
        assert len(read(client, "modes", Authorization="Bearer nonsense")) == 1

    def test_what_the_organization_hides_is_hidden_from_its_tokens(self, client, alice, adam, acme):
        put(MCP)
        put({**MCP, "id": "n"})
        bearer = factories.bearer(alice, acme)
        somebody_saves(acme, adam, hiddenMcps=["m"])
        assert [one["id"] for one in read(client, "mcps", **bearer)] == ["n"]
        somebody_saves(acme, adam, hideMarketplaceMcps=True)
        assert read(client, "mcps", **bearer) == []
        assert len(read(client, "mcps")) == 2

    def test_it_is_one_query_for_everybody(self, client, db, django_assert_num_queries):
        for number in range(20):
            put({**MODE, "id": str(number)})
        forget_everything()
        with django_assert_num_queries(1):
            client.get("/api/marketplace/modes")
        with django_assert_num_queries(0):
            client.get("/api/marketplace/modes")


BAD = [
    ({**MODE, "name": ""}, "name"), ({**MODE, "description": None}, "description"), ({**MODE, "x": 1}, "x"),
    ({**MODE, "content": "slug: a b\nname: n\nroleDefinition: r\ngroups: []"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: ''\ngroups: []"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: r\ngroups: [read, read]"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: r\ngroups: [[edit, {fileRegex: '('}]]"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: r\ngroups: [[edit, {fileRegex: '(?i)x'}]]"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: r\ngroups: [[edit, {fileRegex: 'a++'}]]"}, "content"),
    ({**MODE, "content": "slug: a\nname: n\nroleDefinition: r\ngroups: [nope]"}, "content"),
    ({**MODE, "content": "- a"}, "content"), ({**MODE, "content": "a: [1"}, "content"),
    ({**MODE, "authorUrl": "nope"}, "authorUrl"), ({**MODE, "type": "mcp"}, "type"), ({**MODE, "id": "a\0"}, "id"),
    ({**MCP, "url": "nope"}, "url"), ({**MCP, "content": "{"}, "content"), ("text", None), ([], None),
]  # fmt: skip


class TestKeeping:
    @pytest.mark.parametrize(("value", "field"), BAD)
    def test_what_would_empty_the_marketplace_is_refused(self, value, field):
        with pytest.raises(InvalidInput) as refused:
            items.parse(value)
        assert refused.value.field == field

    def test_the_deployments_items_are_the_administrators(self, alice, acme):
        with pytest.raises(Forbidden):
            put(MODE, None, factories.actor(alice, acme))

    def test_an_organizations_are_its_admins_and_modes_alone(self, alice, bob, mallory, acme, evil):
        for person, org in ((bob, acme), (mallory, evil)):
            with pytest.raises(Forbidden):
                put(MODE, acme, factories.actor(person, org))
        with pytest.raises(InvalidInput):
            put(MCP, acme, factories.actor(alice, acme))

    def test_each_change_is_audited(self, alice, acme):
        """L4"""
        by = factories.actor(alice, acme)
        row = put(MODE, acme, by)
        put(MODE, acme, by)
        put({**MODE, "name": "D"}, acme, by)
        actions.remove_item(row=row, by=by, at=timezone.now())
        rows = Entry.objects.filter(action__startswith="marketplace_item.")
        done = sorted(entry.action.partition(".")[2] for entry in rows)
        assert done == ["removed", "saved", "saved"]


class TestPages:
    @pytest.fixture
    def path(self, acme):
        return f"/organizations/{acme.pk}/marketplace"

    @pytest.fixture
    def browser(self, client, alice):
        client.force_login(alice)
        return client

    def test_a_mode_is_written_changed_and_removed(self, browser, path):
        fields = {**MODE, "tags": "no\n1e3"}
        assert browser.post(f"{path}/new", fields)["Location"] == path
        row = MarketplaceItem.unscoped.get()
        assert row.document == MODE
        page = f"{path}/{row.pk}"
        browser.post(page, {**fields, "name": "Doku", "id": "doku"})
        row.refresh_from_db()
        assert (row.name, row.item_id) == ("Doku", "doku")
        assert b"Doku" in browser.get(path).content
        browser.post(page, {"do": "remove"})
        assert not MarketplaceItem.unscoped.exists()

    def test_errors_are_beside_the_field(self, browser, path):
        browser.post(f"{path}/new", MODE)
        for change, said in (({"content": "- a"}, b"is no mode"), ({"id": ""}, b"required")):
            answer = browser.post(f"{path}/new", {**MODE, **change})
            assert answer.status_code == 400
            assert said in answer.content
        browser.post(f"{path}/new", {**MODE, "id": "other"})
        row = MarketplaceItem.unscoped.get(item_id="other")
        answer = browser.post(f"{path}/{row.pk}", MODE)
        assert b"another item with this id" in answer.content

    def test_a_file_of_them_is_taken_whole(self, browser, path):
        def upload(value, name="modes.yaml"):
            file = io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())
            file.name = name
            return browser.post(path, {"file": file})

        assert upload({"items": [MODE, {**MODE, "id": "b"}]}).status_code == 302
        assert MarketplaceItem.unscoped.count() == 2
        for bad in ([MODE, {**MODE, "id": ""}], b"\xff", b"a: [", [MCP], b""):
            answer = upload(bad)
            assert answer.status_code == 400
            assert b"errorlist" in answer.content
        assert MarketplaceItem.unscoped.count() == 2


class TestTheCommand:
    def run(self, *arguments):
        out = io.StringIO()
        call_command("import_marketplace", *map(str, arguments), stdout=out)
        return out.getvalue()

    def test_takes_a_folder_and_keeps_it_in_step(self, tmp_path, db):
        (tmp_path / "sub").mkdir()
        (tmp_path / "modes.yaml").write_text(texts.write({"items": [MODE]}, "yaml"))
        (tmp_path / "sub" / "m.json").write_text(json.dumps({**MCP, "type": "mcp"}))
        (tmp_path / "README.md").write_text("- not one")
        assert "Nothing was changed" in self.run(tmp_path, "--dry-run")
        assert not MarketplaceItem.unscoped.exists()
        assert "+ mode docs" in self.run(tmp_path)
        assert self.run(tmp_path) == "2 items. Done.\n"
        (tmp_path / "sub" / "m.json").unlink()
        assert "- mcp m" in self.run(tmp_path, "--remove-others")
        assert [row.item_id for row in MarketplaceItem.unscoped.all()] == ["docs"]

    def test_checks_all_before_it_takes_one(self, tmp_path, db):
        (tmp_path / "a.yaml").write_text(texts.write(MODE, "yaml"))
        (tmp_path / "b.yaml").write_text("items: [{id: x}]")
        with pytest.raises(CommandError, match=r"b\.yaml: items\[0\]"):
            self.run(tmp_path)
        assert not MarketplaceItem.unscoped.exists()

    def test_of_an_organization_is_in_somebodys_name(self, tmp_path, acme, alice, bob):
        (tmp_path / "a.yaml").write_text(texts.write(MODE, "yaml"))
        self.run(tmp_path, "--organization", "Acme", "--as", alice.email)
        assert MarketplaceItem.unscoped.get().organization == acme
        (tmp_path / "a.yaml").write_text(texts.write({**MODE, "name": "D"}, "yaml"))
        for wrong in ([bob.email], ["nobody@x.example"]):
            with pytest.raises(CommandError):
                self.run(tmp_path, "--organization", "Acme", "--as", *wrong, "--remove-others")


def test_the_admin_keeps_those_of_the_deployment_and_offers_others(client, alice, acme):
    root = factories.user("root@example.com", is_staff=True, is_superuser=True)
    client.force_login(root)
    add = reverse("admin:orgs_marketplaceitem_add")
    assert client.post(add, {"text": texts.write(MODE, "yaml")}).status_code == 302
    assert MarketplaceItem.unscoped.get().document == MODE
    for bad in ("a: [", texts.write({**MODE, "id": ""}, "yaml"), texts.write(MODE, "yaml")):
        answer = client.post(add, {"text": bad})
        assert answer.status_code == 200
        assert b"errorlist" in answer.content
    ours = put({**MODE, "id": "ours"}, acme, factories.actor(alice, acme))
    change = reverse("admin:orgs_marketplaceitem_change", args=[ours.pk.replace("_", "_5F")])
    text = texts.write({**MODE, "id": "ours", "name": "Better"}, "yaml")
    assert client.post(change, {"text": text, "is_for_everybody": "on"}).status_code == 302
    ours.refresh_from_db()
    assert (ours.name, ours.is_for_everybody, ours.organization) == ("Better", True, acme)
    assert b"settings" in client.post(change, {"text": texts.write(MCP, "yaml")}).content
    delete = reverse("admin:orgs_marketplaceitem_delete", args=[ours.pk.replace("_", "_5F")])
    client.post(delete, {"post": "yes"})
    assert MarketplaceItem.unscoped.count() == 1
