"""``manage.py create_api_key EMAIL --name N [--org NAME] [--model ID …] [--budget USD]``"""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import actions as accounts
from accounts.actors import Actor, shell_actor
from accounts.api_keys import NewKey
from orgs import actions as orgs
from proxy import keys
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import Refusal


class Command(BaseCommand):
    help = "Print an API key for any OpenAI client. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--org", metavar="NAME", help="default: the personal account")
        parser.add_argument("--name", required=True, help="to know it by")
        parser.add_argument("--note", default="", help="what it is for")
        parser.add_argument(
            "--model", action="append", metavar="ID", help="default: every model; repeatable"
        )
        parser.add_argument("--days", type=int, metavar="N", help="default: it does not end")
        parser.add_argument("--budget", metavar="USD", help="default: none of its own")
        parser.add_argument(
            "--period", default="month", choices=["day", "week", "month", "total"],
            help="of the budget; default: month",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            limit = None
            if options["budget"] is not None:
                nanos = usd_to_nanos(options["budget"], field="--budget")
                limit = keys.Limit(nanos, options["period"])
            issued = keys.make_key(
                by=_actor(options),
                new=NewKey(
                    name=options["name"],
                    note=options["note"],
                    model_ids=options["model"] or (),
                    lifetime=None if options["days"] is None else timedelta(days=options["days"]),
                ),
                limit=limit,
                at=timezone.now(),
            )
        except Refusal as refusal:
            named = f"{refusal.field}: " if refusal.field else ""
            raise CommandError(f"{named}{refusal.message}") from None
        self.stdout.write(issued.secret)


def _actor(options: dict[str, Any]) -> Actor:
    user = accounts.find_user(options["email"])
    if user is None:
        raise CommandError(f"There is no account {options['email']}")
    organization = orgs.find_organization(options["org"]) if options["org"] else None
    if options["org"] and organization is None:
        raise CommandError(f"There is no organization {options['org']}")
    actor = shell_actor(user, organization_id=organization.pk if organization else None)
    if organization and actor.role is None:
        raise CommandError(f"{user.email} is not a member of {organization.name}")
    return actor
