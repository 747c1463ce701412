"""J1: text of strangers as HTML; every kind is shown and none makes a page fail."""

import json
import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from roocloud.lib import wire
from tasks_sharing import highlighting, markup
from tasks_sharing.conversation import items
from tasks_sharing.models import Message
from tests.tasks_sharing.everything import known_kinds
from tests.tasks_sharing.hostile import PAYLOADS

RENDERERS = [markup.markdown, markup.terminal, markup.diff, markup.code, markup.plain]
_TAG = re.compile(r"<[a-zA-Z/][^>]*>")
_ALLOWED = re.compile(
    r"</?(p|br|hr|h[1-6]|strong|em|s|del|ins|code|pre|blockquote|ul|ol|li|a|span|div|table|thead|tbody|tr|th|td|img)\b"
)


def assert_harmless(html: str) -> None:
    for tag in _TAG.findall(html):
        assert _ALLOWED.match(tag), tag
        assert not re.search(r"\son\w+\s*=", tag, re.IGNORECASE), tag
        assert not re.search(r"\sstyle\s*=", tag, re.IGNORECASE), tag
        for _, value in re.findall(r'\s(src|href)="([^"]*)"', tag):
            if tag.startswith("<img"):
                assert re.match(r"data:image/(png|jpe?g|gif|webp);base64,", value), tag
            else:
                assert not re.match(r"\s*(javascript|vbscript|data:text)", value, re.IGNORECASE), (
                    tag
                )


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("render", RENDERERS, ids=lambda render: render.__name__)
def test_hostile_text_is_harmless_everywhere(render, payload):
    for wrapped in (
        payload,
        f"> {payload}",
        f"* {payload}",
        f"**{payload}**",
        f"text {payload} text",
        payload * 3,
    ):
        assert_harmless(render(wrapped))


@given(
    st.lists(
        st.sampled_from(
            [*PAYLOADS, "a", "\n", "`", "```", "|", "[", "](", ")", "<", ">", "*", "\x1b[", "m"]
        ),
        max_size=12,
    )
)
@settings(max_examples=400, deadline=None)
def test_pieces_of_hostile_text_are_harmless_together(pieces):
    for render in RENDERERS:
        assert_harmless(render("".join(pieces)))


def test_a_foreign_image_becomes_a_link_and_an_inline_one_stays():
    assert '<a href="https://evil.example/p.png"' in markup.markdown(
        "![pixel](https://evil.example/p.png)"
    )
    inline = "data:image/png;base64,iVBORw0KGgo="
    assert f'<img src="{inline}"' in markup.markdown(f"![x]({inline})")


def test_colours_survive_and_other_escapes_do_not():
    html = markup.terminal("\x1b[1;31mred\x1b[0m\x1b[2J plain\x1b]0;title\x07")
    assert '<span class="ansi-bold ansi-red">red</span> plain' in html


def test_a_diff_marks_its_lines():
    html = markup.diff("@@ -7,2 +7,2 @@\n-old\n+new\n same", "a.txt")
    assert re.findall(r'<(del|ins) class="diff__\w+"><span data-n="7">(\w+)\n</span>', html) == [
        ("del", "old"), ("ins", "new"),
    ]  # fmt: skip
    assert (
        re.findall(r'<span data-n="8">same\n</span>', html)
        == ['<span data-n="8">same\n</span>'] * 2
    )
    blocks = markup.diff("<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE")
    assert re.findall(r"<(del|ins) .*?<span>(\w+)", blocks) == [("del", "old"), ("ins", "new")]


def test_a_diff_is_highlighted_in_the_language_of_its_file():
    text = "@@ -1 +1 @@\n-import os\n+import re\n"
    assert '<span class="k">import</span>' in markup.diff(text, "a.py")
    assert "<span class=" not in markup.diff(text, "a.unknown")


