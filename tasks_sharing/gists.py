"""What the overview of a conversation asks of a message, noted when that is stored: so a page which
shows a hundred messages of thousands reads a hundred, and not the edits of all (F7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tasks_sharing.kinds import block_of

#: Kinds of messages that have one. What users said and how it ended is read itself.
KINDS = frozenset(
    {
        "tool", "user_feedback_diff", "user_edit_todos", "command", "followup", "api_req_failed",
        "error", "diff_error", "rooignore_error", "condense_context_error", "mistake_limit_reached",
    }
)  # fmt: skip
#: Characters of a path. A message with a longer one is read itself, so that a mask sees it whole.
_MAX_PATH = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """What one message does to one file, in lines."""

    path: str
    added: int = 0
    removed: int = 0
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Gist:
    """form: of its block, if those are counted. is_answered: somebody approved the tool."""

    form: str = ""
    changes: Sequence[Change] = ()
    is_answered: bool = False
    has_todos: bool = False


NOTHING = Gist()
_COUNTED = {"command", "question", "error"}


def gist_of(type_: str, kind: str, document: dict[str, Any]) -> Gist:
    """Of a message without its images. Total, like what it is made with."""
    if kind not in KINDS:
        return NOTHING
    block = block_of(type_, kind, document, has_images=False, is_prompt=False)
    if block is None:
        return NOTHING
    return Gist(
        block.form if block.form in _COUNTED else "",
        [Change(edit.path, edit.added, edit.removed, edit.is_new) for edit in block.edits],
        is_answered=document.get("isAnswered") is True,
        has_todos=bool(block.todos),
    )


def dumps(gist: Gist) -> str | None:
    """As it is stored: empty for one of nothing, None for one that has to be read again."""
    if gist == NOTHING:
        return ""
    if any(len(change.path) > _MAX_PATH for change in gist.changes):
        return None
    try:
        return msgspec.json.encode(gist).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return None


def loads(stored: str) -> Gist:
    """What dumps() gave."""
    return msgspec.json.decode(stored, type=Gist) if stored else NOTHING
