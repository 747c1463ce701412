"""Every write to people and their credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts import api_keys, memberships, tokens
from accounts.actors import Actor, TokenKind
from accounts.bearer import rights_cache
from accounts.editors import Editor
from accounts.models import ClientSession, Ticket, User
from accounts.signals import everything_ended
from audit import actions as audit
from roocloud.lib.ids import digest, new_id, new_secret
from roocloud.lib.refusals import Conflict, InvalidInput, NotFound, Unauthenticated
from roocloud.lib.text import clean_label, storable

#: Tickets are kept for a while after their end, so that a second use is recognized (B1).
TICKET_MEMORY = timedelta(days=1)
MAX_JOB_LIFETIME = timedelta(days=365)


class EmailTaken(Conflict):
    code = "email_taken"


class TicketRefused(Unauthenticated):
    code = "ticket_invalid"


class SessionGone(NotFound):
    """The editor deletes its credentials on this answer (B5): only for what is really over."""

    code = "session_not_found"


def has_administrator() -> bool:
    """Whether anybody may administer the site."""
    return User.objects.filter(is_staff=True, is_superuser=True, is_active=True).exists()


def find_user(email: str) -> User | None:
    return User.objects.filter(email__iexact=email).first()


def make_user(
    *,
    email: str,
    password: str,
    at: datetime,
    first_name: str = "",
    last_name: str = "",
    is_staff: bool = False,
) -> User:
    """A person made by the operator, who vouches for the address: it counts as verified.

    Raises InvalidInput (``email``, ``password``) and EmailTaken.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidInput("is not an e-mail address", field="email") from None
    if find_user(email):
        raise EmailTaken(f"{email} has an account already", field="email")
    user = User(
        email=email,
        first_name=clean_label(first_name, 100),
        last_name=clean_label(last_name, 100),
        is_staff=is_staff,
        is_superuser=is_staff,
    )
    check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save()
        EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
        audit.record(
            action="user.created",
            actor=None,
            target_kind="user",
            target_id=user.pk,
            after={"is_staff": is_staff},
            at=at,
        )
    return user


def make_staff(*, user: User, at: datetime) -> None:
    """Let a person use the administration; nothing happens if they may already."""
    if user.is_staff and user.is_superuser:
        return
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
        audit.record(
            action="user.made_staff",
            actor=None,
            target_kind="user",
            target_id=user.pk,
            after={"is_staff": True},
            at=at,
        )


def set_password(*, user: User, password: str, at: datetime) -> None:
    """A new password by the operator; nothing happens if it is the present one.

    Raises InvalidInput (``password``).
    """
    if user.check_password(password):
        return
    check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])
        audit.record(
            action="user.password_set",
            actor=None,
            target_kind="user",
            target_id=user.pk,
            at=at,
        )


def change_user(
    *, user: User, fields: Mapping[str, tuple[Any, Any]], by: Actor, at: datetime
) -> None:
    """Names and rights, by a site administrator. Who is not active any more is signed out.

    fields: before and after of what changed, by name; ``user`` has what is after.
    """
    with transaction.atomic():
        user.save(update_fields=list(fields))
        audit.record(
            action="user.changed",
            actor=by,
            target_kind="user",
            target_id=user.pk,
            before={name: before for name, (before, _) in fields.items()},
            after={name: after for name, (_, after) in fields.items()},
            at=at,
        )
        if not user.is_active:
            ClientSession.unscoped.filter(user=user, ended_at=None).update(ended_at=at)
    rights_cache.clear()


def deactivate(*, user_id: str, at: datetime) -> None:
    """Close an account: nobody signs in to it, and every sign-in of it ends."""
    with transaction.atomic():
        if not User.objects.filter(pk=user_id, is_active=True).update(is_active=False):
            return
        ClientSession.unscoped.filter(user_id=user_id, ended_at=None).update(ended_at=at)
        audit.record(
            action="user.deactivated", actor=None, target_kind="user", target_id=user_id, at=at
        )
    rights_cache.clear()


