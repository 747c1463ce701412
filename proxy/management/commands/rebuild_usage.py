"""``manage.py rebuild_usage``"""

from typing import Any

from django.core.management.base import BaseCommand

from proxy import usage_days


class Command(BaseCommand):
    help = "Make the daily sums of usage anew from the completions, and say how many were wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        rows, changed = usage_days.rebuild()
        self.stdout.write(f"{rows} daily sums, {changed} of them were not right before.")
