"""Which devices a person has: pairing, their tokens, and their end (R4, SI9).

A device is registered with a code that its owner was shown after a fresh sign-in. It then holds a
token for a day and another to trade both for new ones; this server knows only their hashes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from msgspec import json

from accounts.actors import Actor, TokenKind
from audit import actions as audit
from bridge import waiting
from bridge.devices.models import Device, Pairing, QueuedCommand
from bridge.devices.schemas import MAX_CAPABILITIES, Facts, Registration
from bridge.devices.tasks import tell_of_device
from bridge.tokens import Standing
from roocloud.lib.bulk import update_rows
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from roocloud.lib.text import clean_label, storable

#: How long a code may be claimed.
CODE_LIFETIME = timedelta(seconds=60)
TOKEN_LIFETIME = timedelta(days=1)
#: How long a device may stay away without having to be paired again.
REFRESH_LIFETIME = timedelta(days=90)
#: How long a token still works after it was traded for a new one.
OVERLAP = timedelta(minutes=10)
#: Of one person.
MOST_DEVICES = 50
#: What every device may do; files of a computer cannot be read through this server.
PERMISSIONS = ("task:read", "task:control")
_SEEN_EVERY = timedelta(minutes=1)


class PairingRefused(Unauthenticated):
    code = "pairing_refused"


class DeviceTaken(Conflict):
    code = "device_taken"


@dataclass(frozen=True, slots=True)
class Credentials:
    """token, refresh_token: in the clear, known to nobody else from now on."""

    device: Device
    token: str
    refresh_token: str
    is_new: bool = False


# --- Pairing ----------------------------------------------------------------------------------


def make_code(*, by: Actor, at: datetime) -> tuple[Pairing, str]:
    """A code that one device may be registered by within a minute. For someone who has shown just
    now who they are (R4): the door asks that."""
    code = new_secret("pair")
    pairing = Pairing.unscoped.create(
        code_hash=digest(code), user_id=by.user_id, created_at=at, expires_at=at + CODE_LIFETIME
    )
    return pairing, code


def paired_since(*, by: Actor, since: datetime) -> Device | None:
    """The device that a code of the actor's was claimed by since then, if one was."""
    claims = Pairing.unscoped.filter(user_id=by.user_id, claimed_at__gte=since)
    pairing = claims.select_related("device").order_by("-claimed_at", "-pk").first()
    return pairing.device if pairing else None


def claim(registration: Registration, *, code: str, at: datetime) -> Credentials:
    """Register a device by its code, exactly once; the same device of the same person gets a new
    key and new tokens. The owner is told by mail (R4).

    Raises PairingRefused, which reads alike for unknown, used and expired codes, InvalidInput, and
    Conflict for a device of somebody else and for too many.
    """
    capabilities = _capabilities(registration.capabilities)
    refused = PairingRefused("This code was used already or is too old. Show a new one.")
    with transaction.atomic():
        code_hash = digest(code)
        shown = Pairing.unscoped.filter(code_hash=code_hash, claimed_at=None, expires_at__gt=at)
        if not shown.update(claimed_at=at):
            raise refused
        pairing = Pairing.unscoped.select_related("user").get(code_hash=code_hash)
        if not pairing.user.is_active:
            raise refused
        device, is_new = _registered(registration, pairing.user_id, at=at)
        device.name = clean_label(registration.device_name, 200) or "A device"
        device.kind = registration.device_type
        device.platform = clean_label(registration.platform, 50)
        device.capabilities = capabilities
        device.public_key = storable(registration.public_key)
        device.updated_at = device.last_seen_at = device.proven_at = at
        device.previous_token_hash = device.previous_refresh_hash = ""
        device.previous_until = None
        credentials = _issue(device, is_new=is_new, at=at)
        device.save(force_insert=is_new)
        pairing.device = device
        pairing.save(update_fields=["device"])
        # Other codes that the page showed meanwhile are of no use to anybody any more.
        Pairing.unscoped.filter(user_id=pairing.user_id, claimed_at=None).update(expires_at=at)
        _record("registered" if is_new else "rekeyed", device, by=_self(device), at=at)
        tell_of_device.delay_on_commit(device_pk=device.pk, is_new=is_new)
    return credentials


