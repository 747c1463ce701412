"""JavaScript modules in templates."""

from django import template
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

#: What modules import by name.
_IMPORTED = {
    "bridge-link": "js/bridge-link.js",
    "roomote-composer": "js/roomote-composer.js",
    "roomote-instance": "js/roomote-instance.js",
    "roomote-question": "js/roomote-question.js",
    "roomote-receipt": "js/roomote-receipt.js",
    "roomote-view": "js/roomote-view.js",
    "socket.io-client": "vendor/socket.io-client.js",
}


@register.simple_tag
def module(name: str) -> SafeString:
    """A ``<script type="module">`` for ``static/js/<name>.js``, by its hashed URL."""
    return format_html('<script type="module" src="{}"></script>', static(f"js/{name}.js"))


@register.simple_tag(takes_context=True)
def import_map(context: Context) -> SafeString:
    """Which hashed URL each imported module has. To stand before the first module of a page."""
    named = ((name, static(path)) for name, path in _IMPORTED.items())
    return format_html(
        '<script type="importmap" nonce="{}">{{"imports": {{{}}}}}</script>',
        context["CSP_NONCE"],
        format_html_join(", ", '"{}": "{}"', named),
    )
