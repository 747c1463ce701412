"""Phones and companions: how they are paired, what they hold, and how they end."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import actions
from audit.models import Entry
from bridge import tasks
from bridge.devices import registry
from bridge.devices.models import Device, Pairing
from roocloud.lib.ids import digest
from roocloud.lib.refusals import Conflict, Unauthenticated
from tests import factories
from tests.bridge.paired import FACTS, bearer, code, paired

PAIR = "/roomote/devices/pair"
CLAIM = "/api/devices/claim"


def send(client, path, document, headers=None, method="post"):
    return getattr(client, method)(
        path, document, content_type="application/json", headers=headers or {}
    )


def claim(client, secret, **changes):
    return send(client, CLAIM, FACTS | changes, {"Authorization": f"Bearer {secret}"})


@pytest.fixture
def browser(alice):
    """Of alice, who signed in just now."""
    client = Client()
    client.post("/accounts/login/", {"login": alice.email, "password": factories.PASSWORD})
    return client


class TestPairing:
    """R4, SI9: scripted, from the page to the removal."""

    def test_a_device_is_registered_with_the_code_that_a_page_shows(
        self, browser, client, alice, django_capture_on_commit_callbacks
    ):
        shown = browser.post(f"{PAIR}/code").json()
        assert shown["image"].startswith("data:image/svg+xml;base64,")
        secret = shown["address"].rpartition("#pair=")[2]

        with django_capture_on_commit_callbacks(execute=True):
            answer = claim(client, secret)

        given = answer.json()
        assert answer.status_code == 201
        assert given["userId"] == alice.pk
        assert given["deviceId"] == "phone-0001"
        assert given["permissions"] == ["task:read", "task:control"]
        ends_in_s = given["expiresAt"] / 1000 - timezone.now().timestamp()
        assert ends_in_s == pytest.approx(24 * 3600, abs=60)
        told = browser.get(f"{PAIR}/code?since=0").json()
        assert told["name"] == "Alice's phone"
        assert [(m.to, "new device" in m.subject) for m in mail.outbox] == [([alice.email], True)]
        assert told["url"] in mail.outbox[0].body
        entry = Entry.objects.get(action="device.registered")
        assert (entry.actor_id, entry.after["deviceId"]) == (alice.pk, "phone-0001")

    def test_needs_a_fresh_sign_in(self, browser):
        """R4"""
        with time_machine.travel(timezone.now() + timedelta(minutes=6)):
            page = browser.get(PAIR)
            assert page["Location"].startswith("/accounts/reauthenticate/?next=")
            assert browser.post(f"{PAIR}/code").status_code == 403
            assert not Pairing.unscoped.exists()

            browser.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})

            assert "Scan this" in browser.get(PAIR).content.decode()
            assert "#pair=pair_" in browser.post(PAIR).content.decode()

    def test_takes_a_code_once_and_for_a_minute(self, client, alice):
        """SI9"""
        first, second = code(alice), code(alice)
        assert claim(client, first).status_code == 201

        used, voided = claim(client, first), claim(client, second)
        with time_machine.travel(timezone.now() - timedelta(seconds=61)):
            old = code(alice)
        late = claim(client, old)

        assert {one.status_code for one in (used, voided, late)} == {401}
        assert used.json() == late.json() == claim(client, "pair_unknown").json()

    def test_a_new_key_needs_a_new_code_and_ends_the_old_tokens(
        self, client, alice, django_capture_on_commit_callbacks
    ):
        """R4: re-keying"""
        before = paired(alice)
        change = {"publicKey": "key-2"}
        refused = send(client, "/api/devices", change, bearer(before))
        assert (refused.status_code, refused.json()["field"]) == (403, "publicKey")

        with django_capture_on_commit_callbacks(execute=True):
            answer = claim(client, code(alice), publicKey="key-2")

        assert answer.status_code == 200
        assert client.get("/api/devices", headers=bearer(before)).status_code == 401
        assert Device.unscoped.get().public_key == "key-2"
        assert "paired again" in mail.outbox[-1].subject

    def test_refuses_what_is_somebody_elses_and_keeps_the_code(self, client, alice, bob):
        paired(alice)
        secret = code(bob)

        taken = claim(client, secret)

        assert (taken.status_code, taken.json()["field"]) == (409, "deviceId")
        assert claim(client, secret, deviceId="phone-0002").status_code == 201

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("deviceId", "short"), ("deviceId", "has a space"), ("deviceName", ""),
            ("deviceType", "toaster"), ("platform", "x" * 51), ("capabilities", []),
            ("capabilities", {"x": "y" * 8_000}), ("publicKey", "x" * 8_001),
        ],
    )  # fmt: skip
    def test_names_the_field_at_fault(self, client, alice, field, value):
        """F5"""
        answer = claim(client, code(alice), **{field: value})

        assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert not Device.unscoped.exists()

    def test_a_person_has_fifty_devices_at_most(self, client, alice, monkeypatch):
        monkeypatch.setattr(registry, "MOST_DEVICES", 1)
        paired(alice)

        assert claim(client, code(alice), deviceId="phone-0002").status_code == 409


class TestTokens:
    def test_are_stored_as_hashes(self, alice):
        """I1"""
        made = paired(alice)

        row = Device.unscoped.get()
        assert (row.token_hash, row.refresh_hash) == (
            digest(made.token),
            digest(made.refresh_token),
        )

    def test_end_after_a_day_and_are_traded_for_new_ones(self, client, alice):
        made = paired(alice)
        with time_machine.travel(timezone.now() + timedelta(hours=25)):
            assert client.get("/api/devices", headers=bearer(made)).status_code == 401

            header = {"Authorization": f"Bearer {made.refresh_token}"}
            answer = client.post("/api/devices/token", headers=header)

            header = {"Authorization": f"Bearer {answer.json()['jwt']}"}
            assert client.get("/api/devices", headers=header).status_code == 200

    def test_the_old_one_works_for_ten_minutes_more(self, client, alice):
        made = paired(alice)
        registry.rotate(refresh_token=made.refresh_token, at=timezone.now())

        assert client.get("/api/devices", headers=bearer(made)).status_code == 200
        with time_machine.travel(timezone.now() + timedelta(minutes=11)):
            assert client.get("/api/devices", headers=bearer(made)).status_code == 401

    def test_a_lost_answer_locks_nobody_out(self, client, alice):
        """The trade is repeated, also much later, until its fruit was used."""
        made = paired(alice)
        client.get("/api/devices", headers=bearer(made))
        lost = registry.rotate(refresh_token=made.refresh_token, at=timezone.now())
        with time_machine.travel(timezone.now() + timedelta(days=3)):
            again = registry.rotate(refresh_token=made.refresh_token, at=timezone.now())

            assert client.get("/api/devices", headers=bearer(again)).status_code == 200
            assert client.get("/api/devices", headers=bearer(lost)).status_code == 401

    def test_used_twice_they_end(self, client, alice):
        """Two hold them: neither goes on."""
        made = paired(alice)
        thiefs = registry.rotate(refresh_token=made.refresh_token, at=timezone.now())
        client.get("/api/devices", headers=bearer(thiefs))

        with pytest.raises(Unauthenticated):
            registry.rotate(refresh_token=made.refresh_token, at=timezone.now())

        assert client.get("/api/devices", headers=bearer(thiefs)).status_code == 401
        assert Entry.objects.filter(action="device.replayed").exists()

    def test_that_were_not_traded_for_ninety_days_end(self, alice):
        made = paired(alice)

        later = timezone.now() + timedelta(days=91)

        with pytest.raises(Unauthenticated):
            registry.rotate(refresh_token=made.refresh_token, at=later)

    def test_of_a_device_open_nothing_else(self, client, alice):
        """B3"""
        header = bearer(paired(alice))

        for path in ("/api/extension/bridge/config", "/v1/me", "/proxy/v1/models", "/trpc/auth.me"):
            assert client.get(path, headers=header).status_code in (401, 200)
            if path != "/proxy/v1/models":  # which anybody may read
                assert client.get(path, headers=header).status_code == 401, path


class TestTheEnd:
    def test_a_device_that_is_removed_opens_nothing(self, browser, client, alice):
        """B4, R4"""
        made = paired(alice)
        page = f"/roomote/devices/{made.device.pk}"
        asked = browser.get(f"{page}/remove").content.decode()
        assert "Remove Alice's phone?" in asked.replace("&#x27;", "'")

        browser.post(f"{page}/remove")

        assert client.get("/api/devices", headers=bearer(made)).status_code == 401
        with pytest.raises(Unauthenticated):
            registry.rotate(refresh_token=made.refresh_token, at=timezone.now())
        assert browser.get(page).status_code == 404
        assert Entry.objects.get(action="device.removed").actor_id == alice.pk

    def test_it_may_be_paired_again_and_by_somebody_else(self, alice, bob):
        registry.remove(device=paired(alice).device, by=None, at=timezone.now())

        assert paired(bob).device.owner_id == bob.pk

    def test_signing_out_everywhere_else_ends_it(self, client, alice):
        """B7"""
        made = paired(alice)

        actions.end_other_sessions(by=factories.actor(alice), at=timezone.now())

        assert client.get("/api/devices", headers=bearer(made)).status_code == 401

    def test_of_an_account_that_is_closed(self, client, alice):
        """B4"""
        made = paired(alice)

        actions.deactivate(user_id=alice.pk, at=timezone.now())

        assert client.get("/api/devices", headers=bearer(made)).status_code == 401

    def test_is_forgotten_after_ninety_days(self, alice):
        registry.remove(device=paired(alice).device, by=None, at=timezone.now())
        kept = paired(alice).device
        Device.unscoped.exclude(pk=kept.pk).update(revoked_at=timezone.now() - timedelta(days=91))

        tasks.forget()

        assert Device.unscoped.get() == kept


class TestTheList:
    def test_has_the_owners_devices_with_their_keys_and_open_editors(self, client, alice, bob):
        """Public keys are for one's own devices alone."""
        from tests.bridge.test_pages import see

        mine = paired(alice)
        paired(alice, "desk-00001", kind="desktop", public_key="key-2")
        paired(bob, "phone-0009")
        see(alice)

        listed = client.get("/api/devices", headers=bearer(mine)).json()["devices"]

        assert {one["deviceId"]: one["publicKey"] for one in listed} == {
            "phone-0001": "", "desk-00001": "key-2", "window-1": "",
        }  # fmt: skip
        editor = listed[-1]
        assert (editor["deviceType"], editor["capabilities"]) == ("desktop", {"bridge": True})
        assert editor["deviceName"] == "desk – /home/alice/shop"  # noqa: RUF001

    def test_a_device_changes_what_it_is_called(self, client, alice):
        header = bearer(paired(alice))

        send(client, "/api/devices", {"deviceName": "New name", "capabilities": {}}, header)

        one = client.get("/api/devices/phone-0001", headers=header).json()["device"]
        assert (one["deviceName"], one["capabilities"]) == ("New name", {})
        assert one["status"] == "offline"

    def test_a_device_ends_another_of_its_owner(self, client, alice):
        header = bearer(paired(alice))
        other = paired(alice, "desk-00001")

        assert client.delete("/api/devices/desk-00001", headers=header).status_code == 200
        assert client.get("/api/devices", headers=bearer(other)).status_code == 401


