"""Sign-in pages, the command line, devices and job tokens, as a browser walks them."""

import html
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from accounts import tokens
from accounts.models import ClientSession, Ticket, User
from orgs.actions import invite
from proxy import actions as models
from tests import factories
from tests.accounts.test_recovery import reset

NOW = factories.NOON
ROOT = Path(__file__).resolve().parents[2]
STATE = "0123456789abcdef0123456789abcdef"
TARGET = "vscode://RooVeterinaryInc.roo-cline"
SIGN_IN = f"/extension/sign-in?state={STATE}&auth_redirect={TARGET}"
CLI = f"/cli/sign-in?state={STATE}&callback=http%3A%2F%2F127.0.0.1%3A49152%2Fcallback"


def consent(client, path="/extension/sign-in", **fields):
    return client.post(path, {"state": STATE, "auth_redirect": TARGET, **fields})


def callback_of(answer) -> dict[str, str]:
    shown = re.search(r'id="callback-url">([^<]+)<', answer.content.decode())
    query = urlsplit(html.unescape(shown[1])).query
    return {key: values[0] for key, values in parse_qs(query).items()}


class TestSigningInAnEditor:
    @pytest.mark.parametrize(
        "path", ["/extension/sign-in", "/extension/provider-sign-up", "/l/supernova", "/l/whatever"]
    )
    def test_both_parameters_survive_the_login(self, client, alice, acme, path):
        asked = f"{path}?state={STATE}&auth_redirect={TARGET}"
        login = client.get(asked)
        assert login.status_code == 302

        signed_in = client.post(
            login["Location"],
            {"login": alice.email, "password": factories.PASSWORD, "next": asked},
        )
        page = client.get(signed_in["Location"])

        assert page.status_code == 200
        text = page.content.decode()
        for said in (STATE, TARGET, alice.email, "Acme", "VS Code"):
            assert said in text

    def test_looking_at_the_page_makes_no_ticket(self, client, alice):
        """Trap 4."""
        client.force_login(alice)
        client.get(SIGN_IN)
        assert not Ticket.unscoped.exists()

    def test_consent_hands_off_with_everything_the_client_reads(self, client, alice, acme):
        client.force_login(alice)

        answer = consent(client, organization=acme.pk)

        query = callback_of(answer)
        assert query["state"] == STATE
        assert query["organizationId"] == acme.pk
        assert "provider_model" not in query  # trap 2
        assert re.fullmatch(r"[A-Za-z0-9_-]+", query["code"])  # trap 3
        assert answer["Cache-Control"].startswith("max-age=0")

    def test_the_personal_account_has_no_organization(self, client, alice, acme):
        client.force_login(alice)
        assert "organizationId" not in callback_of(consent(client, organization=""))

    def test_a_foreign_organization_cannot_be_chosen(self, client, alice, evil):
        client.force_login(alice)
        for organization_id in (evil.pk, "org_unknown"):
            assert consent(client, organization=organization_id).status_code == 400
        assert not Ticket.unscoped.exists()

    def test_provider_sign_up_offers_models_and_sends_the_chosen_one(self, client, alice):
        client.force_login(alice)
        page = client.get(f"/extension/provider-sign-up?state={STATE}&auth_redirect={TARGET}")
        assert "demo/coder" in page.content.decode()

        answer = consent(client, "/extension/provider-sign-up", organization="", model="demo/coder")

        assert callback_of(answer)["provider_model"] == "demo/coder"

    def test_provider_sign_up_offers_only_what_the_editor_reads_as_it_was_sent(self, client, alice):
        """Trap 3."""
        upstream = models.put_upstream(
            name="fake", base_url="https://api.example.com/v1", api_key="k", by=None, at=NOW
        )
        for model_id in ("acme/gpt:2024", "acme/gpt@2024+x"):
            models.put_model(
                model_id=model_id,
                upstream=upstream,
                upstream_model="plain",
                price=models.NewPrice(1, 1, 1),
                facts=models.ModelFacts(),
                by=None,
                at=NOW,
            )
        client.force_login(alice)

        page = client.get(f"/extension/provider-sign-up?state={STATE}&auth_redirect={TARGET}")

        offered = re.findall(r'<option value="([^"]+)"', page.content.decode())
        assert "acme/gpt:2024" in offered
        for model in offered:
            path = "/extension/provider-sign-up"
            assert consent(client, path, organization="", model=model).status_code == 200

    def test_consent_begins_with_the_context_of_the_web_pages(self, client, alice, acme):
        client.force_login(alice)
        for organization_id in ("", acme.pk):
            client.post("/account/context", {"organization": organization_id})

            page = client.get(SIGN_IN).content.decode()

            chosen = re.findall(r'name="organization"\s+value="([^"]*)"\s+checked', page)
            assert chosen == [organization_id]

    @pytest.mark.parametrize(
        "query", ["", f"state={STATE}", f"auth_redirect={TARGET}",
                  f"state={STATE}&auth_redirect=https://evil.example",
                  f"state=a%2Bb&auth_redirect={TARGET}"],
    )  # fmt: skip
    def test_bad_parameters_get_a_page_that_says_so(self, client, alice, query):
        client.force_login(alice)
        answer = client.get(f"/extension/sign-in?{query}")
        assert answer.status_code == 400
        assert b"state" in answer.content or b"auth_redirect" in answer.content

    def test_an_open_page_gets_fresh_tickets_and_learns_of_the_exchange(self, client, alice):
        client.force_login(alice)
        first = callback_of(consent(client))
        fields = {"state": STATE, "auth_redirect": TARGET, "organization": "", "model": ""}
        fresh = client.post("/extension/hand-off", fields).json()["url"]
        status = f"/extension/hand-off/status?state={STATE}"
        assert client.get(status).json() == {"signed_in": False, "label": ""}

        code = parse_qs(urlsplit(fresh).query)["code"][0]
        assert code != first["code"]
        exchange = json.dumps({"strategy": "ticket", "ticket": code})
        client.post("/v1/client/sign_ins", exchange, content_type="application/json")

        assert client.get(status).json() == {"signed_in": True, "label": "VS Code"}
        assert client.post("/extension/hand-off", fields).json() == {
            "url": None,
            "signed_in": True,
            "label": "VS Code",
        }


