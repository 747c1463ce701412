"""Addresses that clients open lead somewhere (protocol/tasks-and-telemetry.md §7, §8)."""

import pytest

from tests import factories


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/sign-in", "/"), ("/cloud-agents/setup", "/"),
        ("/checkout/team", "/organizations"), ("/accounts/sessions/", "/account/devices"),
    ],
)  # fmt: skip
def test_links_of_the_editor_lead_somewhere(client, bob, path, leads_to):
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.url.startswith("/accounts/login/?next=")
    client.force_login(bob)
    assert client.get(path).url == leads_to
    assert client.get(leads_to).status_code == 200


def test_usage_and_billing_are_pages_of_their_own(client, bob):
    client.force_login(bob)
    for path in ("/usage", "/billing"):
        assert client.get(f"{path}?utm_source=extension").status_code == 200


def test_the_way_to_the_sign_up_page_leads_nowhere_else(client, db):
    answer = client.get("/sign-up?redirect_url=https://evil.example&next=https://evil.example")
    assert answer.url == "/accounts/signup/"


def test_there_are_no_cloud_agents(client, bob):
    answer = client.get("/api/cloud-agents", headers=factories.bearer(bob))
    assert answer.json() == {"success": True, "data": []}
