"""``manage.py rotate_signing_key``"""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from accounts import tokens


class Command(BaseCommand):
    help = "Sign tokens with a new key from now on. Tokens of the older keys stay valid."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(tokens.make_key(at=timezone.now()))
