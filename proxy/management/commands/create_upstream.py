"""``manage.py create_upstream NAME --base-url URL --api-key KEY``"""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from proxy import actions
from proxy.models import Upstream
from roocloud.lib.refusals import Refusal


class Command(BaseCommand):
    help = "Make an upstream, or give the one of that name a new address and key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--base-url", required=True, help="such as https://api.example.com/v1")
        parser.add_argument(
            "--kind",
            choices=Upstream.Kind.values,
            help="what it speaks; a new one is OpenAI-compatible unless this says otherwise",
        )
        parser.add_argument(
            "--api-key",
            default=os.environ.get("ROOCLOUD_API_KEY", ""),
            help="or set ROOCLOUD_API_KEY, which keeps the key out of the process list; what "
            "bedrock and vertex take is in docs/admin.md",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            upstream = actions.put_upstream(
                name=options["name"],
                base_url=options["base_url"],
                api_key=options["api_key"],
                kind=options["kind"],
                by=None,
                at=timezone.now(),
            )
        except Refusal as refusal:
            raise CommandError(f"{refusal.field}: {refusal.message}") from None
        self.stdout.write(upstream.pk)