def check_password(password: str, user: User) -> None:
    """Raises InvalidInput that says what is wrong with a new password."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages), field="password") from None


# --- Editors ----------------------------------------------------------------------------------


def issue_ticket(*, by: Actor, editor: Editor, state: str, at: datetime) -> str:
    """A ticket for one exchange, good for ROOCLOUD_TICKET_LIFETIME_S and for the actor's context.

    Earlier ones of the same sign-in live out their time, as one may have been copied by hand; the
    first that is redeemed voids the others (B1).
    """
    code = new_secret("ticket")
    with transaction.atomic():
        Ticket.unscoped.filter(expires_at__lt=at - TICKET_MEMORY).delete()
        Ticket.unscoped.create(
            token_hash=digest(code),
            user_id=by.user_id,
            organization_id=by.organization_id or "",
            state_hash=digest(state),
            editor=editor.target,
            signed_on=_proofs(by),
            created_at=at,
            expires_at=at + settings.ROOCLOUD_TICKET_LIFETIME,
        )
    return code


def renew_ticket(*, by: Actor, editor: Editor, state: str, at: datetime) -> str | None:
    """Another ticket for a hand-off page that is still open; None once the editor has come for one:
    a page that opened the editor again would sign it in twice."""
    with transaction.atomic():
        _lock_tickets(by.user_id)
        if redeemed_session(by=by, state=state):
            return None
        return issue_ticket(by=by, editor=editor, state=state, at=at)


def redeemed_session(*, by: Actor, state: str) -> ClientSession | None:
    """The session that a ticket of this hand-off page was exchanged for, if it was. A ticket that
    is still to be used belongs to another page of the same ``state``, which begins anew."""
    tickets = Ticket.unscoped.filter(user_id=by.user_id, state_hash=digest(state))
    if tickets.filter(redeemed_at=None).exists():
        return None
    redeemed = tickets.exclude(session=None).select_related("session").order_by("-redeemed_at")
    ticket = redeemed.first()
    return ticket.session if ticket else None


def _proofs(by: Actor) -> str:
    return " ".join(sorted(by.signed_on)[:10])


def _lock_tickets(user_id: str) -> None:
    """Until the transaction ends, nobody else redeems or renews a ticket of this person."""
    User.objects.select_for_update(no_key=True).get(pk=user_id)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """client_token: the bare secret, known to nobody else from now on."""

    session: ClientSession
    client_token: str


def redeem_ticket(*, code: str, user_agent: str, at: datetime) -> SignedIn:
    """Exchange a ticket for an editor's session, exactly once (protocol/auth.md §3).

    Other tickets of the same sign-in are void from then on. A second use ends the session of the
    first: two parties hold the ticket, and one of them is not the editor (B1). Raises
    TicketRefused, which reads alike for unknown, used and expired.
    """
    refused = TicketRefused("This sign-in link was used already or is too old. Sign in again.")
    token_hash = digest(code)
    with transaction.atomic():
        owner_id = (
            Ticket.unscoped.filter(token_hash=token_hash).values_list("user_id", flat=True).first()
        )
        if owner_id is None:
            raise refused
        _lock_tickets(owner_id)
        # Conditions on this row alone: a join would make it a subquery, which PostgreSQL does not
        # look at again after it has waited for the row, and two redemptions would win.
        won = Ticket.unscoped.filter(
            token_hash=token_hash, redeemed_at=None, expires_at__gt=at
        ).update(redeemed_at=at)
        if won:
            ticket = Ticket.unscoped.select_related("user").get(token_hash=token_hash)
            if not ticket.user.is_active:
                raise refused
            Ticket.unscoped.filter(
                user_id=owner_id, state_hash=ticket.state_hash, redeemed_at=None
            ).update(redeemed_at=at)
            return _start_editor_session(ticket, user_agent=user_agent, at=at)
    replayed = (
        Ticket.unscoped.filter(token_hash=token_hash)
        .exclude(session=None)
        .select_related("session")
    ).first()
    if replayed and replayed.session and replayed.session.ended_at is None:
        _end(replayed.session, actor=None, at=at, note="its ticket was used twice")
    raise refused


def _start_editor_session(ticket: Ticket, *, user_agent: str, at: datetime) -> SignedIn:
    client_token = new_secret("ct")
    scheme = ticket.editor.partition("://")[0]
    session = ClientSession.unscoped.create(
        user=ticket.user,
        kind=ClientSession.Kind.EDITOR,
        organization_id=ticket.organization_id,
        client_token_hash=digest(client_token),
        signed_on=ticket.signed_on,
        label=settings.ROOCLOUD_EDITORS.get(scheme, scheme),
        user_agent=clean_label(user_agent, 200),
        created_at=at,
        last_seen_at=at,
    )
    Ticket.unscoped.filter(pk=ticket.pk).update(session=session)
    audit.record(
        action="session.started",
        actor=Actor(ticket.user_id, ticket.organization_id or None, None, TokenKind.CLIENT),
        target_kind="session",
        target_id=session.pk,
        after={"kind": session.kind, "label": session.label},
        at=at,
    )
    return SignedIn(session, client_token)


def session_token(
    *, session: ClientSession, session_id: str, organization_id: str | None, at: datetime
) -> str:
    """A session token for the editor's context (protocol/auth.md §4).

    session: of the client token. session_id: from the path. organization_id: an id; empty for the
    personal account; None if the editor does not know, which means its last or first organization.

    Raises SessionGone if the path names another session, or the person has left the organization:
    the editor must drop both, and never silently lands in another context.
    """
    if session_id != session.pk:
        raise SessionGone("There is no such session")
    if organization_id is None:
        organization_id = _default_organization(session)
    if organization_id and not memberships.role_of(
        user_id=session.user_id,
        organization_id=storable(organization_id),
        signed_on=session.proofs,
    ):
        raise SessionGone("You are not a member of this organization any more")
    changed = organization_id != session.organization_id
    if changed or at - session.last_seen_at > timedelta(seconds=30):
        ClientSession.unscoped.filter(pk=session.pk).update(
            organization_id=organization_id, last_seen_at=at
        )
    return tokens.mint(session, organization_id=organization_id or None, at=at)


def _default_organization(session: ClientSession) -> str:
    ids = [membership.organization_id for membership in memberships.of(user_id=session.user_id)]
    if session.organization_id in ids:
        return session.organization_id
    return ids[0] if ids else ""


# --- Command line and jobs --------------------------------------------------------------------


def start_cli_session(*, by: Actor, user_agent: str, at: datetime) -> str:
    """A 90-day token for the command line, in the actor's context (protocol/auth.md §10.2)."""
    return _signed_session(
        by=by,
        kind=ClientSession.Kind.CLI,
        label="Command line",
        user_agent=user_agent,
        lifetime=tokens.CLI_LIFETIME,
        at=at,
    )