class TestTheCommandLine:
    def test_names_the_port_before_it_gives_a_token(self, client, alice):
        client.force_login(alice)
        page = client.get(CLI)
        assert b"49152" in page.content
        assert not ClientSession.unscoped.exists()

    def test_gets_a_ninety_day_token(self, client, alice, acme):
        client.force_login(alice)
        answer = client.post(
            "/cli/sign-in",
            {
                "state": STATE,
                "callback": "http://127.0.0.1:49152/callback",
                "organization": acme.pk,
                "decision": "allow",
            },
        )
        link = re.search(r'href="(http://127[^"]+)"', answer.content.decode())[1]
        query = parse_qs(urlsplit(html.unescape(link)).query)
        claims = tokens.verify(query["token"][0])

        assert query["state"] == [STATE]
        assert claims.organization_id == acme.pk
        assert claims.expires_at - timezone.now().timestamp() > 89 * 86400

    def test_a_refusal_is_told_to_the_command_line(self, client, alice):
        client.force_login(alice)
        fields = {"state": STATE, "callback": "http://127.0.0.1:1/callback", "decision": "deny"}
        assert b"error=access_denied" in client.post("/cli/sign-in", fields).content

    @pytest.mark.parametrize("face", ["success=true", "error=missing-token&message=<script>", ""])
    def test_its_other_faces_need_no_sign_in(self, client, db, face):
        answer = client.get(f"/cli/sign-in?{face}")
        assert answer.status_code in (200, 400)
        assert b"<script>" not in answer.content.replace(b'<script type="module"', b"")

    def test_a_foreign_callback_is_refused(self, client, alice):
        """Trap 14."""
        client.force_login(alice)
        evil = CLI.replace("127.0.0.1", "evil.example")
        assert client.get(evil).status_code == 400


