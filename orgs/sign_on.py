"""Whom an organization asks for its single sign-on."""

from collections import defaultdict
from collections.abc import Set

from allauth.account.models import EmailAddress

from accounts.memberships import Claim
from accounts.single_sign_on import PREFIX
from orgs.addresses import domain_of
from orgs.models import Domain, Membership, Role, SingleSignOn


def unproven(claims: Set[Claim]) -> Set[Claim]:
    """Those of the claims that the organization asks for its single sign-on in vain.

    Asked is who has a verified address at a domain that it has proven, but for one owner, who must
    be able to help when the issuer fails; once that person is no owner any more, no owner is asked.
    Guests with other addresses are not asked. One query where no organization asks for anything,
    else four.
    """
    asking = dict(
        SingleSignOn.unscoped.filter(
            is_required=True, organization_id__in={organization for _, organization, _ in claims}
        ).values_list("organization_id", "break_glass_id")
    )
    left = {
        claim for claim in claims if claim[1] in asking and f"{PREFIX}{claim[1]}" not in claim[2]
    }
    if not left:
        return set()
    domains, addresses, owners = _domains(asking), _addresses(left), _owners(asking)

    def is_exempt(user_id: str, organization_id: str) -> bool:
        helper, known = asking[organization_id], owners[organization_id]
        return user_id in known and (user_id == helper or helper not in known)

    return {
        claim
        for claim in left
        if addresses[claim[0]] & domains[claim[1]] and not is_exempt(claim[0], claim[1])
    }


def _domains(organization_ids: dict[str, str]) -> defaultdict[str, set[str]]:
    found = defaultdict(set)
    rows = Domain.unscoped.verified().filter(organization_id__in=organization_ids)
    for organization_id, name in rows.values_list("organization_id", "name"):
        found[organization_id].add(name)
    return found


def _addresses(claims: Set[Claim]) -> defaultdict[str, set[str]]:
    """Domains of people's verified addresses."""
    found = defaultdict(set)
    rows = EmailAddress.objects.filter(verified=True, user_id__in={user for user, _, _ in claims})
    for user_id, email in rows.values_list("user_id", "email"):
        found[user_id].add(domain_of(email))
    return found


def _owners(organization_ids: dict[str, str]) -> defaultdict[str, set[str]]:
    found = defaultdict(set)
    rows = Membership.unscoped.filter(organization_id__in=organization_ids, role=Role.OWNER)
    for organization_id, user_id in rows.values_list("organization_id", "user_id"):
        found[organization_id].add(user_id)
    return found
