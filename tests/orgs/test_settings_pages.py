"""The pages where settings are changed: O1, D7."""

import html
import json
import re

import pytest
from django.utils import timezone
from kombu import Producer
from kombu.exceptions import OperationalError

from audit.models import Entry
from orgs import actions
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


def preview(browser, path, org, **changes):
    fields = {"document": text_of(org, **changes), "read_version": current(org).version}
    return fields, browser.post(path, {**fields, "note": "why not", "do": "preview"})


def save(browser, path, fields, shown):
    return browser.post(path, {**fields, **hidden(shown), "note": "why not", "do": "save"})


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
        fields, shown = preview(browser, path, acme, mcps=[MCP])
        assert b"m.example" in shown.content
        assert current(acme) == before

        asked = save(browser, path, fields, shown)
        assert current(acme) == before
        assert confirm(browser, asked)["Location"] == path

        after = current(acme)
        assert (after.document["mcps"], after.note) == ([MCP], "why not")
        entry = Entry.objects.get(action="organization_settings.saved")
        assert entry.after == {"version": after.version, "changed": ["mcps"]}

    def test_a_wrong_password_saves_nothing(self, browser, path, acme):
        """O1"""
        before = current(acme)
        fields, shown = preview(browser, path, acme, mcps=[MCP])
        save(browser, path, fields, shown)
        browser.post("/accounts/reauthenticate/", {"password": "wrong", "next": path})
        assert current(acme) == before

    @pytest.mark.parametrize("forged", ["", "nothing"])
    def test_nothing_is_saved_that_was_not_looked_at(self, browser, path, acme, forged):
        """O1"""
        before = current(acme)
        fields, shown = preview(browser, path, acme, hiddenMcps=["harmless"])
        answer = save(browser, path, {**fields, "document": text_of(acme, mcps=[MCP])}, shown)
        assert answer.status_code == 409
        assert b"not what you last looked at" in answer.content
        assert b"m.example" in answer.content  # the difference that would be
        answer = browser.post(path, {**fields, "previewed": forged, "do": "save"})
        assert answer.status_code == 409
        assert current(acme) == before

    def test_what_another_admin_looked_at_is_not_what_i_did(
        self, browser, client, path, adam, acme
    ):
        """O1"""
        fields, shown = preview(browser, path, acme, mcps=[MCP])
        client.force_login(adam)
        assert save(client, path, fields, shown).status_code == 409

    def test_after_a_conflict_the_text_stays_and_the_next_try_works(
        self, browser, path, adam, acme
    ):
        """D7"""
        fields, shown = preview(browser, path, acme, hiddenMcps=["mine"])
        theirs = somebody_saves(acme, adam, hideMarketplaceMcps=True)

        conflict = confirm(browser, save(browser, path, fields, shown))
        assert conflict.status_code == 409
        assert b"Somebody saved these settings" in conflict.content
        text = html.unescape(conflict.content.decode())
        assert fields["document"] in text
        assert '-  "hideMarketplaceMcps": true' in text  # the difference is to their version
        assert hidden(conflict)["read_version"] == str(theirs.version)
        assert current(acme) == theirs

        assert save(browser, path, fields, conflict)["Location"] == path
        assert current(acme).document["hiddenMcps"] == ["mine"]

    def test_a_stale_page_is_told_at_the_preview(self, browser, path, adam, acme):
        """D7"""
        fields = {"document": text_of(acme), "read_version": current(acme).version}
        somebody_saves(acme, adam, hideMarketplaceMcps=True)
        answer = browser.post(path, {**fields, "do": "preview"})
        assert answer.status_code == 409
        assert b"Somebody saved these settings" in answer.content

    def test_the_profile_ids_of_elsewhere_are_explained(self, browser, path, acme):
        fields, shown = preview(browser, path, acme, providerProfiles={"a": {"id": "cloud_x"}})
        answer = confirm(browser, save(browser, path, fields, shown))
        assert b"is not an id of this server" in answer.content


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
