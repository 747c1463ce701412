"""Figures of a task in templates."""

from django import template

from roocloud.lib.money import format_usd

register = template.Library()


@register.filter
def usd(nanos: int) -> str:
    """Nano-dollars as people read them."""
    return format_usd(nanos)


@register.filter
def duration(span: dict[str, int | None]) -> str:
    """From the first message to the last: ``1 h 4 min``, ``12 s``."""
    first, last = span["first_ms"], span["last_ms"]
    if first is None or last is None:
        return "0 s"
    seconds = (last - first) // 1000
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
