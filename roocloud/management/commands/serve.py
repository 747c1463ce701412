"""``manage.py serve``: what ``make run`` and a production process start."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.utils import timezone

from proxy.actions import sync_environment_upstream
from proxy.queries import has_models
from roocloud.first_run import ensure_administrator
from roocloud.serving import serve


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
            self.check_migrations()
        sync_environment_upstream(at=timezone.now())
        if is_embedded:
            self._welcome()
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
