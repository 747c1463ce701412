"""An admin has prompts and answers stored, a member is told and reads their own."""

import json

import pytest
from django.utils import timezone

from proxy import keeping
from proxy.calls import read
from proxy.pricing import Usage
from proxy.transcripts import Draft
from tests import factories
from tests.proxy import test_usage
from tests.proxy.test_usage import begin, finish

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

models = test_usage.models
LONG = "def answer():\n    return 42  # " + "x" * 300 + "\n"


@pytest.fixture
def completion(models, bob, acme):
    (row,) = finish([begin(bob, acme)], Usage(900, 99))
    return row


def test_an_admin_turns_it_on_and_a_member_reads_it(visitor, completion, alice, bob, acme):
    admin = visitor()
    admin.sign_in(alice)
    page = admin.go(f"/organizations/{acme.pk}")
    page.click("text=Prompts")
    page.wait_for_selector("text=Not stored")
    admin.look("prompts-off")
    page.check("input[name=keeps]")
    page.fill("input[name=days]", "14")
    page.click("button:has-text('Save')")
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_selector("text=stored for 14 days")
    admin.look("prompts-on")

    messages = [
        {"role": "system", "content": "You are a coder."},
        {"role": "user", "content": f"What does this do?\n{LONG}"},
    ]
    body = {"model": "v/one", "messages": messages, "temperature": 0}
    call = read(json.dumps(body).encode())
    draft = Draft(completion.pk, acme.pk, bob.pk, timezone.now(), call)
    tool = {"function": {"name": "read_file", "arguments": '{"path": "a.py"}'}}
    delta = {"reasoning": "Easy.", "content": f"It returns 42:\n{LONG}", "tool_calls": [tool]}
    draft.feed(b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n")
    keeping.store([draft])

    member = visitor()
    member.sign_in(bob)
    for path in ("/usage", "/account/keys", "/account/keys/new"):
        member.go(path)
        assert member.page.is_visible("text=for 14 days"), path
    factories.api_key(bob, acme)
    page = member.go(f"/usage/{completion.pk}")
    assert page.is_visible("text=It returns 42")
    assert not page.is_visible("text=You are a coder.")
    page.press("summary:has-text('system')", "Enter")
    assert page.is_visible("text=You are a coder.")
    member.look("completion-with-transcript")

    page = admin.go(f"/organizations/{acme.pk}/prompts")
    page.uncheck("input[name=keeps]")
    page.click("button:has-text('Save')")
    page.wait_for_selector("text=Delete those of 1 completion?")
    admin.look("prompts-fewer")
    page.click("button:has-text('Delete')")
    page.wait_for_selector("text=None are stored.")
    page = member.go(f"/usage/{completion.pk}")
    assert not page.is_visible("text=It returns 42")
