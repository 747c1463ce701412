"""``manage.py rotate_field_keys``: seal every secret under the first field key."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from roocloud.lib import sealed


class Command(BaseCommand):
    help = (
        "Seal every secret under the first of ROOCLOUD_FIELD_KEYS. Run it while serving, and again "
        "if it was interrupted; when it ends, older keys are not needed any more."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done: Counter[str] = Counter()
        lost = 0
        for row in sealed.renew_all():
            if row.is_lost:
                lost += 1
                self.stderr.write(f"{row.column} of {row.pk}: no configured key opens it")
            else:
                done[row.column] += 1
        for column, count in sorted(done.items()):
            self.stdout.write(f"{column}: {count} sealed anew")
        if lost:
            raise CommandError(f"{lost} secrets are lost: keep the older keys, or set them again")
        self.stdout.write("Every secret is under the newest key.")
