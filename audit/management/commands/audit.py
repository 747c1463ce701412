"""``manage.py audit``: prove that the audit trail is as it was written."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit import chain, verifying


def _end(text: str) -> tuple[int, str]:
    sequence, _, digest = text.partition(":")
    if not (sequence.isdecimal() and int(sequence) and len(digest) == 64):
        raise ArgumentTypeError("an end is NUMBER:DIGEST, as this command prints it")
    return int(sequence), digest.lower()


class Command(BaseCommand):
    help = "Prove that the audit trail is as it was written: nothing changed, added or taken away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        verify = what.add_parser("verify", help="look through the whole chain; exits with 1 if bad")
        verify.add_argument(
            "--end",
            type=_end,
            action="append",
            default=[],
            metavar="NUMBER:DIGEST",
            help="an end of the chain that was noted earlier, and that it must still contain",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chain.link(at=timezone.now())
        verdict = verifying.verify(ends=dict(options["end"]))
        if not verdict.is_intact:
            raise CommandError(f"The audit trail was tampered with. {verdict.fault}")
        end = f"{verdict.links}:{verdict.digest}" if verdict.links else "none yet"
        self.stdout.write(f"The audit trail is intact. Its end: {end}")
