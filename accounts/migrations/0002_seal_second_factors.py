"""Secrets of second factors that were stored in the clear are sealed. Safe to run again."""

from collections.abc import Callable
from typing import Any

from django.db import migrations

from roocloud.lib import crypto

CONTEXT = "mfa.authenticator.data"


def _change(apps: Any, change: Callable[[str], str]) -> None:
    rows = apps.get_model("mfa", "Authenticator").objects.filter(type__in=["totp", "recovery_codes"])
    for row in rows.iterator(chunk_size=500):
        for key in ("secret", "seed"):
            if key in row.data:
                row.data[key] = change(row.data[key])
        if "migrated_codes" in row.data:
            row.data["migrated_codes"] = [change(code) for code in row.data["migrated_codes"]]
        row.save(update_fields=["data"])


def _is_sealed(text: str) -> bool:
    return text.startswith("v1.")  # neither base32 nor hexadecimal, as the secrets are


def seal(apps: Any, schema_editor: Any) -> None:
    _change(apps, lambda text: text if _is_sealed(text) else crypto.seal(text, context=CONTEXT))


def unseal(apps: Any, schema_editor: Any) -> None:
    _change(
        apps,
        lambda text: crypto.unseal(text, context=CONTEXT).decode() if _is_sealed(text) else text,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [migrations.RunPython(seal, unseal)]
