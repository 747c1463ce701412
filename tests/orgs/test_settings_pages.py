"""The pages where settings are changed: O1, D7."""

import html
import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from kombu import Producer
from kombu.exceptions import OperationalError

from audit.models import Entry
from orgs import actions, texts
from orgs.models import SettingsDraft
from roocloud.celery import app
from tests import factories

MCP = {"id": "m", "name": "M", "description": "", "url": "https://m.example/", "content": "{}"}


@pytest.fixture
def path(acme) -> str:
    return f"/organizations/{acme.pk}/settings"


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def current(org):
    return actions.current_revision(org)


def text_of(org, **changes) -> str:
    return json.dumps({**current(org).document, **changes})


def hidden(answer) -> dict[str, str]:
    """The hidden fields of the page's form."""
    inputs = re.findall(r'<input type="hidden"[^>]*>', answer.content.decode())
    fields = [dict(re.findall(r'(name|value)="([^"]*)"', one)) for one in inputs]
    return {f["name"]: html.unescape(f["value"]) for f in fields if "value" in f}


def enter(browser, path, org, *, version=None, **changes):
    """Enter the whole text with changes, and follow to the difference."""
    fields = {
        "document": text_of(org, **changes),
        "form": "json",
        "read_version": version or current(org).version,
    }
    return browser.post(f"{path}/text", fields, follow=True)


def save(browser, path, shown, **changed):
    """Save what the page shows."""
    fields = {**hidden(shown), "note": "why not", "do": "save", **changed}
    return browser.post(f"{path}/review", fields)


def confirm(browser, answer):
    """Give the password that the answer asks for."""
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    following = answer["Location"].partition("next=")[2].replace("%2F", "/")
    fields = {"password": factories.PASSWORD, "next": following}
    return browser.post("/accounts/reauthenticate/", fields)


def somebody_saves(org, by, **changes):
    return actions.save_settings(
        organization=org,
        document={**current(org).document, **changes},
        read_version=current(org).version,
        by=factories.actor(by, org),
        at=timezone.now(),
    )


