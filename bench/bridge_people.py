"""Prints a line "EXT_TOKEN WEB_TOKEN TASK_ID" for bridge_load.py for each of as many new people as
the first argument says: an editor's bridge token, and the cookie of a browser that signed in just
now. On the database that the environment names."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import django


def main(count: int) -> None:
    from django.conf import settings
    from django.utils import timezone

    from accounts.actors import Actor, TokenKind
    from accounts.models import User
    from bridge import tokens
    from tests import factories

    people = [User(email=f"person{n}@bench.example") for n in range(count)]
    for n, person in enumerate(User.objects.bulk_create(people)):
        sign_in, _ = factories.client_session(person)
        actor = Actor(person.pk, None, None, TokenKind.SESSION, session_id=sign_in.pk)
        editor = tokens.issue(actor, at=timezone.now())
        print(editor, f"cookie:{settings.SESSION_COOKIE_NAME}={signed_in(person)}", f"task-{n}")


def signed_in(person: Any) -> str:
    """The key of a web session of somebody who just gave their password."""
    from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.utils import timezone

    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = person.pk
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    proof = {"method": "password", "at": timezone.now().timestamp(), "email": person.email}
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [proof]
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "roocloud.settings"
    django.setup()
    main(int(sys.argv[1]))