def test_highlighting_changes_no_line():
    lines = ["def f():", '    """a', "", '    b"""', "\treturn '<b>&'", ""]
    html = highlighting.highlighted(lines, "python")
    assert [unescape(re.sub("<[^>]+>", "", line)) for line in html] == lines


def test_a_progress_bar_shows_its_last_state():
    html = markup.terminal("10%\r 60%\r100%\r\ndone\r\n")
    assert "100%\ndone" in html
    assert "60%" not in html


def test_colours_of_256_do_not_pose_as_others():
    assert "ansi-" not in markup.terminal("\x1b[38;5;31mx\x1b[0m \x1b[48;2;31;32;33my\x1b[0m")


@pytest.fixture
def parsed(monkeypatch):
    """The texts that the markdown parser and the highlighter were given."""
    seen = []

    def watch(target, name, position):
        original = getattr(target, name)

        def spy(*args):
            seen.append(args[position])
            return original(*args)

        monkeypatch.setattr(target, name, spy)

    watch(MarkdownIt, "render", 1)
    watch(highlighting, "tokens", 0)
    return seen


class TestWork:
    """F7: what a page costs does not depend on what somebody put on it."""

    COSTLY = [
        "[" * 60_000, "![" * 30_000, "[a][b" * 10_000, "[\n" * 30_000, "[" * 20_000 + "]" * 20_000,
        "".join("[" * n + "a" for n in range(300)), "|a" * 1000 + "\n" + "|-" * 1000 + "\n" + "|\n" * 9000,
    ]  # fmt: skip

    @pytest.mark.parametrize("text", COSTLY, ids=range(len(COSTLY)))
    def test_text_made_to_keep_a_parser_busy_is_shown_as_it_is(self, parsed, text):
        assert markup.markdown(text).startswith("<pre>")
        assert parsed == []

    def test_ordinary_text_is_not_taken_for_it(self, parsed):
        todo = "- [ ] look at [this](https://a.example) and `x[1]`\n" * 300
        table = "| a | b | c |\n|---|---|---|\n" + "| 1 | 2 | 3 |\n" * 200
        assert "<li>" in markup.markdown(todo)
        assert "<table>" in markup.markdown(table)

    def test_of_a_long_text_the_beginning_is_read_as_markdown(self, parsed):
        html = markup.markdown("**word** and more\n" * 10_000)
        assert "<strong>word</strong>" in html
        assert html.count("word") == len("x" * markup.MAX_CHARS) // 18 + 1
        assert sum(map(len, parsed)) <= markup.MAX_MARKDOWN
        assert len(markup.markdown("x" * 1_000_000)) < 2 * markup.MAX_CHARS

    @pytest.mark.parametrize(
        ("language", "code"),
        [
            ("perl", "m{" * 100), ("java", "a b " * 50), ("hcl", "x = 1"), ("make", "{" * 100),
            ("ts", "a." * 200), ("python", "x" * 301), ("unheard-of", "x"),
        ],
    )  # fmt: skip
    def test_code_is_highlighted_where_that_is_cheap(self, parsed, language, code):
        markup.markdown(f"```{language}\n{code}\n```")
        assert len(parsed) == 1  # the parser, not the highlighter
        markup.markdown("```ts\nlet x = 1\n```")
        assert len(parsed) == 3

    @pytest.mark.stored
    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (("say", "text"), "word *and* word\n" * 4000),
            (("say", "mcp_server_response"), '{"a": "' + "x" * 60_000 + '"}'),
            (("ask", "tool"), json.dumps({"tool": "newFileCreated", "path": "a", "content": "\n" * 60_000})),
            (("ask", "tool"), json.dumps({"tool": "appliedDiff", "batchDiffs": [
                {"path": str(n), "content": "x" * 5_000} for n in range(100)]})),
        ],
        ids=["markdown", "code", "lines", "batch"],
    )  # fmt: skip
    def test_a_page_of_them_is_bounded_too(self, parsed, kind, text):
        messages = [row(kind, {"text": f"{text} {number}"}) for number in range(200)]
        if kind == ("ask", "tool"):
            messages = [row(kind, {"text": text}) for _ in range(200)]
        shown = items(messages, opens=False)
        assert len(shown) == 200
        assert shown[-1].is_cut
        assert sum(map(len, parsed)) <= markup.PAGE_BUDGET // 7
        assert sum(len(html) for item in shown for _, html in item.parts) < 6 * markup.PAGE_BUDGET

    @pytest.mark.stored
    def test_what_was_rendered_is_not_rendered_again(self, parsed):
        messages = [row(("say", "text"), {"text": f"**{number}** " * 100}) for number in range(20)]
        first = items(messages, opens=False)
        count = len(parsed)
        assert items(messages, opens=False) == first
        assert len(parsed) == count == 20


