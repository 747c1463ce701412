"""Single sign-ons of organizations, answered by the room above (``orgs`` registers itself).

Each is an issuer of OpenID Connect that an organization named, and speaks for the people of the
organization's proven domains alone: what it says of anybody else is not believed (B7).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.http import HttpRequest

#: Begins the ids of these providers, and of no other.
PREFIX = "sso-"


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach an issuer. domains: proven ones of the organization, in lower case."""

    provider_id: str
    name: str
    issuer: str
    client_id: str
    secret: str
    domains: frozenset[str]

    def speaks_for(self, emails: Collection[str]) -> bool:
        """Whether all the addresses that the issuer named, at least one, are at the domains."""
        return bool(emails) and all(
            email.rpartition("@")[2].lower() in self.domains for email in emails
        )


def proofs(request: HttpRequest) -> frozenset[str]:
    """The providers of organizations by which this browser's person signed in."""
    from allauth.account.internal.flows.login import get_authentication_records  # needs its models

    return proofs_of(get_authentication_records(request, request.user))


def proofs_of(records: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Of what allauth noted in a web session of how its person signed in."""
    named = {record.get("provider", "") for record in records}
    return frozenset(provider for provider in named if is_organizations(provider))


class Source(Protocol):
    def connection(self, provider_id: str) -> Connection | None:
        """The connection of a provider; None for one that is not there."""


_sources: list[Source] = []


def register(source: Source) -> None:
    """Name the source; called once, while apps are loaded."""
    _sources[:] = [source]


def is_organizations(provider_id: str) -> bool:
    return provider_id.startswith(PREFIX)


def connection(provider_id: str) -> Connection | None:
    return _sources[0].connection(provider_id) if is_organizations(provider_id) else None
