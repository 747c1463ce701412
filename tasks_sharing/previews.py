"""What other programs show of a public link: a sentence, and a picture that is drawn here.

Pure: what comes in is masked already. Nothing that somebody sent is opened as an image.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING
from unicodedata import normalize

import msgspec
from django.conf import settings

from roocloud.lib import caching
from roocloud.lib.text import clean_label
from tasks_sharing.transcript import Overview, Transcript

if TYPE_CHECKING:
    from PIL import ImageFont

logger = logging.getLogger(__name__)

SIZE = 1200, 630
#: To be raised when the same card becomes another picture.
_VERSION = 1
_CACHED_S = 24 * 3600
_MARGIN, _LINES = 88, 4
_PAGE, _TEXT, _QUIET, _ACCENT, _MARK, _LIGHT = (
    "#f7f4ed", "#22272a", "#5d6467", "#1f5f4f", "#f2b84b", "#f4efe4",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Card:
    """What the picture says. facts: in small type below the title."""

    product: str
    title: str
    facts: tuple[str, ...]


def card_of(transcript: Transcript, *, product: str) -> Card:
    """transcript: as its readers may see it."""
    task = transcript.task
    facts = (
        transcript.author,
        task.repository_name,
        task.model,
        f"{transcript.began_at:%-d %B %Y}",
    )
    title = task.title.replace("**", "").replace("`", "")
    return Card(product, title, tuple(clean_label(fact, 48) for fact in facts if fact))


def sentence(view: Overview) -> str:
    """What came of a conversation, in at most 300 characters."""
    told = []
    if view.files:
        told.append(f"{_count(len(view.files), 'file')} edited, +{view.added} -{view.removed}.")
    if view.commands:
        told.append(f"{_count(view.commands, 'command')}.")
    if view.result_entry:
        told.append(view.result_entry.label)
    return clean_label(" ".join(told), 300) or "A task and how an agent went about it."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def picture(card: Card) -> bytes:
    """The card as a PNG, drawn once a day."""
    state = msgspec.json.encode((_VERSION, card.product, card.title, card.facts))
    key = f"tasks.preview.{sha256(state).hexdigest()}"
    found: bytes | None = caching.recall(key)
    if found is None:
        found = _draw(card)
        caching.remember(key, found, seconds=_CACHED_S)
    return found


def _draw(card: Card) -> bytes:
    from PIL import Image, ImageDraw  # 6 MB, which processes that draw nothing do without

    image = Image.new("RGB", SIZE, _PAGE)
    draw = ImageDraw.Draw(image)
    width = SIZE[0] - 2 * _MARGIN
    draw.rounded_rectangle((_MARGIN, 72, _MARGIN + 60, 132), 16, fill=_ACCENT)
    draw.line([(_MARGIN + 16, 103), (_MARGIN + 27, 114), (_MARGIN + 45, 90)], _MARK, 6, "curve")
    draw.text((_MARGIN + 84, 102), _drawable(card.product), _TEXT, _font(36), anchor="lm")
    title = _drawable(card.title) or "A shared task"
    size = 68 if len(title) < 70 else 52
    for number, line in enumerate(_wrapped(title, size, width)):
        draw.text((_MARGIN, 188 + number * size * 1.22), line, _TEXT, _font(size))
    facts = "   ·   ".join(filter(None, (_drawable(fact) for fact in card.facts)))
    draw.text((_MARGIN, SIZE[1] - 96), _cut(facts, 30, width), _QUIET, _font(30), anchor="lm")
    draw.rectangle((0, SIZE[1] - 20, *SIZE), fill=_ACCENT)
    kept = BytesIO()
    image.save(kept, "PNG")
    return kept.getvalue()


@lru_cache(maxsize=8)
def _font(size: int) -> "ImageFont.FreeTypeFont":
    """The operator's, or Pillow's own, which knows ASCII: no other is sure to be on a server."""
    from PIL import ImageFont

    if settings.ROOCLOUD_PREVIEW_FONT:
        try:
            return ImageFont.truetype(settings.ROOCLOUD_PREVIEW_FONT, size)
        except OSError:
            logger.warning("ROOCLOUD_PREVIEW_FONT cannot be read", exc_info=True)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    """Whether the font knows the letter, and does not draw a box for it."""
    font = _font(30)
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))


def _known(letter: str) -> str:
    """The letter, or as much of it as the font knows: the e of é."""
    if _has(letter):
        return letter
    return "".join(part for part in normalize("NFKD", letter) if part.isascii() and _has(part))


def _drawable(text: str) -> str:
    """The text less the signs that the font does not know; empty if those are most of it, as in a
    script that it does not have."""
    kept = clean_label("".join(map(_known, text)), 200)
    return kept if len(kept) * 2 >= len(text.strip()) else ""


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in _words(text, size, width):
        longer = f"{line} {word}".strip()
        if _font(size).getlength(longer) <= width:
            line = longer
            continue
        if len(lines) == _LINES - 1:
            return [*lines, _cut(f"{longer}…", size, width)]
        lines.append(line)
        line = word
    return [*lines, line]


def _words(text: str, size: int, width: int) -> Iterator[str]:
    """Words that fit into a line, longer ones in pieces."""
    for word in text.split():
        piece = ""
        for letter in word:
            if _font(size).getlength(piece + letter) > width:
                yield piece
                piece = ""
            piece += letter
        yield piece


def _cut(text: str, size: int, width: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}…") > width:
        text = text[:-1].rstrip(" …")
    return f"{text}…"