def _registered(registration: Registration, owner_id: str, *, at: datetime) -> tuple[Device, bool]:
    """The row of a device, and whether it is a new one."""
    rows = Device.unscoped.filter(revoked_at=None).select_for_update()
    known = rows.filter(device_id=registration.device_id).first()
    if known is not None:
        if known.owner_id != owner_id:
            raise DeviceTaken("A device with this id belongs to somebody else", field="deviceId")
        return known, False
    if Device.unscoped.filter(owner_id=owner_id, revoked_at=None).count() >= MOST_DEVICES:
        raise Conflict(f"There are {MOST_DEVICES} devices already; remove one first")
    made = Device(owner_id=owner_id, device_id=registration.device_id, created_at=at)
    return made, True


def _capabilities(given: dict[str, Any]) -> str:
    """As stored. Raises InvalidInput."""
    text = json.encode(given).decode()
    if len(text) > MAX_CAPABILITIES:
        raise InvalidInput(f"must be at most {MAX_CAPABILITIES} bytes", field="capabilities")
    return text


# --- Tokens -----------------------------------------------------------------------------------


def _issue(device: Device, *, is_new: bool = False, at: datetime) -> Credentials:
    """New tokens on the row, which the caller saves."""
    token, refresh_token = new_secret("dvt"), new_secret("dvr")
    device.token_hash, device.refresh_hash = digest(token), digest(refresh_token)
    device.token_expires_at = at + TOKEN_LIFETIME
    device.refresh_expires_at = at + REFRESH_LIFETIME
    device.is_token_used = False
    return Credentials(device, token, refresh_token, is_new)


_TOKENS = (
    "token_hash", "refresh_hash", "token_expires_at", "refresh_expires_at", "is_token_used",
    "previous_token_hash", "previous_refresh_hash", "previous_until",
)  # fmt: skip


def rotate(*, refresh_token: str, at: datetime) -> Credentials:
    """New tokens for old. Until the new ones are used, those before do it once more: the answer may
    have been lost. After that they are known to two, and the device has to be paired again.

    Raises Unauthenticated.
    """
    given = digest(refresh_token)
    with transaction.atomic():
        rows = Device.unscoped.alive().select_for_update(of=("self",))
        device = rows.filter(
            Q(refresh_hash=given) | Q(previous_refresh_hash=given), refresh_expires_at__gt=at
        ).first()
        if device is not None and (device.refresh_hash == given or not device.is_token_used):
            if device.refresh_hash == given:
                device.previous_refresh_hash = given
                device.previous_token_hash = device.token_hash
                device.previous_until = min(device.token_expires_at, at + OVERLAP)
            credentials = _issue(device, at=at)
            device.save(update_fields=_TOKENS)
            return credentials
        if device is not None:
            _sign_out(device)
            _record("replayed", device, by=None, at=at, note="old tokens were used again")
    raise Unauthenticated("This device has to be paired again")


def _sign_out(device: Device) -> None:
    device.token_hash = device.refresh_hash = ""
    device.previous_token_hash = device.previous_refresh_hash = ""
    device.previous_until = None
    device.save(update_fields=_TOKENS)


def of_tokens(hashes: Sequence[str], *, at: datetime) -> dict[str, Device]:
    """By hash of a token, the device that holds it, if it opens something now. Three queries at
    most."""
    given = set(hashes)
    rows = Device.unscoped.alive().filter(
        Q(token_hash__in=given, token_expires_at__gt=at)
        | Q(previous_token_hash__in=given, previous_until__gt=at)
    )
    found: dict[str, Device] = {}
    for row in rows:
        for known in given & {row.token_hash, row.previous_token_hash}:
            found[known] = row
    used = [row.pk for known, row in found.items() if known == row.token_hash]
    Device.unscoped.filter(pk__in=used, token_hash__in=given, is_token_used=False).update(
        is_token_used=True
    )
    return found


