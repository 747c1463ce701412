"""The blocks of a conversation in templates."""

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from tasks_sharing import news
from tasks_sharing.conversation import Item

register = template.Library()


@register.simple_tag(takes_context=True)
def block_html(context: Context, item: Item) -> SafeString:
    """The inside of a block, by the template of its form."""
    made = context.template.engine.get_template(item.template)  # type: ignore[union-attr]  # it is being rendered
    with context.push(item=item):
        return made.render(context)


@register.filter
def version(body: str, item: Item) -> str:
    """By which a page tells that it has the block."""
    return news.version_of(item, body)
