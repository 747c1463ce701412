"""Figures of a task in templates."""

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from roocloud.lib.money import format_usd
from tasks_sharing import previews
from tasks_sharing.conversation import Item
from tasks_sharing.models import Task
from tasks_sharing.transcript import Entry, Overview, Transcript

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


@register.filter
def sentence(view: Overview) -> str:
    """What came of a conversation, for previews."""
    return previews.sentence(view)


@register.simple_tag(takes_context=True)
def entry_url(context: Context, entry: Entry) -> str:
    """Where a message is: on this page, or on another part of the conversation."""
    path, page = context["transcript"].path, context["page"]
    where = "" if entry.window == page.number else f"{path}?page={entry.window}"
    return f"{where}#{entry.anchor}"


@register.simple_tag
def started(transcript: Transcript, item: Item) -> Task | None:
    """The subtask that a block began."""
    return transcript.started(item)


@register.simple_tag
def message_url(transcript: Transcript, anchor: str) -> str:
    """Where the message of an anchor is."""
    return transcript.link(anchor)


@register.simple_tag
def stats(added: int, removed: int) -> SafeString:
    """Lines that came and went. A page may have hundreds, and a template for each is slow."""
    came, went = intcomma(added), intcomma(removed)
    return format_html(
        '<span class="stats"><span class="visually-hidden">{} line{} added, {} removed</span>'
        '<span aria-hidden="true">{} {}</span></span>',
        came,
        "" if added == 1 else "s",
        went,
        format_html('<b class="stats__added">+{}</b>', came) if added else "",
        format_html('<b class="stats__removed">\N{MINUS SIGN}{}</b>', went) if removed else "",
    )
