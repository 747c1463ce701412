"""A row of everything that the admin lists."""

from dataclasses import replace

from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.utils import timezone

from accounts import tokens
from bridge import tokens as bridge_tokens
from bridge.models import Command, Instance
from credits import actions as credit
from credits.budgets import put_budget
from credits.models import Payment, TopUp
from orgs import actions as orgs
from orgs import items
from orgs.actions import invite
from proxy import actions as proxy
from proxy import catalogue
from proxy.pricing import Usage
from tasks_sharing import actions as tasks
from telemetry import actions as telemetry
from tests import factories
from tests.proxy.test_usage import begin, finish

MODE = "{slug: m, name: m, roleDefinition: m, groups: [read]}"


def fill(alice, acme, *, number=0):
    """A row of everything; number: to make another set beside it."""
    at = timezone.now()
    actor = factories.actor(alice, acme)
    factories.client_session(alice, label=f"editor {number}")
    factories.api_key(alice, acme, name=f"key {number}")
    orgs.propose(
        organization=acme, document=orgs.current_revision(acme).document, by=actor, note="", at=at,
        read_version=orgs.current_revision(acme).version,
    )  # fmt: skip
    mode = {"id": f"m{number}", "name": "M", "description": "", "content": MODE}
    orgs.put_item(organization=acme, item=items.parse(mode), by=actor, at=at)
    invite(organization=acme, email=f"x{number}@x.example", role="member", by=actor, at=at)
    account = credit.account_of(user_id=alice.pk, organization_id=acme.pk, at=at)
    credit.grant(account=account, amount_nanos=10**12, key=f"g{number}", by=None, at=at, note="n")
    put_budget(
        by=actor, account=account, scope="model", subject=f"m{number}", period="month",
        limit_nanos=10**15, at=at,
    )  # fmt: skip
    TopUp.unscoped.create(
        account=account, asked_by_id=alice.pk, key=f"k{number}", amount_nanos=1, reason="n",
        asked_at=at, state="declined", decided_at=at,
    )  # fmt: skip
    Payment.unscoped.create(
        account=account, by_id=alice.pk, key=f"k{number}", amount_nanos=1, begun_at=at
    )
    upstream = proxy.put_upstream(
        name=f"u{number}", base_url="https://a.example/v1", api_key="sk-very-secret", by=None, at=at
    )
    proxy.put_model(
        model_id=f"v/m{number}", upstream=upstream, upstream_model="m", price=proxy.NewPrice(1, 1),
        facts=proxy.ModelFacts(), by=None, at=at,
    )  # fmt: skip
    catalogue.forget()
    finish([begin(alice, acme, model=f"v/m{number}", task="t", at=at)], Usage(9, 9))
    message = {"ts": 1, "type": "say", "say": "text", "text": "canary-conversation"}
    event = tasks.Event("Task Message", {"taskId": f"t-{number}", "message": message})
    created = tasks.Event("Task Created", {"taskId": f"t-{number}"})
    telemetry.record_events(actor=actor, events=[created, event], is_retry=False, at=at)
    tasks.share_task(actor=actor, task_id=f"t-{number}", visibility="public", at=at)
    tokens.make_key(at=at)
    person = factories.user(f"factors{number}@x.example")
    EmailAddress.objects.create(user=person, email=person.email, verified=True)
    TOTP.activate(person, "JBSWY3DPEHPK3PXPCANARYTOTP")
    RecoveryCodes.activate(person)
    UserSession.objects.create(
        user=person, ip="192.0.2.1", user_agent="x", session_key=f"canary-session-{number}"
    )
    SocialAccount.objects.create(
        user=person, provider="github", uid=str(number), extra_data={"x": "canary-extra"}
    )
    session, _ = factories.client_session(alice)
    bridge_tokens.issue(replace(actor, session_id=session.pk), at=at)
    Instance.unscoped.create(
        owner=alice,
        instance_id=f"window-{number}",
        snapshot='{"task":"canary-conversation"}',
        first_seen_at=at,
        last_seen_at=at,
    )
    Command.unscoped.create(
        id=f"cmd_{number}",
        key=str(number),
        sender=alice,
        kind="start_task",
        state="queued",
        payload='{"text":"canary-conversation"}',
        given_at=at,
        expires_at=at,
    )
