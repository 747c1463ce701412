"""``manage.py import_tasks PATH --user EMAIL [--org NAME]``"""

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import actions as accounts
from accounts.actors import Actor, shell_actor
from orgs import actions as orgs
from roocloud.lib.refusals import Refusal
from tasks_sharing.imports.actions import import_folders
from tasks_sharing.imports.files import Archive, Folder, Source
from tasks_sharing.models import ImportedTask


class Command(BaseCommand):
    help = (
        "Import the tasks that an editor kept on a computer, as somebody's own. Interrupted or run "
        "again, it goes on with what is not here yet."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", metavar="PATH", help="a folder named tasks, or a zip of one")
        parser.add_argument("--user", metavar="EMAIL", required=True, help="whose tasks they are")
        parser.add_argument("--org", metavar="NAME", help="default: the personal account")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = self._actor(options["user"], options["org"])
        path = Path(options["path"])
        try:
            if path.is_dir():
                self._import(actor, Folder(path))
            else:
                with path.open("rb") as file:
                    self._import(actor, Archive(file))
        except OSError as fault:
            raise CommandError(f"{path}: {fault.strerror}") from None
        except Refusal as refusal:
            raise CommandError(refusal.message) from None

    def _actor(self, email: str, organization_name: str | None) -> Actor:
        user = accounts.find_user(email)
        if user is None:
            raise CommandError(f"There is no account {email}")
        organization = orgs.find_organization(organization_name) if organization_name else None
        if organization_name and organization is None:
            raise CommandError(f"There is no organization {organization_name}")
        actor = shell_actor(user, organization_id=organization.pk if organization else None)
        if organization and actor.role is None:
            raise CommandError(f"{user.email} is not a member of {organization.name}")
        return actor

    def _import(self, actor: Actor, source: Source) -> None:
        outcomes: Counter[str] = Counter()
        total = len(source.folders)
        for folder, outcome, reason, count in import_folders(
            actor=actor, source=source, at=timezone.now()
        ):
            outcomes[outcome] += 1
            label = ImportedTask.Outcome(outcome).label
            what = reason or f"{count} messages"
            self.stdout.write(f"{outcomes.total()}/{total} {label}: {folder} ({what})")
        counted = [f"{outcomes[o.value]} {o.label.lower()}" for o in ImportedTask.Outcome]
        self.stdout.write(", ".join(counted))