def standings(hashes: Sequence[str], *, at: datetime) -> list[Standing | None]:
    """For each hash of a device's token, who holds it now; None for one that opens nothing."""
    found = of_tokens(hashes, at=at)
    return [standing_of(found[known], at=at) if known in found else None for known in hashes]


def standing_of(device: Device, *, at: datetime) -> Standing:
    """What a device that is known by its token may do."""
    may_command = at - device.proven_at < settings.ROOCLOUD_COMMAND_SIGN_IN
    return Standing(
        device.owner_id,
        may_command=may_command,
        why_not="" if may_command else "Confirm this device on its page",
        kind=TokenKind.DEVICE,
        device_pk=device.pk,
        device_id=device.device_id,
    )


def of_token(token: str, *, at: datetime) -> Device:
    """The device that calls. Raises Unauthenticated."""
    device = of_tokens([digest(token)], at=at).get(digest(token))
    if device is None:
        raise Unauthenticated("This device's token is not valid: trade it, or pair it again")
    if at - device.last_seen_at >= _SEEN_EVERY:
        Device.unscoped.filter(pk=device.pk).update(last_seen_at=at)
    return device


# --- Sockets ----------------------------------------------------------------------------------


def connect(sockets: Sequence[tuple[str, str, str]], *, at: datetime) -> None:
    """sockets: (id of a device's row, node, sid). The newest socket of a device is the one that
    gets its commands."""
    rows = {
        pk: {"pk": pk, "node": node, "sid": sid, "last_seen_at": at} for pk, node, sid in sockets
    }
    with transaction.atomic():
        _lock(rows)
        update_rows(Device, list(rows.values()))


def hear(device_pks: Sequence[str], *, at: datetime) -> None:
    """They are still connected."""
    with transaction.atomic():
        Device.unscoped.filter(pk__in=_lock(device_pks)).update(last_seen_at=at)


def lose(sockets: Sequence[tuple[str, str]]) -> None:
    """sockets: (id of a device's row, sid) of connections that are gone. What came back already by
    another socket stays."""
    pks, sids = [pk for pk, _ in sockets], [sid for _, sid in sockets]
    with transaction.atomic():
        Device.unscoped.filter(pk__in=_lock(pks), sid__in=sids).update(node="", sid="")


def _lock(pks: Iterable[str]) -> list[str]:
    """Until the transaction ends, and in one order: everybody may come back at once, to several
    processes."""
    rows = Device.unscoped.filter(pk__in=list(pks)).order_by("pk").select_for_update()
    return list(rows.values_list("pk", flat=True))


def connected(asked: Sequence[tuple[str, str]], *, at: datetime) -> list[bool]:
    """asked: (owner id, a device's own id). Whether each is there."""
    rows = Device.unscoped.alive().connected(at)
    owners, ids = {owner_id for owner_id, _ in asked}, {device_id for _, device_id in asked}
    found = rows.filter(owner_id__in=owners, device_id__in=ids)
    there = set(found.values_list("owner_id", "device_id"))
    return [one in there for one in asked]


# --- The list ---------------------------------------------------------------------------------


def mine(actor: Actor) -> Sequence[Device]:
    """The actor's devices, newest first."""
    return list(Device.objects.visible_to(actor).alive().order_by("-created_at", "pk"))


def find(actor: Actor, device_id: str) -> Device:
    """One of them, by its own id. Raises NotFound."""
    device = Device.objects.visible_to(actor).alive().filter(device_id=device_id).first()
    if device is None:
        raise NotFound("There is no such device")
    return device


