"""The whole round through the public address, step by step, with the cure beside each failure."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from django.conf import settings

from accounts import actions as accounts
from accounts.actors import shell_actor
from credits import actions as credit
from orgs import actions as orgs
from roocloud.editor import Editor, StepFailed
from roocloud.lib.ids import new_id
from roocloud.lib.money import NANOS_PER_USD

#: Enough for a short completion with a dear model.
_CREDIT_NANOS = 2 * NANOS_PER_USD
BACKFILL_BYTES = 10 * 2**20

#: What an answer that breaks off, or is not what it should be, ends in.
_BROKEN = (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError)

_CURES = {
    "reach": "Is the server running, and does ROOCLOUD_PUBLIC_URL name it from here? See /health.",
    "sign in": "Forms need cookies and the right origin: ROOCLOUD_PUBLIC_URL must be the address "
    "in the browser, and a reverse proxy must pass Host and X-Forwarded-Proto (and "
    "ROOCLOUD_TRUSTED_PROXIES=1 be set). It must not strip Authorization from responses.",
    "refresh": "Editors call this every 50 s. A reverse proxy must pass /v1/ through, with POST.",
    "who am I": "A reverse proxy must pass /v1/ through.",
    "settings": "A reverse proxy must pass /api/ through, with PATCH and Authorization.",
    "models": "Make an upstream and a model with a price: manage.py create_upstream, create_model.",
    "completion": "Look at the upstream's address and key in the admin. Behind a reverse proxy, "
    "switch response buffering off for /proxy/ (nginx: proxy_buffering off).",
    "balance": "The ledger and the completions disagree: run manage.py check_ledger.",
    "task and share": "Look at the settings: is task recording and public sharing on?",
    "backfill": "Allow 100 MB request bodies (nginx: client_max_body_size 100m). In production a "
    "worker must run: celery -A roocloud worker.",
    "sign out": "All processes must share one database and one clock.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """problem: empty for a step that went well."""

    step: str
    detail: str = ""
    problem: str = ""

    @property
    def cure(self) -> str:
        return _CURES[self.step]


@dataclass(frozen=True, slots=True)
class Patient:
    """The account that the examination uses."""

    user_id: str
    email: str
    password: str
    organization_id: str


def admit_patient(*, at: datetime) -> Patient:
    """An account and an organization of its own with a little credit, for one examination."""
    name, password = new_id("doctor"), secrets.token_urlsafe(16)
    user = accounts.make_user(
        email=f"{name}@doctor.invalid", password=password, first_name="Doctor", at=at
    )
    organization = orgs.create_organization(name="Doctor", owner=user, by=shell_actor(user), at=at)
    account = credit.account_of(user_id=user.pk, organization_id=organization.pk, at=at)
    credit.grant(
        account=account,
        amount_nanos=_CREDIT_NANOS,
        key=name,
        by=None,
        note="manage.py doctor",
        at=at,
    )
    return Patient(user.pk, user.email, password, organization.pk)


def discharge(patient: Patient, *, at: datetime) -> None:
    """Close the account; its tasks go with it, its ledger stays."""
    accounts.deactivate(user_id=patient.user_id, at=at)


async def examine(patient: Patient, *, model: str) -> AsyncIterator[Finding]:
    """Play the round; the first failure ends it, since every later step needs the earlier ones.

    model: to complete with; empty for the first that is offered.
    """
    url = settings.ROOCLOUD_PUBLIC_URL
    redirect = f"{next(iter(settings.ROOCLOUD_EDITORS))}://{settings.ROOCLOUD_EDITOR_EXTENSIONS[0]}"
    async with Editor([url], redirect=redirect) as editor:
        step = "reach"
        try:
            await editor.reach()
            yield Finding(step, url)
            step = "sign in"
            await editor.sign_in(
                patient.email, patient.password, organization_id=patient.organization_id
            )
            yield Finding(step)
            step = "refresh"
            await editor.refresh()
            yield Finding(step)
            step = "who am I"
            person = await editor.who_am_i()
            yield Finding(step, person["id"])
            step = "settings"
            both = await editor.read_settings()
            user_version = both["user"]["version"]
            await editor.write_settings({"taskSyncEnabled": True}, version=user_version)
            yield Finding(step, f"version {both['organization']['version']}")
            step = "models"
            models = await editor.list_models()
            yield Finding(step, f"{len(models)} offered")
            step = "completion"
            before = await editor.balance()
            await editor.complete(model or models[0])
            yield Finding(step, f"{editor.model}, ${editor.cost_usd:.6f}")
            step = "balance"
            after = await editor.expect_balance(before - editor.cost_usd)
            yield Finding(step, f"${after:.6f} left")
            step = "task and share"
            await editor.record_task()
            yield Finding(step, await editor.share_known())
            step = "backfill"
            await editor.share_unknown(body_bytes=BACKFILL_BYTES)
            yield Finding(step, "10 MB")
            step = "sign out"
            await editor.sign_out()
            yield Finding(step)
        except StepFailed as failure:
            yield Finding(step, problem=str(failure))
        except _BROKEN as fault:
            yield Finding(step, problem=f"{type(fault).__name__} {fault}")