class TestPages:
    def test_say_what_to_do_where_there_is_nothing(self, browser):
        page = browser.get("/roomote/devices").content.decode()

        assert "No device is paired yet" in page

    def test_list_what_is_paired_and_lead_there_from_where_one_looks(self, browser, alice):
        made = paired(alice)

        page = browser.get("/roomote/devices").content.decode()

        assert f"/roomote/devices/{made.device.pk}" in page
        for path in ("/roomote", "/account/devices"):
            assert 'href="/roomote/devices"' in browser.get(path).content.decode(), path

    def test_a_device_that_was_not_confirmed_for_long_may_watch_alone(self, browser, alice):
        """R2"""
        made = paired(alice)
        page = f"/roomote/devices/{made.device.pk}"
        Device.unscoped.update(proven_at=timezone.now() - timedelta(days=8))
        assert "not send commands" in browser.get(page).content.decode()

        assert browser.post(f"{page}/confirm").status_code == 302

        assert "not send commands" not in browser.get(page).content.decode()
        assert Entry.objects.filter(action="device.confirmed").exists()

    def test_confirming_needs_a_fresh_sign_in(self, browser, alice):
        """R4"""
        made = paired(alice)
        with time_machine.travel(timezone.now() + timedelta(minutes=6)):
            answer = browser.post(f"/roomote/devices/{made.device.pk}/confirm")

        assert answer["Location"].startswith("/accounts/reauthenticate/?next=")
        assert not Entry.objects.filter(action="device.confirmed").exists()


def test_two_devices_of_one_id_are_refused_by_the_database(alice):
    """The constraint bridge_device_once."""
    paired(alice)
    with pytest.raises(Conflict):
        paired(factories.user("eve@x.example"))