class TestTrpc:
    def ask(self, client, paths="auth.me", *, batch="1", **headers):
        query = {"batch": batch, "input": '{"0":{"json":null}}'} if batch else {}
        return client.get(f"/trpc/{paths}", query, headers=headers)

    def test_a_cli_token_is_a_user(self, client, alice):
        answer = self.ask(client, **factories.bearer(alice, kind="cli"))
        found = answer.json()[0]["result"]["data"]["json"]
        assert (found["type"], found["user"]["name"]) == ("user", "Alice Archer")

    def test_errors_are_trpcs(self, client, db):
        answer = self.ask(client)
        assert answer.status_code == 401
        error = answer.json()[0]["error"]["json"]
        assert (error["message"], error["code"]) == ("UNAUTHORIZED", -32001)
        assert error["data"]["path"] == "auth.me"

    def test_several_calls_get_one_element_each(self, client, alice):
        answer = self.ask(client, "auth.me,no.such", **factories.bearer(alice, kind="cli"))
        assert answer.status_code == 207
        assert ["result" in answer.json()[0], "error" in answer.json()[1]] == [True, True]

    def test_without_batch_the_element_is_bare(self, client, alice):
        answer = self.ask(client, batch="", **factories.bearer(alice, kind="cli"))
        assert "result" in answer.json()

    @pytest.mark.django_db(transaction=True)
    def test_the_real_trpc_client_reads_it(self, live_url, alice):
        """With the versions that the command line pins."""
        header = factories.bearer(alice, kind="cli")["Authorization"]
        script = """
          import { createTRPCClient, httpBatchLink } from "@trpc/client";
          import superjson from "superjson";
          const [url, authorization] = process.argv.slice(1);
          const headers = () => ({ authorization });
          const links = [httpBatchLink({ url: `${url}/trpc`, transformer: superjson, headers })];
          const client = createTRPCClient({ links });
          console.log(JSON.stringify(await client.auth.me.query()));
        """
        done = subprocess.run(  # noqa: S603 - our own script
            ["node", "--input-type=module", "-e", script, live_url, header],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["user"]["email"] == alice.email


class TestDevicesAndTokens:
    def test_all_kinds_are_listed_and_one_can_be_ended(self, client, alice, acme):
        for kind in ("editor", "cli", "job"):
            factories.client_session(alice, kind, label=f"my {kind}", organization_id=acme.pk)
        client.force_login(alice)
        page = client.get("/account/devices").content.decode()
        assert all(f"my {kind}" in page for kind in ("editor", "cli", "job"))
        session = ClientSession.unscoped.filter(kind="cli").get()

        assert b"Sign out" in client.get(f"/account/devices/{session.pk}/end").content
        client.post(f"/account/devices/{session.pk}/end")

        session.refresh_from_db()
        assert session.ended_at is not None
        assert f"{session.pk}/end" not in client.get("/account/devices").content.decode()

    def test_everything_else_can_be_ended_at_once(self, client, alice):
        factories.client_session(alice)
        factories.client_session(alice, "job")
        client.force_login(alice)
        client.post("/account/devices/end-all")
        assert not ClientSession.unscoped.alive(timezone.now()).exists()
        assert client.get("/account").status_code == 200  # this browser stays

    def test_a_job_token_is_shown_once_and_works(self, client, alice, acme):
        client.force_login(alice)
        fields = {"name": "nightly", "organization": acme.pk, "days": "30"}
        answer = client.post("/account/tokens/new", fields)
        token = re.search(r'id="token">([^<]+)<', answer.content.decode())[1]

        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/api/extension-settings", headers=headers).status_code == 200
        assert token not in client.get("/account/devices").content.decode()

    def test_the_list_asks_as_much_for_thirty_as_for_three(
        self, client, alice, django_assert_max_num_queries, django_assert_num_queries
    ):
        client.force_login(alice)
        client.get("/account/devices")
        for _ in range(3):
            factories.client_session(alice)
        with django_assert_max_num_queries(20) as few:
            client.get("/account/devices")
        for _ in range(27):
            factories.client_session(alice)
        with django_assert_num_queries(len(few.captured_queries)):
            client.get("/account/devices")


def links(answer) -> dict[str, str]:
    """Addresses of a page's links, by their words."""
    found = re.findall(r'<a[^>]*\shref="([^"]+)"[^>]*>([^<]+)</a>', answer.content.decode())
    return {words.strip(): html.unescape(address) for address, words in found}


class TestAskingToSignIn:
    """Whatever somebody does first, they come back to the editor's sign-in."""

    @pytest.mark.parametrize(
        ("mode", "is_offered"), [("open", True), ("invitation", False), ("closed", False)]
    )
    def test_an_account_is_offered_where_one_can_be_made(
        self, client, db, settings, mode, is_offered
    ):
        settings.ROOCLOUD_SIGNUP = mode
        offered = links(client.get("/accounts/login/", {"next": SIGN_IN}))

        assert ("Create an account" in offered) is is_offered
        if is_offered:
            page = client.get(offered["Create an account"])
            fields = {"email": "new@example.com", "password1": factories.PASSWORD}
            asked = re.search(r'name="next" value="([^"]+)"', page.content.decode())[1]
            made = client.post("/accounts/signup/", {**fields, "next": html.unescape(asked)})
            assert made["Location"] == SIGN_IN

    def test_an_account_is_offered_to_who_was_invited(self, client, alice, acme, settings):
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = invite(
            organization=acme,
            email="new@example.com",
            role="member",
            by=factories.actor(alice, acme),
            at=timezone.now(),
        )
        client.get(f"/invitations/{secret}")
        assert "Create an account" in links(client.get("/accounts/login/"))

    def test_a_forgotten_password_leads_back(self, client, alice):
        login = client.get("/accounts/login/", {"next": SIGN_IN})
        forgot = urlsplit(links(login)["Forgot your password?"])
        assert parse_qs(forgot.query)["next"] == [SIGN_IN]

        assert reset(client, alice.email, following=SIGN_IN)["Location"] == SIGN_IN

    @pytest.mark.parametrize("path", [SIGN_IN, CLI])
    def test_not_you_leads_back(self, client, alice, path):
        client.force_login(alice)
        page = client.get(links(client.get(path))["Not you?"])
        asked = html.unescape(re.search(r'name="next" value="([^"]+)"', page.content.decode())[1])
        assert client.post("/accounts/logout/", {"next": asked})["Location"] == path
        assert client.get(path).status_code == 302  # to sign in, as somebody else


class TestSignUp:
    def test_open_closed_and_by_invitation(self, client, db, settings):
        settings.ROOCLOUD_SIGNUP = "closed"
        assert b"by invitation" in client.get("/accounts/signup/").content
        settings.ROOCLOUD_SIGNUP = "invitation"
        assert b"by invitation" in client.get("/accounts/signup/").content
        settings.ROOCLOUD_SIGNUP = "open"
        assert b"Create account" in client.get("/accounts/signup/").content

    def test_a_new_person_signs_up_and_is_signed_in(self, client, db, settings):
        settings.ROOCLOUD_SIGNUP = "open"
        fields = {"email": "New@Example.com", "password1": "correct horse battery"}
        client.post("/accounts/signup/", fields)
        assert b"new@example.com" in client.get("/account").content

    def test_an_invitation_is_for_its_address(self, client, alice, acme, settings):
        """B7"""
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = invite(
            organization=acme,
            email="new@example.com",
            role="member",
            by=factories.actor(alice, acme),
            at=timezone.now(),
        )
        client.get(f"/invitations/{secret}")
        fields = {"email": "other@example.com", "password1": "correct horse battery"}

        refused = client.post("/accounts/signup/", fields)
        assert b"not the address that was invited" in refused.content
        client.post("/accounts/signup/", {**fields, "email": "New@example.com"})

        assert not User.objects.filter(email="other@example.com").exists()
        assert User.objects.filter(email="new@example.com").exists()
