"""``manage.py org_settings export|import|check``: an organization's settings as a file in code."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import actions as accounts
from accounts.actors import Actor, shell_actor
from orgs import actions, documents, texts
from orgs.forms import described
from orgs.models import Organization, SettingsRevision
from roocloud.lib.refusals import InvalidInput, Refusal

#: What a command ends with if it was carried out and the file is not what is in force.
DIFFERENT, PROPOSED = 3, 4


class Command(BaseCommand):
    help = (
        "Take an organization's settings to a file and back. Exits with 0 if the file is in force "
        "(or valid, for check without an organization), 1 for what is refused, 2 for a wrong call, "
        "3 if the file differs from what is in force, 4 if it was proposed and waits for approval."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        export = commands.add_parser("export", help="print the settings in force")
        export.add_argument("organization", metavar="ORGANIZATION", help="its exact name")
        export.add_argument("--format", choices=["json", "yaml"], default="yaml")
        bring = commands.add_parser("import", help="put a file into force")
        bring.add_argument("organization", metavar="ORGANIZATION", help="its exact name")
        bring.add_argument("file", metavar="FILE", help="- for what is piped in")
        bring.add_argument("--as", dest="person", metavar="EMAIL", required=True,
                           help="the owner or admin in whose name")  # fmt: skip
        bring.add_argument("--note", default="", help="why; kept in the history")
        bring.add_argument("--read-version", type=int, metavar="N",
                           help="refuse if another version is in force")  # fmt: skip
        bring.add_argument("--dry-run", action="store_true", help="only show what would change")
        check = commands.add_parser("check", help="check a file, and what it would change")
        check.add_argument("file", metavar="FILE", help="- for what is piped in")
        check.add_argument("--organization", metavar="NAME", help="to compare with")
        for one in (bring, check):
            one.add_argument("--format", choices=["json", "yaml"], help="default: by FILE's name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['command']}")(options)
        except Refusal as refusal:
            raise CommandError(described(refusal)) from None

    def _export(self, options: dict[str, Any]) -> None:
        current = _current(_organization(options["organization"]))
        self.stdout.write(texts.write(current.document, options["format"]), ending="")

    def _check(self, options: dict[str, Any]) -> None:
        document = _read(options)
        if options["organization"] is None:
            self.stdout.write("Every released client accepts it.")
            return
        current = _current(_organization(options["organization"]))
        if self._show(current, document):
            _end(DIFFERENT)

    def _import(self, options: dict[str, Any]) -> None:
        organization = _organization(options["organization"])
        by = _admin(options["person"], organization)
        document, current = _read(options), _current(organization)
        if not self._show(current, document):
            return
        if options["dry_run"]:
            _end(DIFFERENT)
        read_version = options["read_version"] or current.version
        now = timezone.now()
        try:
            revision = actions.save_settings(
                organization=organization,
                document=document,
                read_version=read_version,
                by=by,
                note=options["note"],
                at=now,
            )
        except actions.ApprovalNeeded:
            draft = actions.propose(
                organization=organization,
                document=document,
                read_version=read_version,
                by=by,
                note=options["note"],
                at=now,
            )
            self.stdout.write(f"Proposed as {draft.pk}: another owner or admin must approve it.")
            _end(PROPOSED)
        self.stdout.write(f"Version {revision.version} is in force.")

    def _show(self, current: SettingsRevision, document: dict[str, Any]) -> bool:
        """Whether the document differs from what is in force, which is printed."""
        difference = texts.difference(current.document, document, "yaml")
        for _, line in difference:
            self.stdout.write(line)
        if not difference:
            self.stdout.write(f"It is the same as version {current.version}, which is in force.")
        return bool(difference)


def _read(options: dict[str, Any]) -> dict[str, Any]:
    """The document of the file. Raises InvalidInput."""
    name = options["file"]
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = data.decode("utf-8")
    except OSError as fault:
        raise CommandError(f"{name}: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput("is not UTF-8", field=name) from None
    return documents.dump(
        documents.parse(texts.read(text, options["format"] or texts.form_of(name)))
    )


def _organization(name: str) -> Organization:
    found = actions.find_organization(name)
    if found is None:
        raise CommandError(f"There is no organization {name}")
    return found


def _admin(email: str, organization: Organization) -> Actor:
    user = accounts.find_user(email)
    if user is None:
        raise CommandError(f"There is no account {email}")
    return shell_actor(user, organization_id=organization.pk)


def _current(organization: Organization) -> SettingsRevision:
    current = actions.current_revision(organization)
    if current is None:
        raise LookupError("an organization without settings")
    return current


def _end(code: int) -> NoReturn:
    raise SystemExit(code)
