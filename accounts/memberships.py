"""What accounts must know of organizations, answered by the room above (``orgs`` registers itself).

Tokens name an organization and roles decide, but organizations live in a room above this one.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Membership:
    """One organization that somebody belongs to. asks_sign_on: some of its people have to sign in
    through it."""

    organization_id: str
    organization_name: str
    role: str
    asks_sign_on: bool = False


#: A person, an organization, and the single sign-ons that their sign-in came by.
Claim = tuple[str, str, frozenset[str]]


class MembershipSource(Protocol):
    def role_of(
        self, *, user_id: str, organization_id: str, signed_on: frozenset[str] | None
    ) -> str | None: ...
    def unproven(self, claims: Iterable[Claim]) -> Set[Claim]: ...
    def roles(self, pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]: ...
    def of(self, *, user_id: str) -> Sequence[Membership]: ...
    def administers(self, role: str | None) -> bool: ...


_sources: list[MembershipSource] = []


def register(source: MembershipSource) -> None:
    """Name the source of memberships; called once, while apps are loaded."""
    _sources[:] = [source]


def role_of(
    *, user_id: str, organization_id: str, signed_on: frozenset[str] | None = None
) -> str | None:
    """The role that the person holds now, or None for a stranger; and, where ``signed_on`` says by
    which single sign-ons they signed in, for whom the organization asks for its own."""
    return _sources[0].role_of(
        user_id=user_id, organization_id=organization_id, signed_on=signed_on
    )


def unproven(claims: Iterable[Claim]) -> Set[Claim]:
    """Those of the claims whose organization asks that person for its single sign-on, which their
    sign-in did not come by. One query where no organization asks for any."""
    return _sources[0].unproven(claims)


def roles(pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """The roles held now, for pairs of (person, organization); strangers are absent. One query."""
    return _sources[0].roles(pairs)


def administers(role: str | None) -> bool:
    """Whether somebody with that role manages the organization's members and their keys."""
    return _sources[0].administers(role)


def of(*, user_id: str) -> Sequence[Membership]:
    """The person's organizations, by name."""
    return _sources[0].of(user_id=user_id)
