"""From sign-in to share, as a person sees it."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.utils import timezone

from accounts.models import ClientSession
from credits import actions as credit
from credits.models import Entry
from orgs import actions as orgs
from tasks_sharing import actions as tasks
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
STATE = "0123456789abcdef0123456789abcdef"
SIGN_IN = f"/extension/sign-in?state={STATE}&auth_redirect=vscode://RooVeterinaryInc.roo-cline"
HOSTILE = (
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 1'> "
    "![p](http://evil.example/p.png) [l](javascript:window.hacked=1) <b onmouseover=1>x</b>"
)


def log_in(visitor, person) -> None:
    page = visitor.page
    page.fill("input[name=login]", person.email)
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_load_state()


def record(person, org, text="Check this server", result="It **works**."):
    created = tasks.Event("Task Created", {"taskId": "t-1"})
    tasks.record_event(actor=factories.actor(person, org), event=created, at=timezone.now())
    for ts, say, said in (
        (1, "text", text),
        (2, "completion_result", result),
        (3, "command_output", result),
    ):
        message = {"ts": ts, "type": "say", "say": say, "text": said}
        event = tasks.Event("Task Message", {"taskId": "t-1", "message": message})
        tasks.record_event(actor=factories.actor(person, org), event=event, at=timezone.now())
    return tasks.share_task(
        actor=factories.actor(person, org), task_id="t-1", visibility="public", at=timezone.now()
    ).url


def exchange(callback: str) -> int:
    """Redeem the ticket of a callback URL as the editor does; the status."""
    code = re.search(r"code=([A-Za-z0-9_-]+)", callback)[1]
    answer = Client().post(
        "/v1/client/sign_ins",
        f"strategy=ticket&ticket={code}",
        content_type="application/x-www-form-urlencoded",
    )
    return answer.status_code


def test_the_whole_round(visitor, live_url, alice, acme):
    mine = visitor()
    page = mine.go(SIGN_IN)
    log_in(mine, alice)
    mine.look("consent")
    text = page.inner_text("main")
    assert alice.email in text
    assert "Acme" in text
    assert "VS Code" in text
    page.click("text=Continue")
    page.wait_for_selector("#callback-url")
    mine.look("hand-off")

    assert exchange(page.inner_text("#callback-url")) == 200
    page.wait_for_selector("text=Signed in on VS Code", timeout=15_000)

    url = record(alice, acme)
    stranger = visitor()
    shared = stranger.go(url.replace(url.partition("/share")[0], live_url))
    assert "Check this server" in shared.inner_text("h1")
    assert shared.inner_text("[data-form=result] strong") == "works"


def test_the_hand_off_opens_the_editor_with_no_ticket_twice(visitor, alice):
    """B1: a second use would end the session that the first one made."""
    mine = visitor()
    page = mine.go(SIGN_IN)
    log_in(mine, alice)
    navigations = mine.context.new_cdp_session(page)
    navigations.send("Page.enable")
    asked = []
    navigations.on("Page.frameRequestedNavigation", lambda event: asked.append(event["url"]))

    def opened():
        return [url for url in asked if url.startswith("vscode://")]

    page.click("text=Continue")
    ready = "[data-open]:not([aria-disabled])"
    page.wait_for_selector("[data-open][aria-disabled]")
    page.wait_for_selector(ready)
    assert len(opened()) == 1

    # By script, because the browser's question about the first opening holds back the mouse; what it
    # says about that is none of the page's.
    page.evaluate("for (const _ of [1, 2]) document.querySelector('[data-open]').click()")
    page.wait_for_selector(ready)
    mine.complaints = [said for said in mine.complaints if "user gesture" not in said]
    assert len(opened()) == len(set(opened())) == 2

    assert exchange(opened()[1]) == 200
    page.evaluate("document.querySelector('[data-open]')?.click()")
    page.wait_for_selector("text=Signed in on VS Code", timeout=15_000)
    assert len(opened()) == 2
    assert "code=" not in page.content()
    assert not page.query_selector("[data-open], #callback-url, form[method=post] [name=state]")
    mine.look("hand-off-done")
    assert ClientSession.unscoped.get().ended_at is None


def test_hostile_text_runs_nothing_and_loads_nothing(visitor, live_url, alice, acme):
    """J1: with scripts and without."""
    url = record(alice, acme, text=HOSTILE, result=HOSTILE)
    path = url[url.index("/share/") :]
    for context in ({}, {"java_script_enabled": False}):
        stranger = visitor(**context)
        stranger.page.goto(live_url + path)
        assert "<script>window.hacked" in stranger.page.inner_text("main")
        if not context:
            stranger.page.evaluate(
                "document.querySelectorAll('details').forEach(d => d.open = true)"
            )
            stranger.page.hover("main")
            assert stranger.page.evaluate("window.hacked") is None
        # A title is text in a quoted attribute, where browsers write a > as it is.
        html = re.sub(r'<meta property="og:[^"]*" content="[^"]*">', "", stranger.page.content())
        assert not re.search(r"<[^>]+\son\w+=", html)
        assert "evil.example" not in "".join(re.findall(r"<(?:img|script|link)[^>]*>", html))


def test_every_page_fits_and_is_quiet(visitor, alice, acme):
    record(alice, acme)
    mine = visitor()
    for path in ("/", "/accounts/login/", "/accounts/password/reset/", "/cli/sign-in"):
        mine.go(path)
    mine.sign_in(alice)
    for path in (
        "/", "/connect", "/tasks", "/tasks?of=team", "/task/t-1", "/task/t-1/delete", "/account", "/account/devices", "/budgets", "/usage",
        "/account/devices/end-all", "/account/tokens/new", "/organizations", f"/organizations/{acme.pk}",
        f"/organizations/{acme.pk}/settings", f"/organizations/{acme.pk}/members/{alice.pk}",
        "/accounts/email/", "/accounts/2fa/", "/accounts/password/change/", "/accounts/sessions/",
        f"/cli/sign-in?state={STATE}&callback=http://127.0.0.1:49152/callback",
    ):  # fmt: skip
        mine.go(path)


def test_settings_are_changed_after_a_look_and_a_fresh_sign_in(visitor, alice, acme):
    """O1"""
    first = orgs.current_revision(acme).version
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go(f"/organizations/{acme.pk}/settings/text")
    text = page.input_value("textarea")
    page.fill(
        "textarea", text.replace('"defaultSettings"', '"hiddenMcps": ["x"], "defaultSettings"')
    )
    page.click("text=Review what changes")
    page.wait_for_selector("text=Save for all")
    mine.look("settings-preview")
    page.click("text=Save for all")
    page.wait_for_selector("input[name=password]")
    mine.look("settings-confirm")
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("button:has-text('Confirm')")
    page.wait_for_selector("text=Editors read it within the hour")

    mine.go(f"/organizations/{acme.pk}/settings/{first}/restore")
    page.click("button:has-text('Restore')")
    page.wait_for_selector(f"text=Version {first} is in force again")


def test_an_invitation_leads_on(visitor, alice, bob, acme):
    """B7"""
    _, secret = orgs.invite(
        organization=acme,
        email=bob.email,
        role="member",
        by=factories.actor(alice, acme),
        at=timezone.now(),
    )
    mine = visitor()
    page = mine.go(f"/invitations/{secret}")
    page.click("main >> text=Sign in")
    log_in(mine, bob)
    mine.look("invitation-unverified")
    page.click("text=Send the verification mail")
    page.wait_for_selector(f".notice:has-text('sent to {bob.email}')")
    mine.look("invitation-mail-sent")


def test_a_second_factor_can_be_set_up(visitor, alice):
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go("/accounts/2fa/totp/activate/")
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("button:has-text('Confirm')")
    page.wait_for_selector(".qr")
    mine.look("totp")
    assert page.eval_on_selector(".qr", "e => getComputedStyle(e).backgroundColor") == (
        "rgb(255, 255, 255)"  # a dark code on a dark page cannot be scanned
    )
    page = mine.go("/accounts/2fa/webauthn/add/")
    label = "label[for=id_passwordless]"
    assert page.eval_on_selector(label, "e => e.offsetWidth") > 90


def test_the_admin_fits(visitor, live_url, alice, acme):
    at = timezone.now()
    root = factories.user("root@example.com", is_staff=True, is_superuser=True)
    account = credit.account_of(user_id=alice.pk, organization_id=acme.pk, at=at)
    credit.grant(account=account, amount_nanos=10**9, key="k" * 64, by=None, at=at, note="n" * 80)
    entry = Entry.unscoped.get()
    mine = visitor()
    mine.sign_in(root)
    page = mine.go("/admin/")
    room = page.viewport_size["width"]
    assert page.eval_on_selector(".cockpit", "e => e.offsetWidth") > 0.7 * room
    for path in (f"/admin/credits/entry/{entry.pk}/change/", "/admin/credits/entry/"):
        mine.go(path)


def test_the_api_is_described(visitor):
    one = visitor()
    page = one.go("/api/docs")
    page.click(
        ".opblock-summary[aria-label*='extension/share'], [data-path='/api/extension/share']"
    )
    page.wait_for_selector(".opblock-body")
    one.look("api-docs-open")


def test_the_keyboard_reaches_the_content_first(visitor):
    page = visitor().go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"


def test_an_address_is_copied(visitor, live_url, alice):
    one = visitor(permissions=["clipboard-read", "clipboard-write"])
    one.sign_in(alice)
    page = one.go("/connect")
    page.click("copy-button[for=variables] button")
    page.wait_for_selector("text=Copied")
    assert f"ROO_CODE_API_URL={live_url}" in page.evaluate("navigator.clipboard.readText()")


def test_an_api_key_is_made_used_and_ended(visitor, live_url, alice, acme):
    mine = visitor(permissions=["clipboard-read", "clipboard-write"])
    mine.sign_in(alice)
    page = mine.page
    mine.go("/account/keys")
    page.click("text=Make one")
    page.fill("[name=name]", "nightly builds")
    page.fill("[name=note]", "Translations of the handbook, every night")
    page.fill("[name=limit]", "5")
    page.focus("[name=models]")
    page.keyboard.press("Space")
    mine.look("account-keys-new")
    page.click("text=Make the key")
    page.wait_for_selector("#secret")
    mine.look("account-keys-secret")
    page.click("copy-button[for=secret] button")
    page.wait_for_selector("text=Copied")
    secret = page.evaluate("navigator.clipboard.readText()")
    answer = Client().get("/proxy/v1/models", headers={"X-Api-Key": secret})
    assert [entry["id"] for entry in answer.json()["data"]] == ["demo/coder"]

    page.click("text=Done")
    mine.look("account-keys-list")
    assert secret not in page.content()
    assert "$5.00" in page.inner_text("main")
    page.click("text=Manage")
    mine.look("account-keys-key")
    page.click("text=Edit name, models")
    page.wait_for_selector("text=The secret stays the same")
    mine.look("account-keys-edit")
    page.fill("[name=limit]", "7.5")
    page.click("button:has-text('Save')")
    page.wait_for_selector("text=$7.50")
    page.click("text=Pause the key")
    page.wait_for_selector("text=Resume the key")
    mine.look("account-keys-paused")
    page.click("text=Resume the key")
    page.select_option("[name=overlap]", "168")
    page.click("text=Make a new secret")
    page.wait_for_selector("text=The old secret works until")
    mine.look("account-keys-rotated")

    mine.go(f"/organizations/{acme.pk}/keys")
    page.click("text=Manage")
    mine.look("organization-key")
    page.click("text=Revoke the key")
    mine.look("organization-key-revoke")
    page.click("button:has-text('Revoke')")
    page.wait_for_selector("text=is revoked")
    mine.look("organization-keys-empty")
