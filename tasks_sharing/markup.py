"""Text of strangers as HTML (J1). The only module that marks HTML as safe.

Everything here comes from a model, a terminal or a user: markdown is rendered with raw HTML off,
the result goes through a sanitizer, and the page's content policy stands behind both.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import nh3
from django.core.cache import cache
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from roocloud.lib.ids import digest

#: Characters of one message that are rendered; the rest can be downloaded. Bounds the work (F7).
MAX_CHARS = 60_000
#: Of these, characters that are read as markdown; the rest follows as it is.
MAX_MARKDOWN = 20_000
#: Steps that a parser may take in excess of the text's length, see _is_costly.
_MAX_STEPS = 3_000_000
_MAX_CELLS = 4_000
_MAX_HIGHLIGHT = 4_000
_MAX_HIGHLIGHT_LINE = 300
#: Highlighters whose work grows with the text alone. Those of java, perl, hcl and make do not.
_LANGUAGES = {
    "bash", "c", "cpp", "csharp", "css", "diff", "dockerfile", "go", "graphql", "html",
    "javascript", "js", "json", "jsx", "kotlin", "lua", "markdown", "md", "php", "powershell", "py",
    "python", "python3", "rb", "rs", "ruby", "rust", "scala", "scss", "sh", "shell", "sql", "swift",
    "toml", "ts", "tsx", "typescript", "vue", "xml", "yaml", "yml", "zsh",
}  # fmt: skip
_TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "del", "code", "pre",
    "blockquote", "ul", "ol", "li", "a", "span", "div", "table", "thead", "tbody", "tr", "th", "td",
    "img",
}  # fmt: skip
_ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "code": {"class"},
    "span": {"class"},
    "div": {"class"},
    "pre": {"class"},
}
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_CLASS = re.compile(r"[A-Za-z0-9 _-]{1,80}")
_formatter = HtmlFormatter(nowrap=True)


def is_data_image(url: object) -> bool:
    """Whether an image is in the URL itself; no other is ever loaded."""
    return isinstance(url, str) and _DATA_IMAGE.fullmatch(url) is not None


def _highlight(code: str, language: str, _attributes: str) -> str:
    if language not in _LANGUAGES or len(code) > _MAX_HIGHLIGHT:
        return ""
    if any(len(line) > _MAX_HIGHLIGHT_LINE for line in code.splitlines()):
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return highlight(code, lexer, _formatter)


def _image(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """An image elsewhere becomes a link: loading it would tell its host who reads."""
    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    label = escape(token.content or "image")
    if is_data_image(source):
        return f'<img src="{escape(source)}" alt="{label}">'
    return f'<a href="{escape(source)}">{label}</a>'


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "highlight": _highlight})
    parser.add_render_rule("image", _image)
    return parser


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if is_data_image(value) else None
    if name == "class":
        return value if _CLASS.fullmatch(value) else None
    return value


def _clean(html: str) -> SafeString:
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto", "data"},
        attribute_filter=_attribute,
        link_rel="noopener noreferrer nofollow ugc",
    )
    return mark_safe(cleaned)  # noqa: S308 - sanitized in the line above


def _visible(text: str) -> str:
    """Control characters and lone surrogates as U+FFFD: HTML has no place for them."""
    return _INVISIBLE.sub("\ufffd", text)


_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ud800-\udfff]")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")


def cut(text: str) -> tuple[str, bool]:
    """The text that is rendered, and whether some was left out."""
    return text[:MAX_CHARS], len(text) > MAX_CHARS


_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_BRACKET = re.compile(r"[\[\]]")


def _is_costly(text: str) -> bool:
    """Whether a parser would go over the text again and again: from each bracket it looks for the
    closing one, and a table has as many cells as its widest row times its rows."""
    steps = cells = 0
    for block in _BLANK_LINE.split(text):
        cells += (block.count("\n") + 1) * max(line.count("|") for line in block.split("\n"))
        opened: list[int] = []
        for found in _BRACKET.finditer(block):
            if found[0] == "[":
                opened.append(found.start())
            elif opened:
                steps += found.start() - opened.pop()
        steps += sum(len(block) - start for start in opened)
    return steps > _MAX_STEPS or cells > _MAX_CELLS


def markdown(text: str) -> SafeString:
    """Markdown as sanitized HTML; as it is where it is long, or made to keep a parser busy."""
    shown, _ = cut(text)
    source = _visible(_ESCAPES.sub("", shown))
    head = source[:MAX_MARKDOWN]
    if len(source) > MAX_MARKDOWN:
        head = head[: head.rfind("\n") + 1] or head
    if _is_costly(head):
        return _clean(f"<pre>{escape(source)}</pre>")
    try:
        html = _markdown().render(head)
    except RecursionError:
        return _clean(f"<pre>{escape(source)}</pre>")
    rest = source[len(head) :]
    return _clean(f"{html}<pre>{escape(rest)}</pre>" if rest else html)


_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]


def terminal(text: str) -> SafeString:
    """Command output with its ANSI colours as classes; other escapes are dropped."""
    shown, _ = cut(text)
    parts: list[str] = []
    style: dict[str, str] = {}
    position = 0
    for found in _ESCAPES.finditer(shown):
        parts.append(_styled(shown[position : found.start()], style))
        position = found.end()
        if sgr := _SGR.fullmatch(found[0]):
            style = _restyle(style, sgr[1])
    parts.append(_styled(shown[position:], style))
    return _clean(f'<pre class="terminal">{"".join(parts)}</pre>')


def _styled(text: str, style: Mapping[str, str]) -> str:
    if not text:
        return ""
    content = escape(_visible(text))
    return f'<span class="{" ".join(style.values())}">{content}</span>' if style else content


def _restyle(style: dict[str, str], codes: str) -> dict[str, str]:
    style = dict(style)
    for code in codes.split(";")[:20]:
        number = int(code) if code and len(code) < 4 else 0
        if number == 0:
            style = {}
        elif number == 1:
            style["weight"] = "ansi-bold"
        elif number == 22:
            style.pop("weight", None)
        elif number == 39:
            style.pop("colour", None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style["colour"] = f"ansi-{_COLOURS[number % 10]}"
    return style


def diff(text: str) -> SafeString:
    """A unified diff, or the client's SEARCH/REPLACE blocks, with changed lines marked."""
    shown, _ = cut(text)
    lines = []
    in_search = in_replace = False
    for line in _visible(_ESCAPES.sub("", shown)).split("\n"):
        state = ""
        if line.startswith("<<<<<<< SEARCH"):
            in_search, state = True, "mark"
        elif in_search and line.startswith("======="):
            in_search, in_replace, state = False, True, "mark"
        elif in_replace and line.startswith(">>>>>>> REPLACE"):
            in_replace, state = False, "mark"
        elif line.startswith(("@@", "+++", "---", "===")):
            state = "mark"
        elif in_replace or line.startswith("+"):
            state = "added"
        elif in_search or line.startswith("-"):
            state = "removed"
        lines.append(f'<span class="line line-{state or "same"}">{escape(line)}</span>')
    return _clean(f'<pre class="diff">{"".join(lines)}</pre>')