class TestSaving:
    def test_the_difference_is_shown_and_a_fresh_sign_in_asked_for(self, browser, path, acme):
        """O1"""
        before = current(acme)
        shown = enter(browser, path, acme, mcps=[MCP])
        assert b"m.example" in shown.content
        assert current(acme) == before

        asked = save(browser, path, shown)
        assert current(acme) == before
        assert confirm(browser, asked)["Location"] == path

        after = current(acme)
        assert (after.document["mcps"], after.note) == ([MCP], "why not")
        entry = Entry.objects.get(action="organization_settings.saved")
        assert entry.after == {"version": after.version, "changed": ["mcps"]}
        assert not SettingsDraft.unscoped.exists()

    def test_a_wrong_password_saves_nothing(self, browser, path, acme):
        """O1"""
        before = current(acme)
        save(browser, path, enter(browser, path, acme, mcps=[MCP]))
        browser.post("/accounts/reauthenticate/", {"password": "wrong", "next": path})
        assert current(acme) == before

    @pytest.mark.parametrize("forged", ["", "nothing"])
    def test_nothing_is_saved_that_was_not_looked_at(self, browser, path, acme, forged):
        """O1"""
        before = current(acme)
        shown = enter(browser, path, acme, hiddenMcps=["harmless"])
        enter(browser, path, acme, mcps=[MCP])
        answer = save(browser, path, shown)
        assert answer.status_code == 409
        assert b"not what you last looked at" in answer.content
        assert b"m.example" in answer.content  # the difference that would be
        assert save(browser, path, shown, previewed=forged).status_code == 409
        assert current(acme) == before

    def test_what_another_admin_looked_at_is_not_what_i_did(
        self, browser, client, path, adam, acme
    ):
        """O1"""
        shown = enter(browser, path, acme, mcps=[MCP])
        client.force_login(adam)
        enter(client, path, acme, mcps=[MCP])
        assert save(client, path, shown).status_code == 409

    def test_after_a_conflict_my_changes_are_brought_onto_theirs(self, browser, path, adam, acme):
        """D7"""
        shown = enter(browser, path, acme, hiddenMcps=["mine"])
        theirs = somebody_saves(acme, adam, hideMarketplaceMcps=True)

        conflict = save(browser, path, shown)
        assert conflict.status_code == 409
        assert b"Somebody saved these settings" in conflict.content
        text = html.unescape(conflict.content.decode())
        assert '-  "hideMarketplaceMcps": true' in text  # the difference is to their version
        assert current(acme) == theirs

        onto = browser.post(f"{path}/review", {"do": "update"}, follow=True)
        assert '-  "hideMarketplaceMcps"' not in html.unescape(onto.content.decode())
        assert confirm(browser, save(browser, path, onto))["Location"] == path
        saved = current(acme).document
        assert (saved["hiddenMcps"], saved["hideMarketplaceMcps"]) == (["mine"], True)

    def test_a_page_of_an_older_version_does_not_undo_theirs(self, browser, path, adam, acme):
        """D7: what was opened before they saved is a change of what it showed."""
        opened = current(acme).version
        somebody_saves(acme, adam, hideMarketplaceMcps=True)
        fields = {"hiddenMcps": "mine", "read_version": opened, "do": "review"}
        shown = browser.post(f"{path}/edit/marketplace", fields, follow=True)
        assert b"Somebody saved these settings" in shown.content
        assert save(browser, path, shown).status_code == 409
        onto = browser.post(f"{path}/review", {"do": "update"}, follow=True)
        assert confirm(browser, save(browser, path, onto))["Location"] == path
        assert current(acme).document["hideMarketplaceMcps"] is True

    def test_a_version_of_elsewhere_is_no_start(self, browser, path, acme, evil):
        foreign = current(evil).version
        for do in ("text", "edit/marketplace"):
            fields = {"document": text_of(acme), "form": "json", "read_version": foreign}
            assert browser.post(f"{path}/{do}", fields).status_code == 404
        assert not SettingsDraft.unscoped.exists()

    def test_the_profile_ids_of_elsewhere_are_explained(self, browser, path, acme):
        shown = enter(browser, path, acme, providerProfiles={"a": {"id": "cloud_x"}})
        answer = confirm(browser, save(browser, path, shown))
        assert answer.status_code == 400
        assert b"is not an id of this server" in answer.content

    def test_what_i_have_changed_is_mine_alone_and_can_be_dropped(self, browser, path, adam, acme):
        enter(browser, path, acme, hiddenMcps=["mine"])
        browser.force_login(adam)
        assert b"not in force" not in browser.get(path).content
        browser.post(f"{path}/review", {"do": "discard"})
        assert SettingsDraft.unscoped.count() == 1


class TestVersions:
    """PO5"""

    def test_each_says_what_it_changed_who_made_it_and_why(self, browser, path, adam, acme):
        saved = somebody_saves(acme, adam, hiddenMcps=["x"])
        assert f"{path}/{saved.version}".encode() in browser.get(path).content
        page = html.unescape(browser.get(f"{path}/{saved.version}").content.decode())
        assert '+  "hiddenMcps": [' in page
        assert "Adam (adam@acme.example)" in page
        assert '<pre tabindex="0">{\n  "allowList"' in page

    def test_of_elsewhere_there_is_none(self, browser, path, evil):
        """A1"""
        assert browser.get(f"{path}/{current(evil).version}").status_code == 404

    def test_the_history_asks_as_much_for_many_versions_as_for_few(
        self, browser, path, alice, adam, acme
    ):
        def asked() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert browser.get(path).status_code == 200
            return len(captured)

        somebody_saves(acme, adam, hiddenMcps=["x"])
        asked()  # the session notes its first use
        few = asked()
        for number in range(7):
            somebody_saves(acme, (alice, adam)[number % 2], hiddenMcps=[str(number)])
        assert asked() == few

    @pytest.mark.parametrize("form", ["json", "yaml"])
    def test_the_one_in_force_is_a_file(self, browser, path, acme, form):
        answer = browser.get(f"{path}/export", {"form": form})
        assert answer["Content-Disposition"].endswith(f'acme-{current(acme).version}.{form}"')
        assert texts.read(answer.content.decode(), form) == current(acme).document


