"""The tools of an agent as blocks: a shape for each name of the client's ``ClineSayTool``, and for
those of older clients and forks."""

from collections.abc import Callable
from typing import Any

from roocloud.lib.text import clean_label
from tasks_sharing import markup
from tasks_sharing.blocks import (
    Block,
    counted,
    indented,
    label,
    line_count,
    number,
    objects,
    parsed,
    string,
)
from tasks_sharing.diffs import FileEdit, edits_of
from tasks_sharing.markup import Part

_MAX_TODOS = 200

ToolShape = Callable[[dict[str, Any]], Block]


def tool(text: str, document: dict[str, Any]) -> Block:
    """Of ``ask:tool``, ``say:tool`` and ``say:user_edit_todos``."""
    told = parsed(text)
    if told is None:
        return Block("unknown", "Tool", parts=[("", Part(markup.plain, text))])
    name = string(told, "tool")
    block = TOOLS.get(name, _unheard_of)(told)
    block.is_outside = told.get("isOutsideWorkspace") is True
    return block


def user_edit(text: str, document: dict[str, Any]) -> Block:
    """What the user changed in an edit before saving it."""
    block = tool(text, document)
    if block.form == "edit":
        block.verb = "Edit by the user"
    return block


def _unheard_of(told: dict[str, Any]) -> Block:
    shown = indented(told)
    return Block(
        "unknown",
        label(told, "tool") or "Tool",
        label(told, "path"),
        parts=[("", Part(markup.code, shown, "json"))],
    )


def _edit(verb: str) -> ToolShape:
    def shape(told: dict[str, Any]) -> Block:
        edits = edits_of(told)
        block = Block("edit", verb, edits=edits)
        if len(edits) == 1:
            block.target = label(told, "path") or clean_label(edits[0].path, 300)
        else:
            block.target = counted(len(edits), "file")
        sources = objects(told, "batchDiffs") or [told]
        for edit, source in zip(edits, sources, strict=False):
            heading = clean_label(edit.path, 300) if len(edits) > 1 else ""
            block.parts.append((heading, Part(markup.diff, _diff_of(edit, source), edit.path)))
        if told.get("isProtected") is True:
            block.hint = "protected file"
        return block

    return shape


def _diff_of(edit: FileEdit, source: dict[str, Any]) -> str:
    """The text that the hunks were read from; of a new file's content, a diff."""
    content, diff = string(source, "content"), string(source, "diff")
    if not edit.hunks:
        return diff or content
    if edit.is_new and "@@ -0,0" not in content:
        lines = edit.hunks[0].lines
        return f"@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line.text}" for line in lines)
    if "@@ -" in content or "<<<<<<< SEARCH" in content:
        return content
    return diff or "\n".join(string(part, "content") for part in objects(source, "diffs"))


def _read(told: dict[str, Any]) -> Block:
    files = objects(told, "batchFiles")
    if files and not string(told, "path"):
        listed = "\n".join(
            clean_label(f"{string(file, 'path')} {string(file, 'lineSnippet')}", 300)
            for file in files
        )
        return Block(
            "read", "Read", counted(len(files), "file"), parts=[("", Part(markup.plain, listed))]
        )
    more = number(told, "additionalFileCount")
    first = number(told, "startLine")
    hint = label(told, "reason") or (f"from line {first}" if first else "")
    block = Block("read", "Read", label(told, "path"), hint)
    if more:
        block.hint = f"and {counted(more, 'more file')}"
    return block


def _list(verb: str) -> ToolShape:
    def shape(told: dict[str, Any]) -> Block:
        found = string(told, "content")
        folders = objects(told, "batchDirs")
        if folders and not string(told, "path"):
            listed = "\n".join(label(folder, "path") for folder in folders)
            return Block(
                "search",
                verb,
                counted(len(folders), "folder"),
                parts=[("", Part(markup.plain, listed))],
            )
        block = Block("search", verb, label(told, "path"))
        if found.strip():
            block.hint = counted(len(found.strip().split("\n")), "entry", "entries")
            block.parts = [("", Part(markup.plain, found))]
        return block

    return shape


