"""Money in templates."""

from decimal import Decimal

from django import template

from roocloud.lib.money import format_usd, nanos_to_plain_usd

register = template.Library()


@register.filter
def usd(nanos: int) -> str:
    """``$1.20`` of nano-dollars."""
    return format_usd(nanos)


@register.filter
def exact_usd(nanos: int) -> str:
    """``$0.0375`` of nano-dollars, every digit; ``-$0.30`` with the cents."""
    whole, _, fraction = nanos_to_plain_usd(abs(nanos)).partition(".")
    return f"{'-' if nanos < 0 else ''}${int(whole):,}.{fraction:0<2}"


@register.filter
def plain(amount: Decimal) -> str:
    """A decimal without an exponent or idle zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
