"""Money in templates."""

from django import template

from roocloud.lib.money import format_usd

register = template.Library()


@register.filter
def usd(nanos: int) -> str:
    """``$1.20`` of nano-dollars."""
    return format_usd(nanos)
