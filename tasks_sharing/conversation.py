"""From stored messages to what a page shows. Pure and total: nothing that a client sent makes it
fail. What a kind of message comes to is decided in kinds.py and tools.py."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.utils.safestring import SafeString

from tasks_sharing import markup, pictures
from tasks_sharing.blocks import MAX_ENTRIES, Block, counted
from tasks_sharing.kinds import block_of
from tasks_sharing.markup import Part
from tasks_sharing.models import Message
from tasks_sharing.pictures import Picture


@dataclass(slots=True)
class Spoken:
    """A message, and the block that it comes to. joined: blocks of messages that went up in it."""

    message: Message
    document: dict[str, Any]
    block: Block
    joined: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return anchor_of(self.message.ts, self.message.kind)


@dataclass(frozen=True, slots=True)
class Item:
    """One block of the page, rendered. parts: HTML, each under a label that may be empty. images:
    those of the message."""

    message_id: int
    anchor: str
    ts: int
    at: datetime
    block: Block
    parts: tuple[tuple[str, SafeString], ...] = ()
    images: tuple[Picture, ...] = ()
    is_cut: bool = False

    @property
    def clock(self) -> str:
        """The time of day in UTC; a page has hundreds, and Django's filter takes long."""
        return f"{self.at:%H:%M}"

    @property
    def moment(self) -> str:
        """Date and time in UTC, in full."""
        return f"{self.at.day} {self.at:%B %Y, %H:%M:%S}"

    @property
    def template(self) -> str:
        return f"tasks_sharing/kinds/{self.block.form}.html"


_UNSAFE = re.compile(r"[^a-z0-9_]+")


def anchor_of(ts: int, kind: str) -> str:
    """A message's place on the page. It stays when a snapshot stores the message anew."""
    return f"m{ts}-{_UNSAFE.sub('', kind)}"


def items(messages: Iterable[Message], *, opens: bool) -> list[Item]:
    """The blocks of some consecutive messages. opens: whether they begin the conversation, so that
    the first text is the prompt."""
    shown = spoken(messages, opens=opens)
    rendered = iter(markup.render([part for one in shown for _, part in one.block.parts]))
    return [_item(one, list(islice(rendered, len(one.block.parts)))) for one in shown]


def _item(one: Spoken, parts: list[tuple[SafeString, bool]]) -> Item:
    labels = (heading for heading, _ in one.block.parts)
    return Item(
        message_id=one.message.pk,
        anchor=one.anchor,
        ts=one.message.ts,
        at=instant(one.message.ts),
        block=one.block,
        parts=tuple((heading, html) for heading, (html, _) in zip(labels, parts, strict=True)),
        images=tuple(pictures.of(one.message.pk, one.document)),
        is_cut=any(is_cut for _, is_cut in parts),
    )


def spoken(messages: Iterable[Message], *, opens: bool, approved_until: int = -1) -> list[Spoken]:
    """The same, before anything is rendered. approved_until: ``ts`` of the last tool that somebody
    approved, where that may be outside of these messages."""
    shown: list[Spoken] = []
    awaits_prompt = opens
    for message in messages:
        document = message.document
        is_prompt = awaits_prompt and message.kind == "text"
        awaits_prompt = awaits_prompt and not is_prompt
        block = (
            too_large()
            if not message.body
            else block_of(
                message.type,
                message.kind,
                document,
                has_images=bool(pictures.of(message.pk, document)),
                is_prompt=is_prompt,
            )
        )
        if block is None:
            continue
        one = Spoken(message, document, block)
        if not (shown and _joins(shown[-1], one)):
            shown.append(one)
    _mark_refused(shown, approved_until)
    return shown


def too_large() -> Block:
    """In place of a message that queries.read() left out."""
    return Block("note", "This message is too large to be shown")


def _joins(last: Spoken, one: Spoken) -> bool:
    """Join a command's output to the command, files that are read one after another to each other,
    and an answer to the suggestion that it chose; whether the message went up in the last one."""
    before, block = last.block, one.block
    if block.form == "prompt" and before.form == "question":
        for suggestion in before.suggestions:
            suggestion.is_chosen = suggestion.answer == " ".join(block.source.split())
    if len(last.joined) >= MAX_ENTRIES:
        return False
    if block.form == "output" and before.form in ("command", "output"):
        last.joined.append(block)
        before.parts.extend(block.parts)
        before.lines += block.lines
        before.hint = counted(before.lines, "line")
        return True
    if block.form == before.form == "read" and not block.parts:
        last.joined = last.joined or [Block("read", target=before.target, hint=before.hint)]
        last.joined.append(block)
        listed = "\n".join(f"{read.target} {read.hint}".strip() for read in last.joined)
        before.parts = [("", Part(markup.plain, listed))]
        before.target, before.hint = counted(len(last.joined), "file"), ""
        return True
    return False


def _mark_refused(shown: list[Spoken], approved_until: int) -> None:
    """An edit that nobody approved, while a later tool was. Editors note an approval in the message
    (isAnswered) after sending it, so that only a snapshot of the whole conversation tells."""
    asked = [one for one in shown if (one.message.type, one.message.kind) == ("ask", "tool")]
    approved = [one for one in asked if one.document.get("isAnswered") is True]
    last = max([approved_until, *(one.message.ts for one in approved)])
    for one in asked:
        is_approved = one.document.get("isAnswered") is True
        if one.block.form == "edit" and one.message.ts < last and not is_approved:
            one.block.state = "refused"


def instant(ts: int) -> datetime:
    """Epoch milliseconds as a time; of a number that is none, the epoch."""
    try:
        return datetime.fromtimestamp(ts / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
