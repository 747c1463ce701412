"""N12: all edits of a conversation as one patch, applied by git itself."""

import json
import random
import subprocess
from difflib import unified_diff
from pathlib import Path

import pytest

from tasks_sharing import diffs, patch

RECORDED = json.loads(
    (Path(__file__).resolve().parents[1] / "recordings/task-slug.ui_messages.json").read_text()
)
SLUG = '''"""Turn titles into URL slugs."""


def slugify(title: str) -> str:
    return title.lower().replace(" ", "-")
'''
README = "# slug\n\nTurns titles into URL slugs.\n"


def git(folder, *words, **options):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, **options)  # noqa: S603, S607
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """A repository of given files; ``.apply(edits)`` applies their patch and reads the files."""

    class Repository:
        def __init__(self, files):
            git(tmp_path, "init", "-q")
            for name, content in files.items():
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode())
            git(tmp_path, "add", "-A")

        def apply(self, edits):
            changes = patch.changes_of(edits)
            text = "".join(patch.text_of(changes, title="A task", link=lambda a: f"https://x/{a}"))
            file = tmp_path / ".git" / "task.patch"
            file.write_bytes(text.encode())
            git(tmp_path, "apply", str(file))
            return text, changes

        def read(self, name):
            return (tmp_path / name).read_bytes().decode()

        def list(self):
            git(tmp_path, "add", "-A")
            return set(git(tmp_path, "ls-files", "-z").split("\0")) - {""}

    return Repository


def as_client(old: str, new: str) -> str:
    """A diff as the editor writes it: no file names, the marker of a missing newline blanked."""
    before = old.splitlines(keepends=True)
    after = new.splitlines(keepends=True)
    text = ""
    for row in list(unified_diff(before, after, n=3))[2:]:
        text += row if row.endswith("\n") else row + "\n\n"
    return text


def edit(anchor, path, old, new, **more):
    tool = {"tool": "editedExistingFile", "path": path, "content": as_client(old, new)}
    return patch.Edit(anchor, diffs.edits_of(tool)[0], **more)


def create(anchor, path, content):
    diff = f"{'=' * 67}\n--- /dev/null\n+++ {path}\n" + as_client("", content)
    tool = {"tool": "newFileCreated", "path": path, "content": diff}
    return patch.Edit(anchor, diffs.edits_of(tool)[0])


def blocks(anchor, path, search, replace, start=None):
    head = f":start_line:{start}\n-------\n" if start else ""
    diff = f"<<<<<<< SEARCH\n{head}{search}=======\n{replace}>>>>>>> REPLACE"
    tool = {"tool": "appliedDiff", "path": path, "diff": diff}
    return patch.Edit(anchor, diffs.edits_of(tool)[0])


def test_a_recorded_task_becomes_its_files(repository):
    edits = []
    for message in RECORDED:
        if message.get("ask") == "tool":
            tool = json.loads(message["text"])
            edits += [patch.Edit(str(message["ts"]), one) for one in diffs.edits_of(tool)]
    repo = repository({"slug.py": SLUG, "README.md": README})

    text, changes = repo.apply(edits)

    assert changes.left_out == ()
    assert {(f.path, f.added, f.removed, f.is_new) for f in changes.files} == {
        ("test_slug.py", 19, 0, True), ("slug.py", 9, 1, False), ("README.md", 7, 0, False),
    }  # fmt: skip
    assert 'def slugify(title: str) -> str:\n    """Return an ASCII' in repo.read("slug.py")
    assert repo.read("README.md").endswith("raises `ValueError`.\n")
    for message in RECORDED:
        tool = json.loads(message["text"]) if message.get("ask") == "tool" else {}
        if diffs.edits_of(tool):
            assert f"@@ https://x/{message['ts']}\n" in text


