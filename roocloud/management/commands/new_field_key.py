"""``manage.py new_field_key``"""

from typing import Any

from django.core.management.base import BaseCommand

from roocloud.lib.crypto import new_key
from roocloud.lib.ids import new_id


class Command(BaseCommand):
    help = "Print a new entry for ROOCLOUD_FIELD_KEYS. Put it first to seal with it from then on."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(new_key(new_id("k")[2:10]))
