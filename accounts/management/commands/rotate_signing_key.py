"""``manage.py rotate_signing_key [--retire KID]``"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import tokens
from roocloud.lib.refusals import NotFound


class Command(BaseCommand):
    help = (
        "Sign tokens with a new key from now on. Tokens of the older keys stay valid, until "
        "--retire ends a key and every token that it signed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--retire", metavar="KID", help="end this key instead of making one")

    def handle(self, *args: Any, retire: str | None, **options: Any) -> None:
        if retire is None:
            self.stdout.write(tokens.make_key(at=timezone.now()))
            return
        try:
            tokens.retire_key(retire, at=timezone.now())
        except NotFound as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{retire} is retired.")