def made_edits(seed: int):
    """Files and many edits of them, and what they end as. The editor diffs the file as it is."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    names = ["src/a.py", "b c.txt", "ünïcode/d.md", 'e"q.js']
    start = {
        name: "\n".join(f"{name} line {n}" for n in range(rng.randint(1, 90))) + rng.choice(["", "\n"])
        for name in names
    }  # fmt: skip
    now, edits = dict(start), []
    for number in range(30):
        name = rng.choice([*names, f"new{rng.randint(1, 3)}.py"])
        if name not in now:
            now[name] = "".join(f"made {n}\n" for n in range(rng.randint(1, 9)))
            edits.append(create(f"m{number}", name, now[name]))
            continue
        rows = now[name].splitlines(keepends=True)
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(rows))
            rows[at : at + rng.randint(0, 3)] = [f"edit {number} {rng.random()}\n"] * rng.randint(
                0, 3
            )
        new = "".join(rows)
        if new != now[name]:
            edits.append(edit(f"m{number}", name, now[name], new))
            now[name] = new
    return start, edits, now


@pytest.mark.parametrize("seed", range(25))
def test_many_edits_of_many_files_end_as_they_ended_in_the_editor(repository, seed):
    start, edits, end = made_edits(seed)
    repo = repository(start)

    _, changes = repo.apply(edits)

    assert changes.left_out == ()
    for name, content in end.items():
        assert repo.read(name) == content, name


def test_blocks_fit_into_what_is_known_of_the_file(repository):
    repo = repository({})
    made = create("m1", "a.py", "one\ntwo\nthree\nfour\n")
    repo.apply(
        [
            made,
            blocks("m2", "a.py", "two\n", "zwei\nund\n"),
            blocks("m3", "a.py", "four\n", "vier\n", 5),
        ]
    )
    assert repo.read("a.py") == "one\nzwei\nund\nthree\nvier\n"


def test_blocks_of_an_unknown_file_need_a_line_that_stays(repository):
    old = "".join(f"line {n}\n" for n in range(1, 40))
    repo = repository({"a.py": old, "b.py": old})
    kept = blocks("m1", "a.py", "line 9\nline 10\nline 11\n", "line 9\nten\nline 11\n", 9)
    bare = blocks("m2", "b.py", "line 10\n", "ten\n", 10)

    text, changes = repo.apply([kept, bare])

    assert repo.read("a.py") == old.replace("line 10\n", "ten\n")
    assert repo.read("b.py") == old
    assert changes.left_out == (patch.LeftOut("b.py", "m2", patch.UNPLACED),)
    assert f"Not in this patch: b.py (https://x/m2): {patch.UNPLACED}\n" in text


class TestWhatIsNotInThePatch:
    def test_an_edit_that_the_editor_refused(self, repository):
        repo = repository({"a": "1\n2\n"})
        _, changes = repo.apply(
            [
                edit("m1", "a", "1\n2\n", "x\n2\n", is_refused=True),
                edit("m2", "a", "1\n2\n", "1\ny\n"),
            ]
        )
        assert repo.read("a") == "1\ny\n"
        assert [(left.anchor, left.reason) for left in changes.left_out] == [("m1", patch.REFUSED)]

    def test_an_edit_that_a_later_one_does_not_know(self, repository):
        repo = repository({"a": "1\n2\n3\n"})
        _, changes = repo.apply(
            [
                edit("m1", "a", "1\n2\n3\n", "1\nbad\n3\n"),
                edit("m2", "a", "1\n2\n3\n", "1\nbetter\n3\n"),
                edit("m3", "a", "1\nbetter\n3\n", "1\nbetter\ngood\n"),
            ]
        )
        assert repo.read("a") == "1\nbetter\ngood\n"
        assert [(left.anchor, left.reason) for left in changes.left_out] == [("m1", patch.REPLACED)]

    def test_a_file_that_was_written_anew(self, repository):
        repo = repository({})
        _, changes = repo.apply(
            [create("m1", "a", "1\n"), edit("m2", "a", "1\n", "2\n"), create("m3", "a", "3\n")]
        )
        assert repo.read("a") == "3\n"
        assert [left.anchor for left in changes.left_out] == ["m1", "m2"]

    @pytest.mark.parametrize(
        "path", ["../a", "/etc/a", "a/../../b", "C:\\a", ".git/config", "x/.git/hooks/y", "~/a", ""]
    )
    def test_files_outside_of_the_workspace(self, path):
        changes = patch.changes_of([create("m1", path, "1\n")])
        assert [left.reason for left in changes.left_out] == [patch.OUTSIDE]
        assert changes.files == ()

    def test_an_edit_without_a_diff(self):
        tool = {"tool": "editedExistingFile", "path": "a", "content": "the whole file"}
        (file,) = diffs.edits_of(tool)
        changes = patch.changes_of([patch.Edit("m1", file)])
        assert [left.reason for left in changes.left_out] == [patch.UNREADABLE]

    def test_more_edits_than_one_patch_is_made_of(self, monkeypatch):
        """F7"""
        monkeypatch.setattr(patch, "_MAX_STEPS", 100)
        changes = patch.changes_of([create("m1", "a", "1\n" * 99), create("m2", "b", "1\n" * 99)])
        assert [left.reason for left in changes.left_out] == [patch.TOO_MUCH]

    def test_names_and_titles_cannot_pose_as_files(self):
        """A patch is read by git from its first "diff --git" on."""
        forged = "x\ndiff --git a/etc b/etc\n--- a/etc\n+++ b/etc\n@@ -0,0 +1 @@\n+owned\n"
        changes = patch.changes_of(
            [create("m1", f"../{forged}", "1\n"), create("m2", forged, "1\n")]
        )
        text = "".join(patch.text_of(changes, title=forged, link=str))
        assert text.count("\ndiff --git ") == 1
        assert text.count("\n+++ ") == 1


def test_an_edit_that_was_undone_is_no_change():
    changes = patch.changes_of(
        [edit("m1", "a", "1\n2\n", "1\n3\n"), edit("m2", "a", "1\n3\n", "1\n2\n")]
    )
    assert changes == patch.Changes((), ())


def test_a_batch_is_an_edit_of_each_file():
    entry = {
        "path": "a",
        "content": as_client("1\n", "2\n"),
        "diffStats": {"added": 1, "removed": 1},
    }
    part = {"path": "b", "diffs": [{"content": "<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE"}]}
    edits = diffs.edits_of({"tool": "appliedDiff", "batchDiffs": [entry, part, "no"]})
    assert [(e.path, e.added, e.removed) for e in edits] == [("a", 1, 1), ("b", 1, 1)]


def test_what_only_looks_like_a_diff_is_none():
    for text in ("@@ -1,9 +1,9 @@\n one\n", "@@ -1 +1 @@", "<<<<<<< SEARCH\nx", "@@ -x +y @@\n"):
        assert diffs.edits_of({"tool": "appliedDiff", "path": "a", "diff": text})[0].hunks == ()
