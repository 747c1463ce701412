"""What of this room is about a person (L3)."""

from credits.models import Account, Budget, BudgetSpan, Entry, Payment, TopUp
from roocloud.lib import personal

_AMOUNTS = "amounts stay, under the pseudonym"


def declare() -> None:
    personal.kept(Account, "user", "balance_nanos", reason=_AMOUNTS)
    personal.kept(
        Entry, "account__user", "kind", "amount_nanos", "note", "posted_at", reason=_AMOUNTS
    )
    personal.elsewhere(Entry, "made_by_id", reason="the entry is of the account that it is in")
    personal.kept(Budget, "subject", "period", "limit_nanos", reason=_AMOUNTS)
    personal.elsewhere(Budget, "made_by_id", reason="the budget is of its account")
    personal.kept(BudgetSpan, "subject", "starts_on", "spent_nanos", reason=_AMOUNTS)
    personal.kept(
        TopUp, "asked_by_id", "amount_nanos", "reason", "asked_at", "state", "answer",
        reason=_AMOUNTS, blank={"reason": "", "answer": ""},
    )  # fmt: skip
    personal.elsewhere(TopUp, "decided_by_id", reason="the request is of who asked")
    personal.kept(
        Payment, "by_id", "amount_nanos", "paid_nanos", "refunded_nanos", "begun_at", "paid_at",
        reason=_AMOUNTS, blank={"checkout_url": ""},
    )  # fmt: skip