def make_job_token(*, by: Actor, name: str, lifetime: timedelta, at: datetime) -> str:
    """A static token (``r.t`` is ``cj``) for CI and for editors without a browser; shown once.

    Raises InvalidInput (``name``, ``lifetime``).
    """
    label = clean_label(name, 100)
    if not label:
        raise InvalidInput("Give the token a name, to know it by later", field="name")
    if not timedelta(minutes=1) <= lifetime <= MAX_JOB_LIFETIME:
        raise InvalidInput("must be between one minute and a year", field="lifetime")
    return _signed_session(
        by=by,
        kind=ClientSession.Kind.JOB,
        label=label,
        user_agent="",
        lifetime=lifetime,
        at=at,
    )


def _signed_session(
    *,
    by: Actor,
    kind: ClientSession.Kind,
    label: str,
    user_agent: str,
    lifetime: timedelta,
    at: datetime,
) -> str:
    with transaction.atomic():
        session = ClientSession.unscoped.create(
            pk=new_id("job" if kind == ClientSession.Kind.JOB else "sess"),
            user_id=by.user_id,
            kind=kind,
            organization_id=by.organization_id or "",
            signed_on=_proofs(by),
            label=label,
            user_agent=clean_label(user_agent, 200),
            created_at=at,
            last_seen_at=at,
            expires_at=at + lifetime,
        )
        audit.record(
            action="session.started",
            actor=by,
            target_kind="session",
            target_id=session.pk,
            after={"kind": str(kind), "label": label},
            at=at,
        )
    return tokens.mint(session, organization_id=by.organization_id, at=at)


# --- The end ----------------------------------------------------------------------------------


def end_session(*, session: ClientSession, by: Actor, at: datetime) -> None:
    """End an editor, a CLI login or a job token. Its tokens stop within five seconds, new ones are
    refused at once (B4). Ending what has ended changes nothing."""
    _end(session, actor=by, at=at, note="")


def end_other_sessions(*, by: Actor, at: datetime) -> int:
    """End all of a person's sessions outside the browser; how many there were."""
    return _end_all(by.user_id, actor=by, at=at, note="all were ended")


def end_browsers(*, user_id: str, except_key: str | None) -> None:
    """Sign a person out of every browser but the one with the session ``except_key``."""
    for browser in UserSession.objects.filter(user_id=user_id).exclude(session_key=except_key):
        browser.end()


def forget_provider(provider_id: str) -> None:
    """Let a provider that is gone, or is another one now, sign nobody in by what it said before."""
    SocialAccount.objects.filter(provider=provider_id).delete()


def recover_account(*, user: User, session_key: str | None, at: datetime) -> None:
    """The end of all that somebody signed in to before the password was reset: who forgot theirs
    loses little by it, and whose account was taken has it back (B7).

    session_key: of the browser that did it, which signs in anew in any case.
    """
    with transaction.atomic():
        audit.record(
            action="user.password_reset",
            actor=None,
            target_kind="user",
            target_id=user.pk,
            at=at,
        )
        _end_all(user.pk, actor=None, at=at, note="the password was reset")
    end_browsers(user_id=user.pk, except_key=session_key)


def _end_all(user_id: str, *, actor: Actor | None, at: datetime, note: str) -> int:
    """The person's API keys are paused with it: work depends on them, and who looks through them
    knows which to resume."""
    api_keys.pause_all(user_id=user_id, by=actor, at=at)
    with transaction.atomic():
        _lock_tickets(user_id)
        Ticket.unscoped.filter(user_id=user_id, redeemed_at=None).update(redeemed_at=at)
        sessions = list(ClientSession.unscoped.filter(user_id=user_id).alive(at))
        for session in sessions:
            _end(session, actor=actor, at=at, note=note)
        everything_ended.send(sender=None, user_id=user_id, by=actor, at=at)
    return len(sessions)


def _end(session: ClientSession, *, actor: Actor | None, at: datetime, note: str) -> None:
    with transaction.atomic():
        if not ClientSession.unscoped.filter(pk=session.pk, ended_at=None).update(ended_at=at):
            return
        audit.record(
            action="session.ended",
            actor=actor,
            target_kind="session",
            target_id=session.pk,
            note=note,
            at=at,
        )
    rights_cache.clear()
