"""What accounts must know of organizations, answered by the room above (``orgs`` registers itself).

Tokens name an organization and roles decide, but organizations live in a room above this one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Membership:
    """One organization that somebody belongs to."""

    organization_id: str
    organization_name: str
    role: str


class MembershipSource(Protocol):
    def role_of(self, *, user_id: str, organization_id: str) -> str | None: ...
    def roles(self, pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]: ...
    def of(self, *, user_id: str) -> Sequence[Membership]: ...
    def administers(self, role: str | None) -> bool: ...


_sources: list[MembershipSource] = []


def register(source: MembershipSource) -> None:
    """Name the source of memberships; called once, while apps are loaded."""
    _sources[:] = [source]


def role_of(*, user_id: str, organization_id: str) -> str | None:
    """The role that the person holds now, or None for a stranger."""
    return _sources[0].role_of(user_id=user_id, organization_id=organization_id)


def roles(pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """The roles held now, for pairs of (person, organization); strangers are absent. One query."""
    return _sources[0].roles(pairs)


def administers(role: str | None) -> bool:
    """Whether somebody with that role manages the organization's members and their keys."""
    return _sources[0].administers(role)


def of(*, user_id: str) -> Sequence[Membership]:
    """The person's organizations, by name."""
    return _sources[0].of(user_id=user_id)
