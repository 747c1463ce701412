"""The Clerk-compatible routes, asked as the real client asks them (protocol/auth.md)."""

import json
from urllib.parse import urlencode

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from accounts import actions, editors, tokens
from orgs.actions import remove_member
from tests import factories

FORM = "application/x-www-form-urlencoded"
AGENT = {"User-Agent": "Roo-Code 3.52.1"}


def post_form(client, path, fields, **headers):
    return client.post(path, urlencode(fields), content_type=FORM, headers={**AGENT, **headers})


def ticket(person, org=None) -> str:
    editor = editors.find("vscode://RooVeterinaryInc.roo-cline")
    actor = factories.actor(person, org)
    return actions.issue_ticket(by=actor, editor=editor, state="s", at=timezone.now())


@pytest.fixture
def signed_in(client, alice, acme):
    answer = post_form(
        client, "/v1/client/sign_ins", {"strategy": "ticket", "ticket": ticket(alice, acme)}
    )
    return answer.headers["Authorization"], answer.json()["response"]["created_session_id"]


def refresh(client, token, session_id, **fields):
    path = f"/v1/client/sessions/{session_id}/tokens"
    return post_form(client, path, {"_is_native": "1", **fields}, Authorization=f"Bearer {token}")


class TestTheTicketExchange:
    def test_gives_the_client_token_bare_in_a_response_header(self, signed_in):
        """Trap 1."""
        token, session_id = signed_in
        assert token.startswith("ct_")
        assert " " not in token
        assert session_id.startswith("sess_")

    def test_takes_json_too(self, client, alice):
        answer = client.post(
            "/v1/client/sign_ins",
            json.dumps({"strategy": "ticket", "ticket": ticket(alice)}),
            content_type="application/json",
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        ("fields", "status", "field"),
        [
            ({}, 400, "strategy"),
            ({"strategy": "password"}, 400, "strategy"),
            ({"strategy": "ticket"}, 400, "ticket"),
            ({"strategy": "ticket", "ticket": "nope"}, 401, None),
        ],
    )
    def test_refuses_in_clerks_shape_and_names_the_field(self, client, db, fields, status, field):
        answer = post_form(client, "/v1/client/sign_ins", fields)
        assert answer.status_code == status
        error = answer.json()["errors"][0]
        assert error.get("meta", {}).get("param_name") == field
        assert "Authorization" not in answer.headers

    @pytest.mark.parametrize("body", [b"\xff\xfe", b"[1]", b'{"strategy": 5}', b"{", b"&" * 500])
    @pytest.mark.parametrize("kind", [FORM, "application/json"])
    def test_hostile_bodies_get_a_4xx(self, client, db, body, kind):
        """F5"""
        answer = client.post("/v1/client/sign_ins", body, content_type=kind)
        assert 400 <= answer.status_code < 500

    def test_the_guides_routes_answer(self, client, db):
        begun = client.get("/v1/client/sign_ins").json()["response"]
        assert begun["status"] == "needs_first_factor"
        path = f"/v1/client/sign_ins/{begun['id']}/prepare_first_factor"
        fields = {"strategy": "oauth_custom", "redirect_url": "vscode://x.y"}
        prepared = post_form(client, path, fields).json()["response"]
        url = prepared["first_factor_verification"]["external_verification_redirect_url"]
        assert "/extension/sign-in?" in url
        assert client.post("/v1/client/sign_ins/x/prepare_first_factor").status_code == 404


class TestTheTokenRoute:
    def context(self, answer) -> str | None:
        assert answer.status_code == 200, answer.content
        return tokens.verify(answer.json()["jwt"]).organization_id

    def test_gives_the_context_that_is_asked_for(self, client, signed_in, acme):
        """Trap 7."""
        assert self.context(refresh(client, *signed_in, organization_id=acme.pk)) == acme.pk
        assert self.context(refresh(client, *signed_in, organization_id="")) is None

    def test_without_an_organization_parameter_uses_the_last_context(self, client, signed_in, acme):
        assert self.context(refresh(client, *signed_in)) == acme.pk

    def test_without_any_membership_that_means_personal(self, client, mallory):
        _, token = factories.client_session(mallory)
        session = actions.ClientSession.unscoped.get()
        assert self.context(refresh(client, token, session.pk)) is None

    def test_answers_401_to_a_token_that_is_gone(self, client, signed_in):
        _, session_id = signed_in
        assert refresh(client, "ct_wrong", session_id).status_code == 401

    def test_answers_404_for_another_session_or_a_foreign_organization(
        self, client, signed_in, evil
    ):
        token, session_id = signed_in
        assert refresh(client, token, "sess_other").status_code == 404
        for organization_id in (evil.pk, "org_unknown", "\x00"):
            answer = refresh(client, token, session_id, organization_id=organization_id)
            assert answer.status_code == 404

    def test_answers_404_once_the_membership_has_ended(self, client, alice, adam, acme):
        _, token = factories.client_session(adam)
        session = actions.ClientSession.unscoped.get()
        assert refresh(client, token, session.pk, organization_id=acme.pk).status_code == 200
        remove_member(
            organization=acme, user_id=adam.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        assert refresh(client, token, session.pk, organization_id=acme.pk).status_code == 404

    def test_never_signs_anybody_out_for_trouble_of_ours(self, client, signed_in, acme):
        """B5: 401 and 404 are kept for sessions that are gone; a dead database is 503."""

        def dead(execute, sql, params, many, context):
            raise OperationalError("the database is down")

        with connection.execute_wrapper(dead):
            answer = refresh(client, *signed_in, organization_id=acme.pk)

        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert answer.json()["errors"][0]["code"] == "unavailable"


class TestSignOut:
    def test_ends_the_session_and_its_tokens(self, client, signed_in):
        token, session_id = signed_in
        jwt = refresh(client, token, session_id, organization_id="").json()["jwt"]
        path = f"/v1/client/sessions/{session_id}/remove"

        gone = post_form(client, path, {"_is_native": "1"}, Authorization=f"Bearer {token}")

        assert gone.json()["response"]["status"] == "removed"
        assert refresh(client, token, session_id).status_code == 401
        headers = {"Authorization": f"Bearer {jwt}"}
        assert client.get("/api/extension-settings", headers=headers).status_code == 401
        again = post_form(client, path, {"_is_native": "1"}, Authorization=f"Bearer {token}")
        assert again.status_code == 401


class TestMe:
    def test_names_the_person_without_a_null_but_in_names(self, client, alice):
        """Trap 8."""
        _, token = factories.client_session(alice)
        me = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"}).json()["response"]

        assert (me["first_name"], me["last_name"]) == ("Alice", "Archer")
        primary = me["primary_email_address_id"]
        assert {"id": primary, "email_address": alice.email} in me["email_addresses"]
        assert [k for k, v in me.items() if v is None] == []

    def test_absent_names_are_null(self, client, bob):
        bob.first_name = ""
        bob.save()
        _, token = factories.client_session(bob)
        me = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"}).json()["response"]
        assert me["first_name"] is None
        assert "image_url" not in me  # trap 10


def test_the_keys_are_published(client, db):
    assert client.get("/.well-known/jwks.json").json()["keys"] == []
    tokens.make_key(at=timezone.now())
    assert client.get("/.well-known/jwks.json").json()["keys"][0]["alg"] == "EdDSA"
