"""Unsafe settings, found before the first request (I4). Production refuses to start on any of them
and names each; the embedded deployment has safe values of its own."""

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from roocloud.lib import personal

_MIN_SECRET_CHARS = 50


def _network(given: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(given)
    except ValueError:
        return None


def _is_this_machine(host: str | None) -> bool:
    """Whether a URL's host is loopback or unspecified, in any spelling that a resolver takes."""
    name = (host or "").lower().rstrip(".")
    if not name or name in ("localhost", "localhost.localdomain") or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 0x7f000001, 2130706433
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _production_rules() -> Iterator[tuple[str, str, bool]]:
    """(setting, what is wrong and how to mend it, whether it is wrong)."""
    public = urlsplit(settings.ROOCLOUD_PUBLIC_URL)
    database = settings.DATABASES["default"]
    yield (
        "ROOCLOUD_SECRET_KEY",
        f"needs at least {_MIN_SECRET_CHARS} random characters",
        len(settings.SECRET_KEY) < _MIN_SECRET_CHARS or len(set(settings.SECRET_KEY)) < 10,
    )
    yield (
        "ROOCLOUD_FIELD_KEYS",
        "needs a key to encrypt provider keys with: `manage.py new_field_key` prints one",
        not settings.ROOCLOUD_FIELD_KEYS,
    )
    yield (
        "ROOCLOUD_FIELD_KEYS",
        "must not be derived from ROOCLOUD_SECRET_KEY",
        any(settings.SECRET_KEY in key for key in settings.ROOCLOUD_FIELD_KEYS)
        and bool(settings.SECRET_KEY),
    )
    yield (
        "ROOCLOUD_DEBUG",
        "must be off: it shows settings and source to visitors",
        bool(settings.DEBUG),
    )
    yield (
        "ROOCLOUD_PUBLIC_URL",
        "must begin with https://: tokens travel in it",
        public.scheme != "https",
    )
    yield (
        "ROOCLOUD_PUBLIC_URL",
        "must name the host that people and editors reach",
        _is_this_machine(public.hostname),
    )
    yield (
        "ROOCLOUD_ALLOWED_HOSTS",
        "must list hosts, not a wildcard",
        any(host.startswith(("*", ".")) for host in settings.ALLOWED_HOSTS),
    )
    yield (
        "DATABASE_URL",
        "must name a PostgreSQL database",
        database["ENGINE"] != "django.db.backends.postgresql",
    )
    yield "REDIS_URL", "must name a Redis server", not settings.REDIS_URL
    yield (
        "ROOCLOUD_JOBS_EAGER",
        "must be off: jobs would run inside requests",
        bool(settings.CELERY_TASK_ALWAYS_EAGER),
    )
    yield (
        "EMAIL_URL",
        "must name a mail server: without one nobody can reset a password",
        "smtp" not in settings.EMAIL_BACKEND,
    )
    yield (
        "ROOCLOUD_SIGNUP",
        "`open` needs ROOCLOUD_EMAIL_VERIFICATION=mandatory",
        settings.ROOCLOUD_SIGNUP == "open" and settings.ACCOUNT_EMAIL_VERIFICATION != "mandatory",
    )
    yield (
        "ROOCLOUD_INTERNAL_NETWORKS",
        "must not open everything to outbound connections",
        any(
            network.prefixlen < 8
            for given in settings.ROOCLOUD_INTERNAL_NETWORKS
            if (network := _network(given))
        ),
    )


@register
def unsafe_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.ROOCLOUD_MODE != "production":
        return []
    return [
        Error(f"{name} {wrong}.", id=f"roocloud.E{number:03}")
        for number, (name, wrong, broken) in enumerate(_production_rules(), start=1)
        if broken
    ]


@register
def unreadable_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What no mode can work with."""
    return [
        Error(
            f"ROOCLOUD_INTERNAL_NETWORKS must list networks such as 10.0.0.0/8, not {given}.",
            id="roocloud.E101",
        )
        for given in settings.ROOCLOUD_INTERNAL_NETWORKS
        if _network(given) is None
    ]


@register
def half_set_payments(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """With one of its two secrets Stripe would take money that is never counted, or none."""
    names = ("ROOCLOUD_STRIPE_SECRET_KEY", "ROOCLOUD_STRIPE_WEBHOOK_SECRET")
    missing = [name for name in names if not getattr(settings, name)]
    if len(missing) == len(names):
        return []
    wrong = [f"{name} must be set too, or neither." for name in missing]
    if find_spec("stripe") is None:
        wrong.append(f"{names[0]} needs the library of Stripe: `make extras` installs it.")
    return [Error(one, id="roocloud.E102") for one in wrong]


def refuse_unsafe_settings() -> None:
    """For entry points that no management command checks before. Raises ImproperlyConfigured that
    names every setting at fault."""
    found = [
        str(message.msg)
        for check in (unreadable_settings, half_set_payments, unsafe_settings)
        for message in check(None)
    ]
    if found:
        raise ImproperlyConfigured("Unsafe settings: " + " ".join(found))


@register
def undeclared_people(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What became of these rows when their person leaves would be nobody's decision (L3)."""
    return [
        Error(
            f"{model}.{field} may name a person.",
            hint="Declare it in the personal.py of its room, see roocloud.lib.personal.",
            id="roocloud.E103",
        )
        for model, field in personal.undeclared(apps.get_models())
    ]
