"""``manage.py demo``: an organization that looks lived in, with books that are right."""

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import actions as accounts
from accounts.models import User
from bridge.models import Instance
from credits import queries as credit
from credits.models import Account, TopUp
from orgs.models import Membership, Organization
from proxy import demo, usage_days
from proxy.models import Completion, UsageTask
from roocloud.demo import actions, company
from roocloud.management.commands import demo as command
from tasks_sharing.models import Share, Task

PAGES = (
    "/", "/tasks", "/roomote", "/usage?of=all&stack=member&by=task", "/billing", "/billing/ledger",
    "/budgets", "/organizations", "/account/keys", "/account/devices", "/account/notifications",
)  # fmt: skip


@pytest.fixture
def made(db, monkeypatch, capsys, secret_rules):
    """Of a few days, which is enough to see."""
    monkeypatch.setattr(actions, "DAYS", 4)
    call_command("demo")
    assert "Sign in as maya@northwind.example" in capsys.readouterr().out
    return User.objects.get(email="maya@northwind.example")


def test_is_alive_on_every_page_with_books_that_are_right(made, client, capsys, monkeypatch):
    """C1, MO10: running it again changes nothing and keeps its editors connected, and nobody is offered its
    models: the built-in one stays."""
    assert credit.mismatches() == []
    assert usage_days.rebuild()[1] == 0
    assert Completion.unscoped.filter(status="running").count() == 0
    assert Account.unscoped.get().held_nanos == 0
    assert Share.unscoped.filter(visibility="public").count() == 1
    assert set(TopUp.unscoped.values_list("state", flat=True)) == {"asked", "declined"}
    assert Instance.unscoped.live(timezone.now()).count() == 2
    for email in ("maya", "priya", "tom"):
        client.force_login(User.objects.get(email=f"{email}@{company.DOMAIN}"))
        for page in PAGES:
            status = 403 if page == "/billing/ledger" and email != "maya" else 200
            assert client.get(page).status_code == status, (email, page)
    client.force_login(made)
    assert "northwind/large" in client.get("/usage?of=all&by=model").text
    assert "waits" in client.get("/").text
    counts = [User.objects.count(), Task.unscoped.count()]
    beats = []

    def sleep(seconds):
        beats.append(seconds)
        if len(beats) == 2:
            raise KeyboardInterrupt

    Instance.unscoped.update(sid="", node="")
    monkeypatch.setattr(command.time, "sleep", sleep)
    call_command("demo", "--live")
    assert "here already" in capsys.readouterr().out
    assert counts == [User.objects.count(), Task.unscoped.count()]
    assert beats == [command._BEAT_S] * 2
    assert Instance.unscoped.exclude(sid="").count() == 2
    assert demo.is_offered()
    assert not Completion.unscoped.exclude(upstream_name=company.UPSTREAM).exists()
    assert not UsageTask.unscoped.filter(task_id="").exists()


def test_is_taken_away_and_made_anew(made, capsys):
    """L3: what the ledger has, it keeps."""
    organization = Organization.unscoped.get(name=company.NAME)
    spent = Account.unscoped.get(organization=organization).balance_nanos

    call_command("demo", "--remove")

    assert "are gone" in capsys.readouterr().out
    assert not Task.unscoped.exists()
    assert not Share.unscoped.exists()
    assert not User.objects.filter(is_active=True).exists()
    organization.refresh_from_db()
    assert organization.name == company.REMOVED_NAME
    assert Account.unscoped.get(organization=organization).balance_nanos == spent
    assert credit.mismatches() == []
    call_command("demo", "--remove")
    assert "There is no demo" in capsys.readouterr().out

    call_command("demo")
    assert "maya.2@northwind.example" in capsys.readouterr().out
    assert Membership.unscoped.filter(organization__name=company.NAME).count() == 6
    assert credit.mismatches() == []


def test_is_made_whole_or_not_at_all(db, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(actions, "DAYS", 1)
    monkeypatch.setattr(actions, "_lately", fail)
    with pytest.raises(RuntimeError):
        actions.make(password="correct horse battery", at=timezone.now())
    assert accounts.find_user("maya@northwind.example") is None
    assert not Organization.unscoped.exists()


def test_production_wants_to_be_asked(db, settings, monkeypatch, capsys):
    settings.PRODUCTION = True
    asked = []
    monkeypatch.setattr(actions, "make", lambda **more: asked.append(more) or User(email="m@x"))
    with pytest.raises(CommandError, match="--in-production"):
        call_command("demo")
    assert not asked
    call_command("demo", "--in-production")
    assert len(asked) == 1
