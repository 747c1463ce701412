"""JavaScript modules in templates."""

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def module(name: str) -> SafeString:
    """A ``<script type="module">`` for ``static/js/<name>.js``, by its hashed URL."""
    return format_html('<script type="module" src="{}"></script>', static(f"js/{name}.js"))
