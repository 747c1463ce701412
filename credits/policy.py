"""Who may, with the money of a context: pure functions of an actor."""

from accounts.actors import Actor
from orgs import policy as orgs

#: Who holds it may add credit to any account.
GRANT = "credits.grant_credit"


def may_decide(actor: Actor) -> bool:
    """Whether the actor decides over the money of their context: sees its ledger, sets budgets,
    pays. A person of their own account, owners and admins of an organization's."""
    return actor.organization_id is None or orgs.is_admin(actor)


def may_ask(actor: Actor) -> bool:
    """Whether the actor may ask for credit: whoever may spend it."""
    return orgs.may_spend(actor)