KINDS = [*known_kinds(), ("say", "from_the_future"), ("ask", "from_the_future")]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["tool", "path", "content", "diff", "todos", "status", "question", "suggest", "answer",
                         "diffStats", "added", "batchFiles", "results", "query", "reason", "serverName", "arguments"]),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


def row(kind, document) -> Message:
    return Message(pk=1, ts=1795231900989, type=kind[0], kind=kind[1], body=wire.dumps(document))


@pytest.mark.stored
@given(st.sampled_from(KINDS), JSON, JSON, st.booleans())
@settings(max_examples=600, deadline=None)
def test_no_kind_and_no_shape_makes_a_page_fail(kind, inner, outer, as_text):
    text = json.dumps(inner) if as_text else inner
    document = {"text": text, "images": outer, "contextCondense": outer}
    for item in items([row(kind, document)], opens=False):
        for _, html in item.parts:
            assert_harmless(html)


@pytest.mark.parametrize(
    ("kind", "document", "words"),
    [
        (("say", "sliding_window_truncation"), {"contextTruncation": {
            "truncationId": "x", "messagesRemoved": 12, "prevContextTokens": 9000, "newContextTokens": 4000}},
         "12 older messages were left out of the context 9,000 to 4,000 tokens"),
        (("say", "sliding_window_truncation"), {}, "Older messages were left out"),
        (("say", "too_many_tools_warning"), {"text": '{"toolCount": 80, "serverCount": 5, "threshold": 60}'},
         "80 tools of 5 MCP servers are switched on; more than 60"),
        (("say", "error"), {"text": "MODEL_NO_TOOLS_USED"}, "answered without using a tool"),
        (("say", "error"), {"text": "MODEL_NO_ASSISTANT_MESSAGES"}, "gave no answer"),
        (("say", "api_req_retry_delayed"), {"text": "429\nslow\n<retry_timer>5</retry_timer>"}, "Trying again in 5 s"),
    ],
)  # fmt: skip
def test_what_clients_say_in_codes_is_said_in_words(kind, document, words):
    (item,) = items([row(kind, document)], opens=False)
    shown = unescape(
        " ".join([item.block.label, item.block.hint, *(html for _, html in item.parts)])
    )
    assert words in shown
    assert not re.search("retry_timer|MODEL_NO|toolCount", shown)


@pytest.mark.stored
@pytest.mark.parametrize("length", [10, 200, 5000])
def test_a_long_command_can_be_read_whole(length):
    command = "x" * length
    (item,) = items([row(("ask", "command"), {"text": command})], opens=False)
    shown = item.block.label + "".join(html for _, html in item.parts)
    assert shown.count("x") >= length


@pytest.mark.stored
@given(st.text(max_size=200), st.integers(-(10**18), 10**18))
@settings(max_examples=100, deadline=None)
def test_a_body_that_is_no_json_or_of_no_time_is_no_failure(body, ts):
    message = Message(pk=1, ts=ts, type="say", kind="text", body=body)
    items([message], opens=True)
