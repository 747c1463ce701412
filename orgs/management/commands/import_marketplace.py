"""``manage.py import_marketplace PATH [--organization NAME --as EMAIL] [--remove-others]``"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import actions as accounts
from accounts.actors import shell_actor
from orgs import actions, items, texts
from orgs.forms import described
from orgs.models import MarketplaceItem
from roocloud.lib.refusals import InvalidInput, Refusal

_ENDINGS = {".yaml", ".yml", ".json"}


class Command(BaseCommand):
    help = (
        "Offer the modes and MCP servers of a file or a folder in the marketplace: of the "
        "deployment, for everybody, or modes of one organization. All are checked before one is "
        "taken. Run it again and nothing changes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", metavar="PATH", help="YAML or JSON; a folder: all such in it")
        parser.add_argument("--organization", metavar="NAME")
        parser.add_argument("--as", dest="person", metavar="EMAIL", help="its owner or admin")
        parser.add_argument(
            "--remove-others", action="store_true", help="and offer nothing else there"
        )
        parser.add_argument("--dry-run", action="store_true", help="only check and show")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._import(options)
        except Refusal as refusal:
            raise CommandError(described(refusal)) from None

    def _import(self, options: dict[str, Any]) -> None:
        found = _items(Path(options["path"]))
        organization = by = None
        if options["organization"]:
            organization = actions.find_organization(options["organization"])
            user = accounts.find_user(options["person"] or "")
            if organization is None or user is None:
                raise CommandError("Name an organization, and its owner or admin with --as")
            by = shell_actor(user, organization_id=organization.pk)
        now = timezone.now()
        present = {
            (row.kind, row.item_id): row
            for row in MarketplaceItem.unscoped.filter(organization=organization)
        }
        with transaction.atomic():
            for key, item in found.items():
                row = present.pop(key, None)
                is_same = row is not None and row.document == item.document
                if not is_same:
                    self.stdout.write(f"{'~' if row else '+'} {item.kind} {item.item_id}")
                    actions.put_item(organization=organization, item=item, by=by, at=now)
            for row in present.values() if options["remove_others"] else ():
                self.stdout.write(f"- {row.kind} {row.item_id}")
                actions.remove_item(row=row, by=by, at=now)
            transaction.set_rollback(options["dry_run"])
        said = "Nothing was changed: it was a dry run." if options["dry_run"] else "Done."
        self.stdout.write(f"{len(found)} items. {said}")


def _items(path: Path) -> dict[tuple[str, str], items.Item]:
    """Those of a file or of every file in a folder, by kind and id. Raises InvalidInput."""
    files = sorted(one for one in path.rglob("*") if one.suffix.lower() in _ENDINGS)
    if path.is_file():
        files = [path]
    if not files:
        raise CommandError(f"{path}: there is no file of YAML or JSON")
    found: dict[tuple[str, str], items.Item] = {}
    for file in files:
        try:
            value = texts.read(file.read_text("utf-8"), texts.form_of(file.name))
            for item in items.parse_list(value):
                if (item.kind, item.item_id) in found:
                    raise InvalidInput("is there twice", field=item.item_id)
                found[item.kind, item.item_id] = item
        except (OSError, UnicodeDecodeError) as fault:
            raise CommandError(f"{file}: {fault}") from None
        except Refusal as refusal:
            raise CommandError(f"{file}: {described(refusal)}") from None
    return found
