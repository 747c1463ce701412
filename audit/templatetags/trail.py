"""What the pages of the trail need."""

from collections.abc import Mapping

from django import template

register = template.Library()


@register.filter
def named(names: Mapping[str, str], key: str) -> str:
    """What somebody is called; who has no name any more, by id."""
    return names.get(key, key)
