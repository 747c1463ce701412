"""``manage.py doctor``: a scripted editor plays the whole round through the public address."""

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from roocloud import doctor


class Command(BaseCommand):
    help = "Play a real editor's whole round through ROOCLOUD_PUBLIC_URL, against a running server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", default="", help="to complete with; default: the first")

    def handle(self, *args: Any, **options: Any) -> None:
        patient = doctor.admit_patient(at=timezone.now())
        try:
            failed = asyncio.run(self._examine(patient, options["model"]))
        finally:
            doctor.discharge(patient, at=timezone.now())
        if failed:
            raise CommandError("The round does not work yet.")
        self.stdout.write(self.style.SUCCESS("The whole round works."))

    async def _examine(self, patient: doctor.Patient, model: str) -> bool:
        async for finding in doctor.examine(patient, model=model):
            if finding.problem:
                self.stdout.write(self.style.ERROR(f"✗ {finding.step}: {finding.problem}"))
                self.stdout.write(f"  {finding.cure}")
                return True
            self.stdout.write(f"✓ {finding.step} {finding.detail}".rstrip())
        return False
