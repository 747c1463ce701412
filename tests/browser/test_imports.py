"""Bringing in history, as a person does it."""

import json
import shutil
from pathlib import Path

import pytest

from tasks_sharing.models import Import, Task

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RECORDING = Path(__file__).resolve().parents[1] / "recordings"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP8z8DAwMDAxMDAwMDAAAANHQEDasKb6QAA"
    "AABJRU5ErkJggg=="
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A tasks folder with a recorded task, one with an image, and one that cannot be read."""
    tasks = tmp_path / "tasks"
    recorded = tasks / "01a1fc28-e533-74cc-bdea-72d893efeccd"
    for name in ("ui_messages", "history_item", "task_metadata"):
        recorded.mkdir(parents=True, exist_ok=True)
        shutil.copy(RECORDING / f"task-slug.{name}.json", recorded / f"{name}.json")
    pictured, broken = tasks / "1760000000000", tasks / "1760000000001"
    for each in (pictured, broken):
        each.mkdir()
    said = {"ts": 1_760_000_000_000, "type": "say", "say": "task", "text": "What is on this screen? 🙂",
            "images": [f"data:image/png;base64,{PNG}"]}  # fmt: skip
    (pictured / "ui_messages.json").write_text(json.dumps([said], ensure_ascii=False))
    (broken / "ui_messages.json").write_text('[{"ts": 1760000000001, "ty')
    (pictured / "checkpoints").mkdir()
    (pictured / "checkpoints" / "large.bin").write_bytes(b"x" * 100_000)
    return tasks


def test_a_folder_is_imported(visitor, alice, acme, folder):
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go("/tasks")
    page.click("text=imported")
    page.wait_for_selector("h1:has-text('Import history')")
    mine.look("import")
    assert page.is_visible("#folder")
    page.click("button:has-text('Import')")
    page.wait_for_selector("text=Choose a folder or an archive first.")

    page.set_input_files("#folder", folder)
    page.click("button:has-text('Import')")
    page.wait_for_selector("text=3 of 3 tasks")
    mine.look("import-report")
    assert "ui_messages.json is not JSON" in page.inner_text("main")
    assert Import.unscoped.count() == 1
    assert Task.unscoped.get(task_id="1760000000000").title == "What is on this screen? 🙂"

    page.click("text=What is on this screen?")
    page.wait_for_selector(".talk__image")
    page.wait_for_function("() => document.querySelector('.talk__image').naturalWidth === 2")
    mine.look("import-image")

    page.go_back()
    page.click("nav a:has-text('Skipped')")
    page.wait_for_selector("nav a[aria-current=page]:has-text('Skipped')")
    assert page.locator(".rows li").count() == 1
    page.click("text=Import history")
    page.wait_for_selector("h2:has-text('Earlier imports')")
    mine.look("import-again")


def test_progress_is_followed_and_cancelled(visitor, alice, acme, folder, monkeypatch):
    monkeypatch.setattr("tasks_sharing.tasks.run_import.delay", lambda **_: None)
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go("/tasks/import")
    page.set_input_files("#folder", folder)
    page.click("button:has-text('Import')")
    page.wait_for_selector("text=0 of 3 tasks")
    run = Import.unscoped.get()
    run.tasks.create(position=0, name="tasks/one", outcome="skipped", reason="A reason")
    page.wait_for_selector("text=1 of 3 tasks")
    mine.look("import-running")

    page.click("button:has-text('Cancel')")
    page.wait_for_selector("text=What was imported stays.")
    mine.look("import-cancelled")


def test_without_a_script_an_archive_is_sent(visitor, alice, acme, folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "history"), "zip", folder)
    mine = visitor(java_script_enabled=False)
    mine.sign_in(alice)
    page = mine.page
    page.goto(f"{mine.base}/tasks/import")
    assert not page.is_visible("#folder")
    page.set_input_files("input[name=archive]", archive)
    page.click("button:has-text('Import')")
    assert "3 of 3 tasks" in page.inner_text("main")
