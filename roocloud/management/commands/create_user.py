"""``manage.py create_user EMAIL …``: idempotent, for scripts."""

import os
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import actions as accounts
from accounts import memberships
from accounts.actors import shell_actor
from credits import actions as credit
from orgs import actions as orgs
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import Refusal


class Command(BaseCommand):
    help = (
        "Make a person, an organization if need be, the membership, and credit. Run again, it "
        "changes what differs and grants the credit once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument(
            "--password",
            default=os.environ.get("ROOCLOUD_PASSWORD", ""),
            help="or set ROOCLOUD_PASSWORD, which keeps it out of the process list",
        )
        parser.add_argument("--first-name", default="")
        parser.add_argument("--last-name", default="")
        parser.add_argument("--org", metavar="NAME", help="made with this person as owner if new")
        parser.add_argument("--role", help="in the organization; default: member, or owner if new")
        parser.add_argument("--credit", metavar="USD", help="for the organization, else the person")
        parser.add_argument("--staff", action="store_true", help="may use the administration")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                self.stdout.write(self._make(options, at=timezone.now()))
        except Refusal as refusal:
            field = f"{refusal.field}: " if refusal.field else ""
            raise CommandError(f"{field}{refusal.message}") from None

    def _make(self, options: dict[str, Any], *, at: datetime) -> str:
        user = accounts.find_user(options["email"])
        if user is None:
            user = accounts.make_user(
                email=options["email"],
                password=options["password"],
                first_name=options["first_name"],
                last_name=options["last_name"],
                is_staff=options["staff"],
                at=at,
            )
        elif options["password"]:
            accounts.set_password(user=user, password=options["password"], at=at)
        if options["staff"]:
            accounts.make_staff(user=user, at=at)
        organization = None
        if options["org"]:
            organization = orgs.find_organization(options["org"])
            if organization is None:
                organization = orgs.create_organization(
                    name=options["org"], owner=user, by=shell_actor(user), at=at
                )
            held = memberships.role_of(user_id=user.pk, organization_id=organization.pk)
            if options["role"] or held is None:
                role = options["role"] or "member"
                orgs.put_member(organization=organization, user=user, role=role, by=None, at=at)
        if options["credit"]:
            account = credit.account_of(
                user_id=user.pk, organization_id=organization.pk if organization else None, at=at
            )
            credit.grant(
                account=account,
                amount_nanos=usd_to_nanos(options["credit"], field="--credit"),
                key=f"create_user:{user.pk}",
                by=None,
                note="manage.py create_user",
                at=at,
            )
        return user.pk
