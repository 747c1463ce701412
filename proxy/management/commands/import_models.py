"""``manage.py import_models [FILE] [--upstream NAME] [--own-list] [--filter GLOB …] [--apply]``"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from proxy import clouds, imports, listings, probe
from proxy.imports import Change
from proxy.listings import Catalogues, Listed
from proxy.models import LanguageModel, Upstream
from roocloud.lib.refusals import Refusal

_SIGNS = {"new": "+", "changed": "~", "gone": "-", "kept": "=", "same": " "}


class Command(BaseCommand):
    help = (
        "Show what a list of models and prices would change, and with --apply change it. Without "
        "FILE the list that comes with this release counts. Run it again and nothing changes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            metavar="FILE",
            help="models.dev's api.json, litellm's model_prices_and_context_window.json, or an "
            "answer to GET /models",
        )
        parser.add_argument(
            "--upstream",
            metavar="NAME",
            help="where the models are completed; default: every upstream at a known provider",
        )
        parser.add_argument(
            "--own-list",
            action="store_true",
            help="ask the upstream what it has; the file completes what it does not say",
        )
        parser.add_argument(
            "--provider", metavar="NAME", help="whose part of the file; default: by the address"
        )
        parser.add_argument(
            "--filter", action="append", metavar="GLOB", help="of ids, such as 'anthropic/*'"
        )
        parser.add_argument("--apply", action="store_true", help="change it; else only show")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            catalogues = self._catalogues(options["file"])
            for upstream in self._upstreams(options["upstream"]):
                self._import(upstream, catalogues, options)
        except Refusal as refusal:
            raise CommandError(refusal.message) from None

    def _catalogues(self, file: str | None) -> Catalogues:
        if file is None:
            return listings.seed()
        try:
            return listings.read_file(Path(file).read_bytes())
        except OSError as fault:
            raise CommandError(f"{file}: {fault.strerror}") from None
        except Refusal as refusal:
            raise CommandError(f"{file} {refusal.message}") from None

    def _upstreams(self, name: str | None) -> list[Upstream]:
        if name:
            found = list(Upstream.unscoped.filter(name=name))
            if not found:
                raise CommandError(f"There is no upstream {name}: make it with create_upstream")
            return found
        enabled = Upstream.unscoped.filter(enabled=True).order_by("name")
        found = [upstream for upstream in enabled if listings.provider_at(upstream.base_url)]
        if not found:
            raise CommandError("No upstream is at a known provider: name one with --upstream")
        return found

    def _listed(
        self, upstream: Upstream, catalogues: Catalogues, options: dict[str, Any]
    ) -> list[Listed]:
        at = upstream.base_url
        provider = options["provider"] or listings.provider_at(at) or clouds.cloud_at(at) or ""
        known = clouds.fitting(at, catalogues.get(provider) or catalogues.get("", []))
        if options["own_list"]:
            return listings.completed_by(probe.models_of(upstream), known)
        if not known:
            names = ", ".join(sorted(catalogues))
            raise CommandError(
                f"Nothing is listed for {upstream.name}. Choose with --provider among {names}, or "
                "ask it with --own-list"
            )
        return known

    def _import(self, upstream: Upstream, catalogues: Catalogues, options: dict[str, Any]) -> None:
        now = timezone.now()
        changes = imports.differences(
            upstream,
            self._listed(upstream, catalogues, options),
            at=now,
            filters=options["filter"] or (),
            is_complete=options["own_list"],
        )
        self.stdout.write(f"{upstream.name} ({upstream.base_url})")
        for change in changes:
            if change.state != "same":
                self.stdout.write(self._line(change, is_named=options["upstream"] is not None))
        # Two upstreams that disagree about a model would change it to and fro.
        is_named = options["upstream"] is not None
        chosen = [c for c in changes if c.is_takeable and (is_named or not c.is_disputed)]
        same = sum(change.state == "same" for change in changes)
        if not options["apply"]:
            self.stdout.write(
                f"{len(chosen)} to change, {same} the same. Nothing was changed: add --apply."
            )
            return
        for change in chosen:
            imports.take(upstream, change.listed, change.price, by=None, at=now)
        self.stdout.write(f"{len(chosen)} changed, {same} the same.")

    def _line(self, change: Change, *, is_named: bool) -> str:
        price = imports.price_text(change.price or change.present)
        if change.changes_price and change.present:
            price = f"{imports.price_text(change.present)} -> {price}"
        facts = [f"{fact.label} {fact.before or 'none'} -> {fact.after}" for fact in change.facts]
        kind = "" if change.kind == LanguageModel.Kind.LANGUAGE else f" {change.kind} model"
        words = [f"{change.state}{kind}"]
        if not change.is_priced:
            words = [f"{change.state}{kind}, not taken without a price"]
        if change.is_disputed and not is_named:
            words = [f"{change.state}{kind}, taken only if --upstream names this one"]
        return f"{_SIGNS[change.state]} {change.model_id}: " + "; ".join(
            [*words, price, *facts, *change.notes]
        )
