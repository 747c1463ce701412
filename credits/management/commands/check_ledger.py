"""``manage.py check_ledger``: prove that every balance is the sum of its entries."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from credits import queries
from roocloud.lib.money import format_usd


class Command(BaseCommand):
    help = "Prove that every balance is the sum of its ledger entries."

    def handle(self, *args: Any, **options: Any) -> None:
        found = queries.mismatches()
        for wrong in found:
            self.stderr.write(
                f"{wrong.account_id}: balance {format_usd(wrong.balance_nanos)}, "
                f"entries {format_usd(wrong.entries_nanos)}; "
                f"set aside {format_usd(wrong.held_nanos)}, "
                f"open holds {format_usd(wrong.holds_nanos)}"
            )
        if found:
            raise CommandError(f"{len(found)} accounts do not match their entries")
        self.stdout.write("Every balance is the sum of its entries.")
