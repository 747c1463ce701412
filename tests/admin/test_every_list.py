"""Every model of the admin, whoever adds it: what its list declares, and what it asks."""

import re
from collections import Counter

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin import many

REGISTRY = sorted(admin.site._registry.items(), key=lambda found: found[0]._meta.label)
CLASSES = [pytest.param(found, id=model._meta.label) for model, found in REGISTRY]
#: Models without a list, each with the reason.
WITHOUT_A_LIST = {
    "audit.Chain": "one row, with the key of the trail",
    "accounts.Ticket": "a hash that lives a minute",
    "accounts.VersionCounter": "a number",
    "notifications.PushKey": "a key",
    "notifications.Preferences": "what a person chose for themselves",
    "notifications.Choice": "the same",
    "orgs.Logo": "a picture, on the organization's pages",
    "tasks_sharing.TaskText": "words of conversations",
    "tasks_sharing.Image": "images of conversations",
    "tasks_sharing.ImageUse": "the same",
    "tasks_sharing.ShareView": "who opened a link is its owner's to know",
    "tasks_sharing.ImportedTask": "names of somebody's files; the import has the sums",
    "tasks_sharing.Mask": "texts of conversations",
    "proxy.Route": "on the page of its model",
    "proxy.Alias": "the same",
    "proxy.Price": "the same",
    "proxy.IdempotencyKey": "sealed answers, for a day",
    "proxy.Transcript": "prompts and answers",
    "proxy.UsageDay": "the usage pages show it; rebuild_usage makes it anew",
    "proxy.UsageTask": "the same",
    "bridge.Publication": "which socket follows which task, for seconds",
    "bridge.Watcher": "who looks at which editor, for seconds; the trail keeps it",
    "orgs.Departure": "that somebody left; the trail says when and why",
}
#: Lists that have nothing to filter, to search or to date by, each with the reason.
NOTHING_TO = {
    ("filter", "audit.Loose"): "there for seconds",
    ("date", "tasks_sharing.Message"): "its time is a number that the editor chose",
}
#: Queries of any list with any number of rows.
MOST_QUERIES = 14


def test_every_model_has_a_list_or_a_reason():
    found = {
        model._meta.label
        for model in apps.get_models()
        if model._meta.app_label in settings.FIRST_PARTY_APPS
    }
    listed = {model._meta.label for model, _ in REGISTRY}
    assert found - listed - set(WITHOUT_A_LIST) == set(), (
        "register these in their room's admin.py, or say in WITHOUT_A_LIST why not"
    )
    assert set(WITHOUT_A_LIST) & listed == set(), "these have a list now"


def lacks(found: admin.ModelAdmin) -> list[str]:
    """What a list does not declare."""
    model, said = found.model, []
    label = model._meta.label
    if tuple(found.list_display) == ("__str__",):
        said.append("list_display: which columns people look for")
    if not found.list_filter and ("filter", label) not in NOTHING_TO:
        said.append("list_filter")
    if not found.search_fields and ("search", label) not in NOTHING_TO:
        said.append("search_fields: at least its id")
    dated = [f.name for f in model._meta.concrete_fields if isinstance(f, models.DateField)]
    names = {one[0] if isinstance(one, tuple) else one for one in found.list_filter}
    if (
        dated
        and not found.date_hierarchy
        and not names & set(dated)
        and ("date", label) not in NOTHING_TO
    ):
        said.append(f"date_hierarchy (or, of a large table, a filter) by one of {', '.join(dated)}")
    order = [name.lstrip("-") for name in found.ordering or ()]
    unique = {"pk", *(f.name for f in model._meta.concrete_fields if f.unique)}
    if not order or order[-1] not in unique:
        said.append("ordering that ends in a unique column")
    if found.show_full_result_count:
        said.append("show_full_result_count = False: a COUNT(*) of a large table holds the page up")
    return said


@pytest.mark.parametrize("found", CLASSES)
def test_a_list_declares_how_it_is_looked_through(found):
    """AD4"""
    assert lacks(found) == []


def test_a_list_that_declares_nothing_is_noticed():
    bare = admin.ModelAdmin(dict(REGISTRY)[REGISTRY[0][0]].model, admin.site)
    assert len(lacks(bare)) >= 4


SECRET = re.compile(
    r"secret|hash|sealed|password|token|_key$|payload|snapshot|private|auth$|endpoint|p256dh"
)
#: Fields whose names only sound like secrets.
NO_SECRETS = {"tokens_in", "tokens_out", "prompt_tokens", "completion_tokens", "cache_read_tokens",
              "cache_write_tokens", "context_window", "max_tokens", "text_hash", "is_token_used",
              "token_expires_at", "long_above_tokens", "public_key", "task_key"}  # fmt: skip


@pytest.mark.parametrize("found", CLASSES)
def test_no_list_and_no_page_shows_a_secret(found, rf, django_user_model):
    """I2: secrets go in by a form field of their own, and never come out."""
    request = rf.get("/")
    request.user = django_user_model(is_superuser=True, is_active=True)
    hidden = {*(found.exclude or ())}
    shown = set(found.list_display) | {
        name for name in (f.name for f in found.model._meta.fields)
        if name not in hidden and (found.fields is None or name in found.fields)
        and found.get_fieldsets.__func__ is admin.ModelAdmin.get_fieldsets and not found.fieldsets
        and type(found).form is admin.ModelAdmin.form
    }  # fmt: skip
    assert [
        n for n in shown if isinstance(n, str) and SECRET.search(n) and n not in NO_SECRETS
    ] == []


@pytest.fixture
def two_hundred(cockpit, rows):
    many.forget()
    yield
    many.forget()


def test_no_list_asks_more_for_two_hundred_rows(cockpit, two_hundred):
    """AD4, N9: whatever a list shows beside its rows comes with them."""
    asked, opened = {}, Counter()
    for model, _ in REGISTRY:
        many.copies(model, 200)
    for model, _ in REGISTRY:
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        with CaptureQueriesContext(connection) as captured:
            page = cockpit.get(path)
        assert page.status_code == 200, path
        opened[model._meta.label] = len(page.context["cl"].result_list)
        asked[model._meta.label] = len(captured)
    assert {label: count for label, count in asked.items() if count > MOST_QUERIES} == {}, (
        "name what these columns read in list_select_related"
    )
    assert min(opened.values()) >= 50