class TestRestoring:
    @pytest.fixture
    def first(self, acme, adam):
        first = current(acme)
        somebody_saves(acme, adam, mcps=[MCP])
        return first

    def test_brings_an_earlier_version_back_after_a_fresh_sign_in(self, browser, path, acme, first):
        """O1"""
        restore = f"{path}/{first.version}/restore"
        page = browser.get(restore)
        assert b"m.example" in page.content
        asked = browser.post(restore, hidden(page))
        assert "mcps" in current(acme).document
        assert confirm(browser, asked)["Location"] == path
        assert current(acme).document == first.document

    def test_does_not_overwrite_what_somebody_saved_meanwhile(
        self, browser, path, adam, acme, first
    ):
        """D7"""
        restore = f"{path}/{first.version}/restore"
        page = browser.get(restore)
        theirs = somebody_saves(acme, adam, hiddenMcps=["theirs"])

        conflict = confirm(browser, browser.post(restore, hidden(page)))
        assert conflict.status_code == 409
        assert b"theirs" in conflict.content
        assert current(acme) == theirs

        assert browser.post(restore, hidden(conflict))["Location"] == path
        assert current(acme).document == first.document

    def test_without_a_look_at_the_difference_it_does_nothing(self, browser, path, acme, first):
        """O1"""
        before = current(acme)
        answer = browser.post(f"{path}/{first.version}/restore")
        assert answer.status_code == 409
        assert current(acme) == before


class TestOwners:
    """O1: owners are told when what runs on members' computers changes."""

    @pytest.fixture
    def owners(self, alice, bob, acme):
        actions.put_member(organization=acme, user=bob, role="owner", by=None, at=timezone.now())
        return {alice.email, bob.email}

    @pytest.mark.parametrize(
        "changes",
        [
            {"mcps": [MCP]},
            {"providerProfiles": {"a": {"apiProvider": "roo"}}},
            {"allowList": {"allowAll": True, "providers": {"roo": {"allowAll": True}}}},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_are_mailed_who_changed_what(
        self, adam, acme, owners, changes, mailoutbox, django_capture_on_commit_callbacks
    ):
        """O1"""
        with django_capture_on_commit_callbacks(execute=True):
            somebody_saves(acme, adam, **changes)
            assert mailoutbox == []

        assert {address for mail in mailoutbox for address in mail.to} == owners
        assert all(len(mail.to) == 1 for mail in mailoutbox)
        for said in (*changes, adam.email, f"/organizations/{acme.pk}/settings", "Acme"):
            assert said in mailoutbox[0].body

    def test_are_not_mailed_about_the_rest(
        self, adam, acme, owners, mailoutbox, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            somebody_saves(acme, adam, hiddenMcps=["x"])
        assert mailoutbox == []

    def test_are_mailed_about_a_restored_version(
        self, adam, acme, owners, mailoutbox, django_capture_on_commit_callbacks
    ):
        """O1"""
        first = current(acme)
        somebody_saves(acme, adam, mcps=[MCP])
        with django_capture_on_commit_callbacks(execute=True):
            actions.roll_back(
                organization=acme,
                to_version=first.version,
                read_version=current(acme).version,
                by=factories.actor(adam, acme),
                at=timezone.now(),
            )
        assert len(mailoutbox) == 2
        assert f"Back to version {first.version}" in mailoutbox[0].body

    @pytest.mark.django_db(transaction=True)
    def test_who_cannot_be_reached_fail_no_save(self, adam, acme, owners, settings, caplog):
        """O1: a mail server that refuses connections."""
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        assert somebody_saves(acme, adam, mcps=[MCP]) == current(acme)
        assert "ConnectionRefusedError" in caplog.text

    @pytest.mark.django_db(transaction=True)
    def test_a_queue_that_refuses_fails_no_save(self, adam, acme, owners, monkeypatch, caplog):
        """O1"""

        def refuse(*args, **kwargs):
            raise OperationalError("Connection refused")

        monkeypatch.setitem(app.conf, "task_always_eager", False)
        monkeypatch.setattr(Producer, "publish", refuse)
        assert somebody_saves(acme, adam, mcps=[MCP]) == current(acme)
        assert "in on_commit() during transaction (Connection refused)" in caplog.text
