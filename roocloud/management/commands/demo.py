"""``manage.py demo``: an organization to look at."""

import secrets
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from roocloud.demo import actions
from roocloud.lib.refusals import Refusal

#: Seconds; an editor that is silent for a minute is gone.
_BEAT_S = 20


class Command(BaseCommand):
    help = (
        "Make an organization with members, a month of tasks, completions, budgets and requests, "
        "and a way to sign in to it. Run again, it changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--remove", action="store_true", help="take it away again")
        what.add_argument(
            "--live", action="store_true", help="keep its two editors connected until Ctrl-C"
        )
        parser.add_argument(
            "--in-production", action="store_true", help="needed where ROOCLOUD_MODE=production"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION and not (options["in_production"] or options["remove"]):
            raise CommandError("This is production; say --in-production to make a demo here")
        if options["remove"]:
            self._remove()
            return
        self._make()
        if options["live"]:
            self._live()

    def _make(self) -> None:
        password = secrets.token_urlsafe(12)
        if found := actions.standing():
            self.stdout.write(f"The demo is here already: {found[0].email}. --remove takes it away")
            return
        try:
            owner = actions.make(password=password, at=timezone.now())
        except Refusal as refusal:
            raise CommandError(refusal.message) from None
        self.stdout.write(f"Sign in as {owner.email} with the password {password}")
        self.stdout.write("The other members have the same one. Two editors are connected for a")
        self.stdout.write("minute; `manage.py demo --live` keeps them.")

    def _live(self) -> None:
        self.stdout.write("Two editors stay connected. Ctrl-C ends.")
        try:
            while actions.connect_again(at=timezone.now()):
                time.sleep(_BEAT_S)
        except KeyboardInterrupt:
            self.stdout.write("They are gone in a minute.")

    def _remove(self) -> None:
        if not actions.remove(at=timezone.now()):
            self.stdout.write("There is no demo")
            return
        self.stdout.write("Its tasks, links and sign-ins are gone, and its accounts are closed.")
        self.stdout.write("Its ledger and its sums of usage stay, as all do; see docs/operator.md.")