def _search(told: dict[str, Any]) -> Block:
    found, where = string(told, "content"), label(told, "path")
    block = Block("search", "Search", label(told, "regex") or label(told, "query"))
    pattern = label(told, "filePattern")
    place = " ".join(filter(None, [where and f"in {where}", pattern]))
    first = found.lstrip().partition("\n")[0]
    result = (
        clean_label(first, 60).rstrip(".") if first.startswith(("Found", "Showing", "No ")) else ""
    )
    block.hint = " · ".join(filter(None, [place, result]))
    if found.strip():
        block.parts = [("", Part(markup.plain, found))]
    return block


def _command_output(told: dict[str, Any]) -> Block:
    block = Block("search", "Read command output", label(told, "searchPattern"))
    if total := number(told, "totalBytes"):
        first, last = number(told, "readStart"), number(told, "readEnd")
        block.hint = f"bytes {first:,} to {last:,} of {total:,}"
    if isinstance(told.get("matchCount"), int):
        block.hint = counted(number(told, "matchCount"), "match", "matches")
    if content := string(told, "content"):
        block.parts = [("", Part(markup.terminal, content))]
    return block


def _switch_mode(told: dict[str, Any]) -> Block:
    block = Block("switch", "Switch mode", label(told, "mode"))
    block.hint = clean_label(string(told, "reason"), 160)
    return block


def _new_task(told: dict[str, Any]) -> Block:
    block = Block("subtask", "Start a subtask", label(told, "mode"))
    if content := string(told, "content"):
        block.source = content
        block.parts = [("", Part(markup.markdown, content))]
    if todos := string(told, "todos"):
        block.parts.append(("To-dos", Part(markup.markdown, todos)))
    return block


def _finish_task(told: dict[str, Any]) -> Block:
    block = Block("subtask", "Finish the subtask")
    if content := string(told, "content"):
        block.parts = [("", Part(markup.markdown, content))]
    return block


def _image(verb: str) -> ToolShape:
    def shape(told: dict[str, Any]) -> Block:
        block = Block("image", verb, label(told, "path"))
        if prompt := string(told, "content") or string(told, "description"):
            block.parts = [("", Part(markup.plain, prompt))]
        return block

    return shape


def _slash_command(told: dict[str, Any]) -> Block:
    block = Block("skill", "Slash command", f"/{label(told, 'command')}", label(told, "source"))
    for heading, key in (("Arguments", "args"), ("", "description"), ("", "content")):
        if value := string(told, key):
            block.parts.append((heading, Part(markup.markdown, value)))
    return block


def _skill(told: dict[str, Any]) -> Block:
    block = Block("skill", "Use skill", label(told, "skill"), label(told, "source"))
    for heading, key in (("Arguments", "args"), ("", "description"), ("", "content")):
        if value := string(told, key):
            block.parts.append((heading, Part(markup.markdown, value)))
    return block


def _instructions(told: dict[str, Any]) -> Block:
    return Block("skill", "Read instructions", label(told, "content") or label(told, "path"))


def todo_list(told: dict[str, Any]) -> Block:
    todos = [
        (string(todo, "status") or "pending", clean_label(string(todo, "content"), 500))
        for todo in objects(told, "todos")[:_MAX_TODOS]
    ]
    done = sum(state == "completed" for state, _ in todos)
    now = next((text for state, text in todos if state == "in_progress"), "")
    return Block("todo", "To-dos", f"{done} of {len(todos)} done", now, todos=todos)


def _legacy_search(told: dict[str, Any]) -> Block:
    block = _search(told)
    block.verb = "List definitions"
    block.target = label(told, "path")
    if content := string(told, "content"):
        block.hint = counted(line_count(content), "line")
    return block


TOOLS: dict[str, ToolShape] = {
    "editedExistingFile": _edit("Edit"),
    "appliedDiff": _edit("Edit"),
    "newFileCreated": _edit("Create"),
    "readFile": _read,
    "listFilesTopLevel": _list("List"),
    "listFilesRecursive": _list("List all"),
    "searchFiles": _search,
    "codebaseSearch": _search,
    "readCommandOutput": _command_output,
    "switchMode": _switch_mode,
    "newTask": _new_task,
    "finishTask": _finish_task,
    "generateImage": _image("Generate an image"),
    "imageGenerated": _image("Image generated"),
    "runSlashCommand": _slash_command,
    "skill": _skill,
    "updateTodoList": todo_list,
    # Of clients before these, and of their forks:
    "insertContent": _edit("Insert into"),
    "searchAndReplace": _edit("Replace in"),
    "fetchInstructions": _instructions,
    "listCodeDefinitionNames": _legacy_search,
}
