"""Messages as clients send them, and as they are stored."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from roocloud.lib import wire
from roocloud.lib.text import clean_label
from tasks_sharing import gists, pictures
from tasks_sharing.models import Message, Task

_MAX_TS = 2**53
#: Of the first text, that are the task's title.
TITLE_CHARS = 200
#: After one of these nothing runs, until another message comes.
_ENDS = frozenset({"completion_result", "resume_completed_task"})


@dataclass(frozen=True, slots=True)
class Read:
    """A message with its place in the conversation: ``key``, which two of a task do not share."""

    ts: int
    type: str
    kind: str
    document: dict[str, Any]  # without its images
    images: list[pictures.Found]

    @property
    def key(self) -> tuple[int, str, str]:
        return self.ts, self.type, self.kind

    @property
    def is_partial(self) -> bool:
        return self.document.get("partial") is True

    @property
    def is_by_user(self) -> bool:
        """But for the text that opens a conversation, which only its place tells."""
        return self.kind == "user_feedback"

    @property
    def ends_the_task(self) -> bool:
        return self.kind in _ENDS and not self.is_partial

    def row(self, task: Task) -> Message:
        """To be stored, and its images by tasks_sharing.images."""
        return Message(
            task=task,
            ts=self.ts,
            type=self.type,
            kind=self.kind,
            body=wire.dumps(self.document),
            gist=gists.dumps(gists.gist_of(self.type, self.kind, self.document)),
        )


def read_message(message: Any) -> Read | None:
    """None for what is no message: without a numeric ``ts`` it has no place in the conversation."""
    if not isinstance(message, dict):
        return None
    ts = message.get("ts")
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not 0 <= ts <= _MAX_TS:
        return None
    type_ = message.get("type")
    type_ = type_ if type_ in ("ask", "say") else "say"
    kind = message.get(type_)
    kind = clean_label(kind, 64) if isinstance(kind, str) else ""
    document, found = pictures.take_out(message, kind)
    return Read(int(ts), type_, kind, document, found)


def read_stored(row: Message) -> Read:
    """A stored message, whose images are stored too."""
    return Read(row.ts, row.type, row.kind, row.document, [])


def prompt_of(messages: Iterable[Read]) -> tuple[str, int] | None:
    """The title of a conversation and the ``ts`` it is from: the first text that was said."""
    texts = [m for m in messages if m.kind == "text" and isinstance(m.document.get("text"), str)]
    if not texts:
        return None
    first = min(texts, key=lambda m: m.ts)
    return clean_label(first.document["text"], TITLE_CHARS), first.ts