def change(*, device: Device, by: Actor, facts: Facts, at: datetime) -> None:
    """Change what a device is called and can do. Its key changes with a fresh sign-in alone (R4).

    Raises InvalidInput, Forbidden.
    """
    if facts.public_key is not None and facts.public_key != device.public_key:
        raise Forbidden("A new key needs a new pairing", field="publicKey")
    changed: dict[str, Any] = {}
    if facts.device_name is not None:
        changed["name"] = clean_label(facts.device_name, 200)
        if not changed["name"]:
            raise InvalidInput("Give the device a name", field="deviceName")
    if facts.platform is not None:
        changed["platform"] = clean_label(facts.platform, 50)
    if facts.capabilities is not None:
        changed["capabilities"] = _capabilities(facts.capabilities)
    before = {name: getattr(device, name) for name in changed}
    changed = {name: value for name, value in changed.items() if value != before[name]}
    if not changed:
        return
    with transaction.atomic():
        Device.unscoped.filter(pk=device.pk).update(**changed, updated_at=at)
        _record("changed", device, by=by, at=at, fields=sorted(changed))
    device.refresh_from_db()


def change_own(*, device_pk: str, facts: Facts, at: datetime) -> None:
    """The same by the device itself. Raises NotFound too."""
    device = Device.unscoped.alive().filter(pk=device_pk).first()
    if device is None:
        raise NotFound("There is no such device")
    change(device=device, by=_self(device), facts=facts, at=at)


def confirm(*, device: Device, by: Actor, at: datetime) -> None:
    """Its owner vouches for it again, by a fresh sign-in that the door asked for: so its commands
    count for as long as those of a browser's sign-in do (R2)."""
    with transaction.atomic():
        Device.unscoped.filter(pk=device.pk).update(proven_at=at)
        _record("confirmed", device, by=by, at=at)


def remove(*, device: Device, by: Actor | None, at: datetime) -> None:
    """End a device: its socket within seconds (B4), and what waits for it or from it at once.
    Removing it again changes nothing."""
    with transaction.atomic():
        ended = {"token_hash": "", "refresh_hash": "", "revoked_at": at}
        ended |= {"previous_token_hash": "", "previous_refresh_hash": "", "previous_until": None}
        if not Device.unscoped.filter(pk=device.pk, revoked_at=None).update(**ended):
            return
        State = QueuedCommand.State  # noqa: N806 - a class
        open_ = QueuedCommand.unscoped.open().filter(Q(target=device) | Q(source=device))
        reason = "device_removed"
        open_.update(state=State.CANCELLED, reason=reason, settled_at=at, payload="")
        waiting.cancel_given(by_person=device.owner_id, by_device=device.pk, reason=reason, at=at)
        _record("removed", device, by=by, at=at)


def remove_all(*, user_id: str, by: Actor | None, at: datetime) -> None:
    """End every device of a person."""
    for device in Device.unscoped.filter(owner_id=user_id, revoked_at=None).order_by("pk"):
        remove(device=device, by=by, at=at)


def forget(*, before: datetime) -> int:
    """Delete devices that were removed and codes that were made before; how many devices."""
    Pairing.unscoped.filter(created_at__lt=before).delete()
    removed = Device.unscoped.filter(revoked_at__lt=before)
    count = removed.count()
    removed.delete()
    return count


def _self(device: Device) -> Actor:
    return Actor(device.owner_id, None, None, TokenKind.DEVICE)


def actor_of(device: Device) -> Actor:
    """Who acts when this device does."""
    return _self(device)


def _record(
    deed: str,
    device: Device,
    *,
    by: Actor | None,
    at: datetime,
    fields: Sequence[str] = (),
    note: str = "",
) -> None:
    facts = {"deviceId": device.device_id, "name": device.name}
    audit.record(
        action=f"device.{deed}",
        actor=by,
        organization_id="",  # a person's devices are nobody else's
        target_kind="device",
        target_id=device.pk,
        after={**facts, "fields": list(fields)} if fields else facts,
        note=note,
        at=at,
    )
