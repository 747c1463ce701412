"""B2: a sign-in returns to a listed editor, by exact comparison."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import editors
from roocloud.lib.refusals import InvalidInput

GOOD = [
    "vscode://RooVeterinaryInc.roo-cline",
    "vscode-insiders://RooVeterinaryInc.roo-cline",
    "cursor://rooveterinaryinc.roo-cline",
    "windsurf://RooVeterinaryInc.roo-code-nightly",
]
SCHEMES = ["http", "https", "javascript", "data", "file", "blob", "about", "vbscript", "VSCODE", ""]
HEADS = (" ", "\n", "\t", "x", "javascript:", "//", "\x00")
JOINTS = (":", ":/", ":///", "://a@", "::/", "")
HOSTILE = [
    *(f"{scheme}://RooVeterinaryInc.roo-cline" for scheme in SCHEMES),
    *(f"{good}{tail}" for good in GOOD for tail in (
        "/", "//", "/x", "?", "?a=b", "#", "#x", "@evil.example", ":80", ".evil.example", " ", "\n",
        "\x00", "%2f", "\\", "/auth/clerk/callback", "é", "\u200b",
    )),
    *(f"{head}{good}" for good in GOOD for head in HEADS),
    *(good.replace("://", joint) for good in GOOD for joint in JOINTS),
    *(good.swapcase() for good in GOOD),
    "", "null", "//evil.example", "https://evil.example", "javascript:alert(1)", "vscode:", "vscode://",
    "evil://RooVeterinaryInc.roo-cline", "vscode://evil.roo-cline", "vscode://x.RooVeterinaryInc.roo-cline",
    "vscode://RooVeterinaryInc.roo-clinex", "vscode://RooVeterinaryInc", "vscode://roo-cline",
]  # fmt: skip


@pytest.mark.parametrize("target", GOOD)
def test_listed_editors_are_found_in_either_spelling(target):
    assert editors.find(target).target == target


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_targets_are_refused(target):
    with pytest.raises(InvalidInput) as refused:
        editors.find(target)
    assert refused.value.field == "auth_redirect"


@given(st.sampled_from(GOOD), st.integers(0, 40), st.characters(exclude_characters=""))
def test_one_changed_character_is_refused(good, position, character):
    position %= len(good)
    target = good[:position] + character + good[position + 1 :]
    if target in GOOD or target.lower() in (g.lower() for g in GOOD):
        return
    with pytest.raises(InvalidInput):
        editors.find(target)


def test_a_fork_is_a_matter_of_settings(settings):
    settings.ROOCLOUD_EDITOR_EXTENSIONS = ["ZooCodeOrganization.zoo-code"]
    settings.ROOCLOUD_EDITOR_CALLBACK_PATH = "/auth/callback"

    editor = editors.find("vscode://ZooCodeOrganization.zoo-code")

    assert editor.callback(code="c", state="s", organization_id=None) == (
        "vscode://ZooCodeOrganization.zoo-code/auth/callback?code=c&state=s"
    )
    with pytest.raises(InvalidInput):
        editors.find(GOOD[0])


def test_the_model_is_named_as_the_client_reads_it():
    """Trap 2."""
    callback = editors.find(GOOD[0]).callback(
        code="c", state="s", organization_id="org_1", model="vendor/name:free"
    )

    assert callback.endswith("?code=c&state=s&organizationId=org_1&provider_model=vendor/name:free")


@pytest.mark.parametrize("state", ["", "a b", "a+b", "a&b", "a%20", "a#b", "a=b", "é", "a" * 300])
def test_a_state_that_would_not_survive_decoding_is_refused(state):
    """Trap 3."""
    with pytest.raises(InvalidInput):
        editors.checked_state(state)


@pytest.mark.parametrize(
    "callback",
    [
        "https://127.0.0.1:1/callback", "http://127.0.0.1/callback", "http://evil.example:1/callback",
        "http://127.0.0.1.evil.example:1/callback", "http://127.0.0.1:1/callback/x",
        "http://user@127.0.0.1:1/callback", "http://127.0.0.1:0/callback",
        "http://127.0.0.1:99999/callback", "http://127.0.0.1:1/callback?x=1",
        "http://0.0.0.0:1/callback",
        "http://127.0.0.1:1/callback#", "http://[::2]:1/callback", "http://2130706433:1/callback",
        "",
    ],
)  # fmt: skip
def test_a_token_goes_to_this_computers_loopback_only(callback):
    """Trap 14."""
    with pytest.raises(InvalidInput):
        editors.checked_loopback(callback)


def test_the_loopback_port_is_shown():
    assert editors.checked_loopback("http://127.0.0.1:49152/callback") == 49152
    assert editors.checked_loopback("http://[::1]:1/callback") == 1
