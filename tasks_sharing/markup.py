"""Text of strangers as HTML (J1). The only module that marks HTML as safe.

Everything here comes from a model, a terminal or a user: markdown is rendered with raw HTML off,
the result goes through a sanitizer, and the page's content policy stands behind both.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

#: Characters of one message that are rendered; the rest can be downloaded. Bounds the work (F7).
MAX_CHARS = 60_000
_MAX_HIGHLIGHT = 20_000
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
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,30}")
_formatter = HtmlFormatter(nowrap=True)


def is_data_image(url: object) -> bool:
    """Whether an image is in the URL itself; no other is ever loaded."""
    return isinstance(url, str) and _DATA_IMAGE.fullmatch(url) is not None


def _highlight(code: str, language: str, _attributes: str) -> str:
    if not _LANGUAGE.fullmatch(language) or len(code) > _MAX_HIGHLIGHT:
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


def markdown(text: str) -> SafeString:
    """Markdown as sanitized HTML."""
    shown, _ = cut(text)
    plain = _visible(_ESCAPES.sub("", shown))
    try:
        html = _markdown().render(plain)
    except RecursionError:
        html = f"<pre>{escape(plain)}</pre>"
    return _clean(html)


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
