"""Making the demo, keeping its editors connected, and taking it away again."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from accounts import actions as accounts
from accounts import api_keys, editors, memberships
from accounts.actors import Actor, shell_actor
from bridge import presence
from bridge.schemas import ExtensionInstance
from credits import actions as credit
from credits import budgets, top_ups
from notifications import actions as notifications
from notifications import preferences
from notifications.kinds import Kind
from orgs import actions as orgs
from proxy import actions as proxy
from proxy import catalogue
from roocloud.demo import company, conversations, usage
from roocloud.demo.company import JOBS, PEOPLE, Job, Person
from roocloud.lib import wire
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import Conflict
from tasks_sharing import actions as tasks
from tasks_sharing import queries as stored
from tasks_sharing.actions import Event
from telemetry import actions as telemetry

if TYPE_CHECKING:
    from accounts.models import User
    from orgs.models import Organization
    from proxy.models import Upstream

DAYS = 30
_SEED = 20
_EDITOR = "vscode://RooVeterinaryInc.roo-cline"
#: A working day, in hours of UTC.
_FROM, _UNTIL = 8, 17


@dataclass(frozen=True, slots=True)
class Member:
    person: Person
    user: "User"
    actor: Actor


def standing() -> "tuple[User, str] | None":
    """Whose demo there is now, and the id of its organization; None for none."""
    for owner in _owners():
        for of in memberships.of(user_id=owner.pk):
            if owner.is_active and of.organization_name == company.NAME:
                return owner, of.organization_id
    return None


def _owners() -> "Iterator[User]":
    """Of each demo that there was, the last one included."""
    number = 1
    while owner := accounts.find_user(_email(PEOPLE[0], number)):
        yield owner
        number += 1


def _email(person: Person, number: int) -> str:
    """Addresses of a demo that was taken away stay with its people."""
    again = f".{number}" if number > 1 else ""
    return f"{person.name.lower()}{again}@{company.DOMAIN}"


def make(*, password: str, at: datetime) -> "User":
    """The whole organization, in one transaction; its owner.

    Raises Conflict if there is one already.
    """
    if standing():
        raise Conflict("The demo is here already")
    draw = random.Random(_SEED)  # noqa: S311 - the same demo each time
    began = datetime.combine(at.date() - timedelta(days=DAYS), time(7), tzinfo=UTC)
    with transaction.atomic():
        organization, members = _people(password, at=began)
        owner = members[0]
        account = credit.account_of(
            user_id=owner.user.pk, organization_id=organization.pk, at=began
        )
        _grant(organization, owner, at=began)
        upstream = _models(at=began)
        spent = _work(members, account.pk, draw, began=began, until=at)
        proxy.switch_upstream(upstream=upstream, is_on=False, by=None, at=at)
        _sign_in(members, at=at - timedelta(hours=1))
        _money(members, spent, at=at)
        _lately(members, at=at)
        connect(members, at=at)
    return owner.user


def _people(password: str, *, at: datetime) -> "tuple[Organization, list[Member]]":
    number = sum(1 for _ in _owners()) + 1
    users = [
        accounts.make_user(
            email=_email(person, number),
            password=password,
            first_name=person.name,
            last_name=person.surname,
            at=at,
        )
        for person in PEOPLE
    ]
    organization = orgs.create_organization(
        name=company.NAME, owner=users[0], by=shell_actor(users[0]), at=at
    )
    for person, user in zip(PEOPLE[1:], users[1:], strict=True):
        orgs.put_member(organization=organization, user=user, role=person.role, by=None, at=at)
    return organization, _members(users, organization.pk)


def _members(users: "Sequence[User]", organization_id: str) -> list[Member]:
    return [
        Member(person, user, shell_actor(user, organization_id=organization_id))
        for person, user in zip(PEOPLE, users, strict=True)
    ]


def _sign_in(members: Sequence[Member], *, at: datetime) -> None:
    """An editor of everybody who works with one."""
    editor = editors.find(_EDITOR)
    for member in members:
        if member.person.pace:
            code = accounts.issue_ticket(by=member.actor, editor=editor, state="demo", at=at)
            accounts.redeem_ticket(code=code, user_agent="Roo-Code 3.50.0", at=at)


def _grant(organization: "Organization", owner: Member, *, at: datetime) -> None:
    for usd, key, note, days in (
        (400, "demo-1", "Start of the quarter", 0),
        (150, "demo-2", "Extra for the payments migration", 14),
    ):
        account = credit.account_of(user_id=owner.user.pk, organization_id=organization.pk, at=at)
        when = at + timedelta(days=days)
        credit.grant(account=account, amount_nanos=usd * USD, key=key, by=None, note=note, at=when)


def _models(*, at: datetime) -> "Upstream":
    upstream = proxy.put_upstream(
        name=company.UPSTREAM,
        base_url=f"https://models.{company.DOMAIN}/v1",
        api_key="demo",
        by=None,
        at=at,
    )
    for offer in company.OFFERS:
        price = proxy.NewPrice(
            offer.input_usd * USD, offer.output_usd * USD, cache_read=offer.input_usd * USD // 10
        )
        proxy.put_model(
            model_id=offer.model_id,
            upstream=upstream,
            upstream_model=offer.model_id,
            price=price,
            facts=proxy.ModelFacts(name=offer.name, context_window=200_000, max_tokens=8_000),
            by=None,
            at=at,
        )
    catalogue.forget()
    return upstream


# --- A month ----------------------------------------------------------------------------------


def _work(
    members: Sequence[Member],
    account_id: str,
    draw: random.Random,
    *,
    began: datetime,
    until: datetime,
) -> Counter[tuple[str, str]]:
    """Tasks with their completions, in the order in which they happened; what was spent in this
    month, by what a budget may limit."""
    shared, spent = 0, Counter[tuple[str, str]]()
    for at, member in _begun(members, draw, began=began, until=until):
        job = draw.choice(JOBS)
        task_id = str(UUID(int=draw.getrandbits(128), version=4))
        run = usage.complete(
            actor=member.actor, account_id=account_id, task_id=task_id, at=at, draw=draw
        )
        _record(member, job, run, at=at)
        if shared < len(_SHARES):
            tasks.share_task(actor=member.actor, task_id=task_id, visibility=_SHARES[shared], at=at)
            shared += 1
        if (at.year, at.month) == (until.year, until.month):
            for subject in _limited(member, run.model_id):
                spent[subject] += sum(run.costs_nanos)
    return spent


def _limited(member: Member, model_id: str) -> list[tuple[str, str]]:
    return [("account", ""), ("member", member.user.pk), ("model", model_id)]


_SHARES = ("organization", "public", "organization")


def _begun(
    members: Sequence[Member], draw: random.Random, *, began: datetime, until: datetime
) -> list[tuple[datetime, Member]]:
    """When who begins a task: on working days, and on this one up to a while ago."""
    found = []
    for number in range(1, DAYS + 1):
        day = began.date() + timedelta(days=number)
        if day.weekday() >= 5 and number < DAYS:
            continue
        for place, member in enumerate(members):
            pace = member.person.pace
            for _ in range(int(pace + draw.random())):
                seconds = draw.randrange((_UNTIL - _FROM) * 3600)
                at = datetime.combine(day, time(_FROM), tzinfo=UTC) + timedelta(seconds=seconds)
                if at < until - timedelta(minutes=30):
                    found.append((at, place, member))
    return [(at, member) for at, _, member in sorted(found, key=lambda one: one[:2])]


def _record(member: Member, job: Job, run: usage.Run, *, at: datetime) -> None:
    costs = [cost / USD for cost in run.costs_nanos]
    facts = {
        "taskId": run.task_id,
        "mode": job.mode,
        "modelId": run.model_id,
        "repositoryName": job.repository,
        "defaultBranch": "main",
        "appName": "roo-code",
    }
    said = conversations.finished(job, at=at, costs_usd=costs)
    used = {"inputTokens": 9_000, "outputTokens": 900, "cost": sum(costs)}
    events = [
        Event("Task Created", facts),
        *(Event("Task Message", {"taskId": run.task_id, "message": one}) for one in said),
        Event("LLM Completion", {**facts, **used}),
        Event("Task Completed", facts),
    ]
    telemetry.record_events(actor=member.actor, events=events, is_retry=False, at=at)


# --- What is there now ------------------------------------------------------------------------


def _money(members: Sequence[Member], spent: Counter[tuple[str, str]], *, at: datetime) -> None:
    """Limits, some of them nearly used up, keys, and requests for credit."""
    owner, admin, priya, jonas = members[0], members[1], members[2], members[3]
    account = credit.account_of(
        user_id=owner.user.pk, organization_id=owner.actor.organization_id, at=at
    )
    most = max((cost for (scope, _), cost in spent.items() if scope == "member"), default=0)
    reasoner = company.OFFERS[2].model_id
    limits = (
        ("account", "", "month", _round(spent["account", ""] * 14 // 10)),
        ("account", "", "day", 15),
        ("member", "", "month", _round(most * 11 // 10)),
        ("model", reasoner, "month", _round(spent["model", reasoner] * 13 // 10)),
    )
    for scope, subject, period, usd in limits:
        budgets.put_budget(
            by=owner.actor,
            account=account,
            scope=scope,
            subject=subject,
            period=period,
            limit_nanos=usd * USD,
            at=at,
        )
    for member, name in ((jonas, "Nightly evaluation"), (owner, "Notebook")):
        api_keys.make_key(by=member.actor, new=api_keys.NewKey(name), at=at)
    refused = top_ups.ask(
        by=jonas.actor,
        amount_nanos=500 * USD,
        reason="Compare all models on the whole test suite",
        key="demo-1",
        at=at - timedelta(days=6),
    )
    top_ups.decline(
        by=admin.actor,
        top_up_id=refused.pk,
        answer="Let us compare the two cheap ones first",
        at=at - timedelta(days=5),
    )
    top_ups.ask(
        by=priya.actor,
        amount_nanos=100 * USD,
        reason="The payments migration takes a week longer",
        key="demo-2",
        at=at - timedelta(hours=3),
    )


def _round(nanos: int) -> int:
    """Up to whole dollars, five at least."""
    return max(-(-nanos // USD), 5)


def _lately(members: Sequence[Member], *, at: datetime) -> None:
    """A task that runs and waits for its owner, and what she was told."""
    owner, began = members[0], at - timedelta(minutes=4)
    job, task_id = JOBS[0], _waiting_id(owner.user.pk)
    facts = {"taskId": task_id, "mode": job.mode, "repositoryName": job.repository}
    events = [Event("Task Created", facts)]
    events += [
        Event("Task Message", {"taskId": task_id, "message": one})
        for one in conversations.waiting(job, at=began)
    ]
    telemetry.record_events(actor=owner.actor, events=events, is_retry=False, at=began)
    # By no way but the page: nobody reads mail of an example.
    wishes = replace(preferences.Wishes(), choices=frozenset(), is_known=True)
    for member in members:
        preferences.save(user_id=member.user.pk, wishes=wishes, at=at)
    news = [
        notifications.News(
            user_id=owner.user.pk, kind=kind, key=f"demo-{kind}", topic=task_id,
            title=title, text=text, path="/roomote",
        )
        for kind, title, text in (
            (Kind.APPROVAL, "Needs approval", "An editor on maya-studio asks to run a command"),
            (Kind.FINISHED, "Finished", "A task on maya-studio is done"),
        )
    ]  # fmt: skip
    notifications.tell(news, at=began)


def _waiting_id(user_id: str) -> str:
    """The same each time that it is asked for."""
    return f"demo-{user_id.lower()[-20:]}"


def connect(members: Sequence[Member], *, at: datetime) -> None:
    """Two editors say that they are there, which holds for a minute: one waits for an approval."""
    presence.put([_sighting(member, at=at) for member in (members[0], members[2])])


def connect_again(*, at: datetime) -> bool:
    """The same of the demo that stands; False for none."""
    found = standing()
    if found is None:
        return False
    owner, organization_id = found
    number = next(n for n, one in enumerate(_owners(), start=1) if one.pk == owner.pk)
    users = [accounts.find_user(_email(person, number)) for person in PEOPLE]
    connect(_members([user for user in users if user], organization_id), at=at)
    return True


def _sighting(member: Member, *, at: datetime) -> presence.Sighting:
    is_owner = member.person is PEOPLE[0]
    job, waits = JOBS[0], {}
    if is_owner:
        (*_, ask) = conversations.waiting(job, at=at - timedelta(minutes=4))
        waits = {"taskAsk": ask}
    state = {
        "taskId": _waiting_id(member.user.pk) if is_owner else "",
        "taskStatus": "interactive" if is_owner else "none",
        "task": job.prompt if is_owner else "",
        **waits,
    }
    instance = {
        "instanceId": f"demo-{member.person.host}",
        "userId": member.user.pk,
        "workspacePath": f"/work/{job.repository}",
        "appProperties": {
            "appName": "roo-code",
            "appVersion": "3.50.0",
            "vscodeVersion": "1.105.0",
            "platform": "linux",
            "editorName": "Visual Studio Code",
            "hostname": member.person.host,
        },
        "gitProperties": {"repositoryName": job.repository, "defaultBranch": "main"},
        "lastHeartbeat": at.timestamp() * 1000,
        "task": state,
        "taskHistory": [],
        "mode": "code",
        **waits,
    }
    return presence.Sighting(
        owner_id=member.user.pk,
        organization_id=member.actor.organization_id,
        instance=wire.convert(instance, ExtensionInstance),
        node="demo",
        sid=f"demo-{member.user.pk}"[:40],
        at=at,
    )


# --- Away again -------------------------------------------------------------------------------


def remove(*, at: datetime) -> bool:
    """Delete its tasks and links, close its accounts and call its organization removed; False if
    there is none. The ledger and the sums of usage stay: they are kept by design (C1, L3)."""
    found = standing()
    if found is None:
        return False
    owner, organization_id = found
    number = next(n for n, one in enumerate(_owners(), start=1) if one.pk == owner.pk)
    users = [accounts.find_user(_email(person, number)) for person in PEOPLE]
    members = _members([user for user in users if user], organization_id)
    with transaction.atomic():
        for member in members:
            for task in stored.my_tasks(member.actor):
                tasks.delete_task(task=task, by=member.actor, at=at)
            accounts.deactivate(user_id=member.user.pk, at=at)
        organization = orgs.find_organization(company.NAME)
        if organization is not None and organization.pk == organization_id:
            orgs.rename(
                organization=organization,
                name=company.REMOVED_NAME,
                by=members[0].actor,
                at=at,
            )
    return True
