"""``manage.py org_settings``: policy as code."""

import io
import json

import pytest
import yaml
from django.core.management import CommandError, call_command

from orgs import actions, documents
from tests.orgs.test_drafts import act
from tests.orgs.test_settings_pages import MCP, current

BASE = documents.dump(documents.DEFAULT)


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("org_settings", *arguments, stdout=out)
    return out.getvalue()


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    return end.value.code


@pytest.fixture
def file(tmp_path):
    def write(document, name="policy.yaml") -> str:
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_an_export_comes_back_as_it_was(acme, alice, file):
    exported = run("export", "Acme")
    assert yaml.safe_load(exported) == current(acme).document
    assert json.loads(run("export", "Acme", "--format", "json")) == current(acme).document
    path = file(exported)
    assert "the same as version" in run("check", path, "--organization", "Acme")
    before = current(acme)
    run("import", "Acme", path, "--as", alice.email)
    assert current(acme) == before


def test_a_file_is_put_into_force(acme, adam, file):
    path = file({**BASE, "mcps": [MCP]}, "policy.json")
    said = run("import", "Acme", path, "--as", adam.email, "--note", "from CI")
    now = current(acme)
    assert (now.document["mcps"], now.made_by_id, now.note) == ([MCP], adam.pk, "from CI")
    assert "+mcps:" in said
    assert f"Version {now.version} is in force" in said


def test_a_dry_run_and_a_check_say_by_their_end_whether_it_differs(acme, alice, file):
    before = current(acme)
    path = file({**BASE, "hiddenMcps": ["x"]})
    assert ended("import", "Acme", path, "--as", alice.email, "--dry-run") == 3
    assert ended("check", path, "--organization", "Acme") == 3
    assert "accepts it" in run("check", path)
    assert current(acme) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not YAML"),
        (json.dumps({**BASE, "x": 1}), "x: "),
        ("a: &x 1\nb: *x", "alias"),
        ("", "Expected"),
    ],
)
def test_what_is_invalid_is_refused_with_its_place(acme, alice, file, text, why):
    before = current(acme)
    path = file(text)
    for command in (["check", path], ["import", "Acme", path, "--as", alice.email]):
        with pytest.raises(CommandError, match=why):
            run(*command)
    assert current(acme) == before


def test_it_is_refused_to_who_is_no_admin_and_for_another_version(acme, alice, bob, mallory, file):
    """O1, D7"""
    path = file({**BASE, "hiddenMcps": ["x"]})
    for person in (bob, mallory):
        with pytest.raises(CommandError, match="owner or an admin"):
            run("import", "Acme", path, "--as", person.email)
    with pytest.raises(CommandError, match="Somebody saved"):
        run("import", "Acme", path, "--as", alice.email, "--read-version", "999999")
    for wrong in (
        ["export", "Nobody"],
        ["check", "/nowhere"],
        ["import", "Acme", path, "--as", "x"],
    ):
        with pytest.raises(CommandError):
            run(*wrong)


def test_where_approval_is_demanded_it_waits(acme, alice, adam, file):
    """O1"""
    act(actions.demand_approval, alice, acme, organization=acme, is_demanded=True)
    before = current(acme)
    path = file({**BASE, "hiddenMcps": ["x"]})
    assert ended("import", "Acme", path, "--as", alice.email) == 4
    assert current(acme) == before
    draft = acme.drafts.get()
    act(actions.approve_draft, adam, acme, draft_id=draft.pk, read_version=before.version)
    assert current(acme).document["hiddenMcps"] == ["x"]