def plain(text: str) -> SafeString:
    """Text as it is, in a box."""
    shown, _ = cut(text)
    return _clean(f"<pre>{escape(_visible(_ESCAPES.sub('', shown)))}</pre>")


# --- A page of them ---------------------------------------------------------------------------

#: What one page renders, in characters of plain text; markdown and its like cost more.
PAGE_BUDGET = 1_500_000
#: Beyond it, characters of a part that are shown, and of all such parts together.
_TASTE, _TASTES = 1_000, 200_000
_CACHED_S = 3600
_CACHED_FROM = 200  # characters; to render fewer is quicker than to ask
_CACHED_TO = 500_000
_VERSION = 1  # to be raised when the same text becomes other HTML
_COSTS: dict[Callable[[str], SafeString], int] = {markdown: 7, terminal: 2, diff: 2, plain: 1}


@dataclass(frozen=True, slots=True)
class Part:
    """Text that a page is to show, and how. render: markdown, terminal, diff or plain."""

    render: Callable[[str], SafeString]
    text: str

    @property
    def cost(self) -> int:
        lines = self.text.count("\n") * 40 if self.render is diff else 0  # each is an element
        return _COSTS[self.render] * min(len(self.text), MAX_CHARS) + lines

    @property
    def key(self) -> str:
        return f"markup.{_VERSION}.{self.render.__name__}.{digest(self.text)}"


def render(parts: Sequence[Part]) -> list[tuple[SafeString, bool]]:
    """The HTML of each part of a page, and whether it was cut.

    A page costs a bounded amount of work, whatever is on it: when that is spent, parts are shown as
    plain text, and in the end only their beginnings. What was rendered before comes from the cache.
    """
    left, tastes = PAGE_BUDGET, _TASTES
    afforded = []
    for part in parts:
        is_cut = len(part.text) > MAX_CHARS
        if part.cost > left:
            part = Part(plain, part.text)
        if part.cost > left:
            taste = part.text[: min(_TASTE, tastes)]
            tastes -= len(taste)
            part, is_cut = Part(plain, taste), len(taste) < len(part.text)
        else:
            left -= part.cost
        afforded.append((part, is_cut))
    keys = {part: part.key for part, _ in afforded if len(part.text) >= _CACHED_FROM}
    known = cache.get_many(list(set(keys.values())))
    made: dict[str, str] = {}
    shown = []
    for part, is_cut in afforded:
        key = keys.get(part, "")
        html = known.get(key) or made.get(key)
        if html is None:
            html = str(part.render(part.text))
            if key and len(html) <= _CACHED_TO:
                made[key] = html
        shown.append((mark_safe(html), is_cut))  # noqa: S308 - a renderer of this module made it
    if made:
        cache.set_many(made, _CACHED_S)
    return shown
