"""I3: keys rotate while serving, and an interrupted rotation resumes."""

import itertools

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import adapter, tokens
from accounts.models import SigningKey
from proxy.models import Upstream
from roocloud.lib import crypto, sealed
from tasks_sharing import actions as tasks
from tasks_sharing.models import Share
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def keys(settings):
    """(older, newer); the older seals until ``rotate`` puts the newer in front."""
    older, newer = crypto.new_key("older"), crypto.new_key("newer")
    settings.ROOCLOUD_FIELD_KEYS = [older]

    def rotate(*, keep=True) -> None:
        settings.ROOCLOUD_FIELD_KEYS = [newer, older] if keep else [newer]

    return rotate


def make(count: int) -> None:
    rows = [
        Upstream(name=f"u-{n}", base_url="https://a.example/v1", created_at=timezone.now())
        for n in range(count)
    ]
    for number, row in enumerate(rows):
        row.set_api_key(f"sk-{number}")
    Upstream.unscoped.bulk_create(rows, batch_size=500)


def test_ten_thousand_secrets_survive_five_interruptions(keys):
    make(10_000)
    keys()
    for stop_after in (1, 500, 501, 2_000, 3_000):
        for row in itertools.islice(sealed.renew_all(), stop_after):
            assert not row.is_lost
    sample = Upstream.unscoped.order_by("pk")[::997]
    assert all(row.api_key() == f"sk-{row.name[2:]}" for row in sample), "while it goes on"

    assert sum(1 for _ in sealed.renew_all()) == 10_000 - 6_002
    assert list(sealed.renew_all()) == []

    keys(keep=False)
    assert all(row.api_key() == f"sk-{row.name[2:]}" for row in Upstream.unscoped.iterator())


def test_every_kind_of_secret_moves(keys, alice, acme, client, capsys):
    make(1)
    tokens.make_key(at=timezone.now())
    totp = Authenticator.objects.create(
        user=alice, type="totp", data={"secret": adapter.MfaAdapter().encrypt("ABC"), "other": 1}
    )
    actor, at = factories.actor(alice), timezone.now()
    prompt = {"ts": 1, "type": "say", "say": "text", "text": "Hello"}
    for kind, more in (("Task Created", {}), ("Task Message", {"message": prompt})):
        tasks.record_event(actor=actor, event=tasks.Event(kind, {"taskId": "t-1", **more}), at=at)
    link = tasks.share_task(actor=actor, task_id="t-1", visibility="public", at=at).url
    keys()

    call_command("rotate_field_keys")
    assert "Every secret is under the newest key." in capsys.readouterr().out

    keys(keep=False)
    assert Upstream.unscoped.get().api_key() == "sk-0"
    assert all(crypto.is_current(row.sealed_private_key) for row in SigningKey.unscoped.all())
    totp.refresh_from_db()
    assert adapter.MfaAdapter().decrypt(totp.data["secret"]) == "ABC"
    assert tasks.url_of(Share.unscoped.get()) == link


def test_what_was_changed_meanwhile_is_left_alone(keys):
    make(2)
    keys()
    rotation = sealed.renew_all()
    first = next(rotation)
    other = Upstream.unscoped.exclude(pk=first.pk).get()
    other.set_api_key("sk-new")
    other.save()
    list(rotation)
    other.refresh_from_db()
    assert other.api_key() == "sk-new"


def test_what_no_key_opens_is_named(keys, capsys):
    make(1)
    keys(keep=False)
    with pytest.raises(CommandError, match="1 secrets are lost"):
        call_command("rotate_field_keys")
    assert Upstream.unscoped.get().pk in capsys.readouterr().err
