"""``manage.py serve``: what ``make run`` and a production process start."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from proxy.actions import sync_environment_upstream
from proxy.queries import has_models
from roocloud.first_run import ensure_administrator
from roocloud.lib.refusals import Refusal
from roocloud.serving import serve

#: Where a value that a rule refuses at the start came from.
_VARIABLES = {
    "base_url": "ROOCLOUD_UPSTREAM_BASE_URL",
    "api_key": "ROOCLOUD_UPSTREAM_API_KEY",
    "email": "ROOCLOUD_ADMIN_EMAIL",
    "password": "ROOCLOUD_ADMIN_PASSWORD",
}


class Command(BaseCommand):
    help = "Serve on HOST and PORT. The embedded deployment is migrated and set up first."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        is_embedded = settings.ROOCLOUD_MODE == "embedded"
        if is_embedded:
            call_command("migrate", interactive=False, verbosity=0)
        else:
            _refuse_missing_migrations()
        try:
            sync_environment_upstream(at=timezone.now())
            if is_embedded:
                self._welcome()
        except Refusal as refusal:
            named = _VARIABLES.get(refusal.field or "", refusal.field)
            raise CommandError(f"{named}: {refusal.message}") from None
        serve(host=options["host"], port=options["port"])

    def _welcome(self) -> None:
        made = ensure_administrator(
            email=settings.ROOCLOUD_ADMIN_EMAIL,
            password=settings.ROOCLOUD_ADMIN_PASSWORD,
            at=timezone.now(),
        )
        url = settings.ROOCLOUD_PUBLIC_URL
        lines = [
            "",
            f"  {settings.ROOCLOUD_PRODUCT_NAME} is at {url}",
            f"  Administration: {url}/admin/",
            "",
            "  Start your editor with these variables in its environment:",
            f"    CLERK_BASE_URL={url}",
            f"    ROO_CODE_API_URL={url}",
            f"    ROO_CODE_PROVIDER_URL={url}/proxy",
        ]
        if made:
            lines += ["", f"  First administrator: {made.email}"]
            if made.password:
                lines += [f"  Password (shown this once): {made.password}"]
        if not has_models(at=timezone.now()):
            lines += [
                "",
                "  No model is offered yet. Name one of the upstream's and its price:",
                "    manage.py create_model ID --upstream NAME --input-price … --output-price …",
            ]
        self.stdout.write("\n".join([*lines, ""]), ending="\n")
        self.stdout.flush()


def _refuse_missing_migrations() -> None:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        lacking = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in plan)
        raise CommandError(
            f"The database lacks migrations: {lacking}. Run manage.py migrate first."
        )
