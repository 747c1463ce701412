"""What sockets are opened with, and what the people behind them may do now (R1, B4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from accounts import browsers, memberships
from accounts.actors import Actor, TokenKind
from accounts.browsers import SignIn
from bridge.models import BridgeToken
from orgs import queries as orgs
from orgs.policy import RemotePolicy
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import Forbidden

SWITCHED_OFF = "This organization has switched remote control off"
_NOTED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """Who holds a socket, as far as they may at this moment.

    organization_id: None for the personal account. session_id: the client session behind an editor,
    empty for a browser. is_on: whether the organization lets its members control their editors at
    present; is_watched: whether it lets owners and admins watch them. may_command: whether a
    browser's sign-in is young and strong enough for commands (R2); why_not: what to do about it
    where it is not. kind: how the person is known.
    signed_on: the single sign-ons of organizations that a browser's sign-in came by.
    device_pk, device_id: of the paired device that holds the socket; empty for other sockets.
    """

    user_id: str
    organization_id: str | None = None
    session_id: str = ""
    is_on: bool = True
    is_watched: bool = False
    may_command: bool = False
    why_not: str = ""
    kind: TokenKind = TokenKind.WEB
    device_pk: str = ""
    device_id: str = ""
    signed_on: frozenset[str] = frozenset()


def issue(actor: Actor, *, at: datetime) -> str:
    """A new token for an editor's window, in the actor's context.

    Raises Forbidden for an actor without a client session behind it, and where the organization has
    switched remote control off.
    """
    if actor.session_id is None:
        raise Forbidden("Only a signed-in editor has a bridge")
    if not _is_on(actor.organization_id):
        raise Forbidden(SWITCHED_OFF)
    secret = new_secret("brt")
    BridgeToken.unscoped.create(
        token_hash=digest(secret),
        user_id=actor.user_id,
        session_id=actor.session_id,
        organization_id=actor.organization_id or "",
        created_at=at,
        last_used_at=at,
    )
    return secret


def _is_on(organization_id: str | None) -> bool:
    return organization_id is None or orgs.remote_policies([organization_id])[organization_id].is_on


def standings(hashes: Sequence[str], *, at: datetime) -> list[Standing | None]:
    """For each hash of a token, who holds it; None for a token that opens nothing (any more). Five
    queries at most, however many."""
    alive = BridgeToken.unscoped.alive(at).filter(token_hash__in=set(hashes))
    alive = alive.select_related("session")
    rows = {row.token_hash: row for row in alive}
    unproven = memberships.unproven(
        _claim(row)
        for row in rows.values()
        if row.organization_id and row.session.proofs is not None
    )
    rows = {key: row for key, row in rows.items() if _claim(row) not in unproven}
    known = memberships.roles(
        (row.user_id, row.organization_id) for row in rows.values() if row.organization_id
    )
    policies = orgs.remote_policies(organization_id for _, organization_id in known)
    stale = [row.pk for row in rows.values() if at - row.last_used_at >= _NOTED_EVERY]
    if stale:
        BridgeToken.unscoped.filter(pk__in=stale).update(last_used_at=at)
    return [_standing(rows.get(token_hash), known, policies) for token_hash in hashes]


def _claim(row: BridgeToken) -> memberships.Claim:
    return row.user_id, row.organization_id, row.session.proofs or frozenset()


def _standing(
    row: BridgeToken | None,
    roles: Mapping[tuple[str, str], str],
    policies: Mapping[str, RemotePolicy],
) -> Standing | None:
    if row is None:
        return None
    if not row.organization_id:
        return Standing(row.user_id, None, row.session_id)
    if (row.user_id, row.organization_id) not in roles:
        return None
    policy = policies[row.organization_id]
    return Standing(
        row.user_id,
        row.organization_id,
        row.session_id,
        is_on=policy.is_on,
        is_watched=policy.admins_watch,
    )


def web_standings(keys: Sequence[str], *, at: datetime) -> list[Standing | None]:
    """The same for the keys of web sessions."""
    return [_web_standing(found, at=at) for found in browsers.sign_ins(keys, at=at)]


def _web_standing(sign_in: SignIn | None, *, at: datetime) -> Standing | None:
    if sign_in is None:
        return None
    if sign_in.is_younger_than(settings.ROOCLOUD_COMMAND_SIGN_IN, at=at):
        return Standing(sign_in.user_id, may_command=True, signed_on=sign_in.signed_on)
    again = "Sign in again" + (" with your second factor" if sign_in.has_second_factor else "")
    why_not = f"{again} to send commands to your editors"
    return Standing(sign_in.user_id, why_not=why_not, signed_on=sign_in.signed_on)


def forget_unused(*, before: datetime) -> int:
    """Delete the tokens of windows that have not been open since; how many there were."""
    deleted, _ = BridgeToken.unscoped.filter(last_used_at__lt=before).delete()
    return deleted
