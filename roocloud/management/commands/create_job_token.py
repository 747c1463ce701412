"""``manage.py create_job_token EMAIL [--org NAME]``"""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import actions as accounts
from accounts.actors import shell_actor
from orgs import actions as orgs
from roocloud.lib.refusals import Refusal


class Command(BaseCommand):
    help = "Print a static token for CI or for an editor without a browser. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--org", metavar="NAME", help="default: the personal account")
        parser.add_argument("--name", default="Command line", help="to know it by")
        parser.add_argument("--days", type=int, default=30)

    def handle(self, *args: Any, **options: Any) -> None:
        user = accounts.find_user(options["email"])
        if user is None:
            raise CommandError(f"There is no account {options['email']}")
        organization = orgs.find_organization(options["org"]) if options["org"] else None
        if options["org"] and organization is None:
            raise CommandError(f"There is no organization {options['org']}")
        actor = shell_actor(user, organization_id=organization.pk if organization else None)
        if organization and actor.role is None:
            raise CommandError(f"{user.email} is not a member of {organization.name}")
        try:
            token = accounts.make_job_token(
                by=actor,
                name=options["name"],
                lifetime=timedelta(days=options["days"]),
                at=timezone.now(),
            )
        except Refusal as refusal:
            raise CommandError(f"{refusal.field}: {refusal.message}") from None
        self.stdout.write(token)
