"""A person with browsers at a push service."""

import pytest
from django.utils import timezone

from notifications import actions, preferences
from notifications.actions import News
from notifications.kinds import Channel, Kind
from notifications.preferences import CHOOSABLE, Wishes
from roocloud.lib import outbound
from tests import factories
from tests.fakes.push_service import Keys, fake_push_service


@pytest.fixture
def service(monkeypatch):
    """The fake stands for one on the internet."""
    monkeypatch.setattr(outbound, "is_public", lambda address: address == "127.0.0.1")
    with fake_push_service() as fake:
        yield fake


@pytest.fixture
def browser(service):
    """``browser(alice, "/phone")``: a browser of hers, which is reached there."""

    def make(person, path="/phone", **facts):
        keys = Keys()
        row = factories.subscription(person, f"{service.url}{path}", **facts)
        row.p256dh, row.auth = keys.p256dh, keys.auth
        row.save()
        preferences.begin(user_id=person.pk, time_zone="UTC", at=timezone.now())
        return row, keys

    return make


def wish(person, *choices, at=None, **rest):
    """``wish(alice, (Kind.FAILED, Channel.MAIL))``"""
    wishes = Wishes(frozenset(choices), **rest)
    preferences.save(user_id=person.pk, wishes=wishes, at=at or timezone.now())


EVERYTHING = [(kind, channel) for kind in CHOOSABLE for channel in Channel]


def news(person, key="ask:task-1:1", **changes):
    facts = {
        "user_id": person.pk, "kind": Kind.APPROVAL, "key": key, "topic": "task:task-1",
        "title": "An editor needs your approval", "text": "acme/shop · desk", "path": "/roomote/w-1",
    }  # fmt: skip
    return News(**{**facts, **changes})


def tell(*told, at=None):
    return actions.tell(list(told), at=at or timezone.now())
