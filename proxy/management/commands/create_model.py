"""``manage.py create_model ID --upstream NAME --input-price … --output-price …``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from proxy import actions
from proxy.models import LanguageModel, Upstream
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import InvalidInput, Refusal


def _price(options: dict[str, Any], name: str) -> int | None:
    """Nano-dollars of an option in USD. Raises InvalidInput."""
    given = options[name]
    if given is None:
        return None
    nanos = usd_to_nanos(given, field=f"--{name.replace('_', '-')}")
    if nanos < 0:
        raise InvalidInput("must not be negative", field=f"--{name.replace('_', '-')}")
    return nanos


class Command(BaseCommand):
    help = "Make a model, or change the one of that id. A changed price counts from now on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model_id", metavar="ID", help="as clients ask for it: vendor/name")
        parser.add_argument("--upstream", required=True, metavar="NAME")
        parser.add_argument("--kind", choices=LanguageModel.Kind.values, help="default: language")
        parser.add_argument("--upstream-model", metavar="ID", help="the upstream's name for it")
        usd = "USD per million tokens"
        parser.add_argument("--input-price", help=f"{usd}; needed, except with --image-price")
        parser.add_argument("--output-price", help=f"{usd}; needed for --kind language")
        parser.add_argument("--image-price", help="USD per image")
        parser.add_argument("--cached-input-price", help=f"{usd}; default: as input")
        parser.add_argument("--cache-write-price", help=f"{usd}; default: as input")
        parser.add_argument("--name", help="for people")
        parser.add_argument("--context", type=int, metavar="N", help="context window in tokens")
        parser.add_argument("--max-tokens", type=int, metavar="N", help="of output")
        parser.add_argument("--tag", action="append", help="vision, reasoning, free …; repeatable")
        parser.add_argument("--alias", action="append", help="another id for it; repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._put(options)
        except Refusal as refusal:
            raise CommandError(f"{refusal.field}: {refusal.message}") from None

    def _put(self, options: dict[str, Any]) -> None:
        upstream = Upstream.unscoped.filter(name=options["upstream"]).first()
        if upstream is None:
            raise CommandError(
                f"There is no upstream {options['upstream']}: make it with create_upstream"
            )
        given, output = _price(options, "input_price"), _price(options, "output_price")
        read, write = _price(options, "cached_input_price"), _price(options, "cache_write_price")
        image = _price(options, "image_price")
        if image is not None:
            given, output = given or 0, output or 0
        elif options["kind"] == LanguageModel.Kind.EMBEDDING:
            output = output or 0
        if given is None or output is None:
            raise CommandError("--input-price and --output-price are needed")
        model = actions.put_model(
            model_id=options["model_id"],
            upstream=upstream,
            upstream_model=options["upstream_model"] or options["model_id"],
            price=actions.NewPrice(given, output, cache_read=read, cache_write=write, image=image),
            facts=actions.ModelFacts(
                kind=options["kind"],
                name=options["name"],
                context_window=options["context"],
                max_tokens=options["max_tokens"],
                tags=options["tag"],
            ),
            by=None,
            at=timezone.now(),
        )
        for alias in options["alias"] or ():
            actions.put_alias(alias=alias, model=model)
        self.stdout.write(model.model_id)
