"""``manage.py create_user``, run as scripts run it: again and again."""

import pytest
from django.core.management import CommandError, call_command

from accounts import memberships
from accounts.models import User
from audit.models import Entry
from credits.models import Account

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db


def create(**options) -> User:
    call_command("create_user", "root@example.com", password=PASSWORD, **options)
    return User.objects.get()


def test_makes_what_is_missing_and_changes_what_differs(capsys):
    create()
    for _ in range(2):
        person = create(org="Acme", credit="5", staff=True, first_name="Root")

    assert person.check_password(PASSWORD)
    assert (person.is_staff, person.is_superuser) == (True, True)
    assert Entry.objects.filter(action="user.made_staff").count() == 1
    membership = memberships.of(user_id=person.pk)[0]
    assert (membership.organization_name, membership.role) == ("Acme", "owner")
    assert Account.unscoped.get().balance_nanos == 5 * 10**9
    assert PASSWORD not in capsys.readouterr().out


def test_makes_no_administrator_unasked():
    assert create().is_staff is False


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"password": "short"}, "password"), ({"password": ""}, "password"),
        ({"org": "Acme", "role": "king"}, "role"), ({"credit": "much"}, "credit"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_and_makes_nothing(options, named):
    with pytest.raises(CommandError, match=named):
        call_command("create_user", "a@example.com", **{"password": PASSWORD, **options})
    assert not User.objects.exists()
