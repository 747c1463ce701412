"""I2: secrets of second factors are sealed, and those of before are sealed by the upgrade."""

from importlib import import_module

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.apps import apps

from roocloud.lib import crypto

SECRET = "JBSWY3DPEHPK3PXP"
upgrade = import_module("accounts.migrations.0002_seal_second_factors")


def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


def stored() -> str:
    return str(list(Authenticator.objects.order_by("pk").values_list("data", flat=True)))


def test_a_secret_is_sealed_and_its_codes_are_taken(bob):
    factor = TOTP.activate(bob, SECRET)
    codes = RecoveryCodes.activate(bob).get_unused_codes()

    assert SECRET not in stored()
    assert Authenticator.objects.get(type="totp").wrap().validate_code(code_of(SECRET))
    assert Authenticator.objects.get(type="recovery_codes").wrap().validate_code(codes[0])
    with pytest.raises(crypto.CannotUnseal):
        crypto.unseal(factor.instance.data["secret"], context="proxy.upstream.api_key:x")


def test_what_was_in_the_clear_is_sealed_once_and_can_be_taken_back(bob, alice):
    data = [
        {"secret": SECRET},
        {"seed": "ab" * 20, "used_mask": 5},
        {"migrated_codes": ["11", "22"], "used_mask": 0},
    ]
    for person, type_, document in zip(
        (bob, bob, alice), ("totp", "recovery_codes", "recovery_codes"), data, strict=True
    ):
        Authenticator.objects.create(user=person, type=type_, data=document)

    upgrade.seal(apps, None)
    sealed = stored()
    upgrade.seal(apps, None)

    assert stored() == sealed
    assert not [plain for plain in (SECRET, "ab" * 20, "'11'") if plain in sealed]
    assert Authenticator.objects.get(type="totp").wrap().validate_code(code_of(SECRET))
    assert Authenticator.objects.get(user=alice).wrap().get_unused_codes() == ["11", "22"]
    upgrade.unseal(apps, None)
    assert [row.data for row in Authenticator.objects.order_by("pk")] == data
