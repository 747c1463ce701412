"""Text of strangers as HTML (J1). The only module that marks HTML as safe.

Everything here comes from a model, a terminal or a user: markdown is rendered with raw HTML off,
the result goes through a sanitizer, and the page's content policy stands behind both.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import groupby, islice

import nh3
from django.core.cache import cache
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from roocloud.lib.ids import digest
from roocloud.lib.text import ESCAPES
from tasks_sharing import diffs
from tasks_sharing.highlighting import highlighted, language_of

#: Characters of one message that are rendered; the rest can be downloaded. Bounds the work (F7).
MAX_CHARS = 60_000
#: Of these, characters that are read as markdown; the rest follows as it is.
MAX_MARKDOWN = 20_000
#: Steps that a parser may take in excess of the text's length, see _is_costly.
_MAX_STEPS = 3_000_000
_MAX_CELLS = 4_000
_TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "del", "code", "pre",
    "blockquote", "ul", "ol", "li", "a", "span", "div", "table", "thead", "tbody", "tr", "th", "td",
    "img", "ins",
}  # fmt: skip
_ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "code": {"class"},
    "span": {"class", "data-n"},
    "div": {"class", "tabindex", "role", "aria-label", "aria-hidden"},
    "pre": {"class"},
    "del": {"class"},
    "ins": {"class"},
}
_COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]
_WEIGHTS = {1: "ansi-bold", 2: "ansi-dim", 3: "ansi-italic", 4: "ansi-underline"}
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_CLASS = re.compile(r"[A-Za-z0-9 _-]{1,80}")


def is_data_image(url: object) -> bool:
    """Whether an image is in the URL itself; no other is ever loaded."""
    return isinstance(url, str) and _DATA_IMAGE.fullmatch(url) is not None


def _highlight(code: str, language: str, _attributes: str) -> str:
    return "\n".join(highlighted(code.split("\n"), language))


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
    parser.add_render_rule("table_open", _table)
    parser.add_render_rule("table_close", _table)
    return parser


def _table(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """A wide table scrolls in a box of its own, which the keyboard reaches."""
    if tokens[index].nesting < 0:
        return "</table></div>"
    return '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'


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


#: Of HTML that is made here, and not by the parser of markdown.
_OUR_CLASSES = {
    "span": {*"kfbsmcid", *(f"ansi-{colour}" for colour in _COLOURS), *_WEIGHTS.values()},
    "div": {"diff", "diff__place", "diff__same", "diff__change", "diff__old", "diff__new"},
    "pre": {"code", "terminal"},
    "del": {"diff__old"},
    "ins": {"diff__new"},
}


def _clean_ours(html: str) -> SafeString:
    """The same for what has no links and no classes but ours: nh3 asks nobody back about them,
    which takes it a quarter of the time."""
    cleaned = nh3.clean(
        html,
        tags=set(_OUR_CLASSES),
        attributes={"span": {"data-n"}, "div": {"aria-hidden"}},
        allowed_classes=_OUR_CLASSES,
    )
    return mark_safe(cleaned)  # noqa: S308 - sanitized in the line above


def _visible(text: str) -> str:
    """Control characters and lone surrogates as U+FFFD: HTML has no place for them."""
    return _INVISIBLE.sub("\ufffd", text)


_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ud800-\udfff]")


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


def markdown(text: str, _detail: str = "") -> SafeString:
    """Markdown as sanitized HTML; as it is where it is long, or made to keep a parser busy."""
    shown, _ = cut(text)
    source = _visible(ESCAPES.sub("", shown))
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


def terminal(text: str, _detail: str = "") -> SafeString:
    """Command output with its ANSI colours as classes; other escapes are dropped, and of a line
    that was written over again and again (a progress bar) the last state is shown."""
    shown, _ = cut(text)
    shown = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in shown.split("\n"))
    parts: list[str] = []
    style: dict[str, str] = {}
    position = 0
    for found in ESCAPES.finditer(shown):
        parts.append(_styled(shown[position : found.start()], style))
        position = found.end()
        if sgr := _SGR.fullmatch(found[0]):
            style = _restyle(style, sgr[1])
    parts.append(_styled(shown[position:], style))
    return _clean_ours(f'<pre class="terminal">{"".join(parts)}</pre>')


def _styled(text: str, style: Mapping[str, str]) -> str:
    if not text:
        return ""
    content = escape(_visible(text))
    return f'<span class="{" ".join(style.values())}">{content}</span>' if style else content


def _restyle(style: dict[str, str], codes: str) -> dict[str, str]:
    style = dict(style)
    numbers = iter([int(code) if code and len(code) < 4 else 0 for code in codes.split(";")[:20]])
    for number in numbers:
        if number == 0:
            style = {}
        elif number in _WEIGHTS:
            style[f"weight {number}"] = _WEIGHTS[number]
        elif number == 22:
            style = {
                key: value for key, value in style.items() if key not in ("weight 1", "weight 2")
            }
        elif number in (23, 24):
            style.pop(f"weight {number - 20}", None)
        elif number == 39:
            style.pop("colour", None)
        elif number in (38, 48):
            _skip_colour(numbers)
            if number == 38:
                style.pop("colour", None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style["colour"] = f"ansi-{_COLOURS[number % 10]}"
    return style


def _skip_colour(numbers: Iterator[int]) -> None:
    """Pass over the rest of a colour of 256 or of 16 million: the page has eight."""
    for _ in range({5: 1, 2: 3}.get(next(numbers, 0), 0)):
        next(numbers, None)


# --- Diffs ------------------------------------------------------------------------------------

#: Lines of one diff that are shown; each is several elements.
MAX_DIFF_LINES = 1_500
_MAX_DIFF_CHARS = 500_000


def diff(text: str, path: str = "") -> SafeString:
    """A diff, unified or of SEARCH/REPLACE blocks, to be read in one column or in two; other text
    as it is. path: of the file, for its language."""
    source = _visible(ESCAPES.sub("", text[:_MAX_DIFF_CHARS]))
    hunks = diffs.read_unified(source) or diffs.read_blocks(source)
    if not hunks:
        return plain(text)
    return _clean_ours(f'<div class="diff">{"".join(_hunks(hunks, language_of(path)))}</div>')


def _hunks(hunks: Sequence[diffs.Hunk], language: str) -> Iterator[str]:
    left = MAX_DIFF_LINES
    for hunk in hunks:
        lines = hunk.lines[:left]
        left -= len(lines)
        if not lines:
            break
        if hunk.new_start and not (hunk.new_start == 1 and hunk is hunks[0]):
            yield f'<div class="diff__place">Line {hunk.new_start}</div>'
        elif hunk is not hunks[0]:
            yield '<div class="diff__place">…</div>'
        yield from _hunk(lines, hunk, language)
    hidden = sum(len(hunk.lines) for hunk in hunks) - (MAX_DIFF_LINES - left)
    if hidden:
        yield f'<div class="diff__place">{hidden:,} more lines</div>'


def _hunk(lines: Sequence[diffs.Line], hunk: diffs.Hunk, language: str) -> Iterator[str]:
    old, new = _sides(lines, hunk, language)
    for is_same, group in groupby(lines, key=lambda line: line.sign == " "):
        run = list(group)
        if is_same:
            before, after = ("".join(islice(side, len(run))) for side in (old, new))
            yield (
                f'<div class="diff__same"><div class="diff__old" aria-hidden="true">{before}</div>'
                f'<div class="diff__new">{after}</div></div>'
            )
            continue
        removed = "".join(islice(old, sum(line.sign == "-" for line in run)))
        added = "".join(islice(new, sum(line.sign == "+" for line in run)))
        yield '<div class="diff__change">'
        yield f'<del class="diff__old">{removed}</del>' if removed else ""
        yield f'<ins class="diff__new">{added}</ins>' if added else ""
        yield "</div>"


def _sides(
    lines: Sequence[diffs.Line], hunk: diffs.Hunk, language: str
) -> tuple[Iterator[str], Iterator[str]]:
    """The lines before, and those after. What follows the last line that went is read once."""
    old, new = ([line for line in lines if line.sign != other] for other in "+-")
    after = highlighted([line.text.rstrip("\n") for line in new], language)
    same = [html for html, line in zip(after, new, strict=True) if line.sign == " "]
    read = max((n for n, line in enumerate(old, 1) if line.sign == "-"), default=0)
    before = highlighted([line.text.rstrip("\n") for line in old[:read]], language)
    before += same[len(same) - (len(old) - read) :]
    return _numbered(before, hunk.old_start), _numbered(after, hunk.new_start)


def _numbered(rows: Iterable[str], start: int | None) -> Iterator[str]:
    if not start:
        return (f"<span>{row}\n</span>" for row in rows)
    return (f'<span data-n="{n}">{row}\n</span>' for n, row in enumerate(rows, start))


def code(text: str, language: str = "") -> SafeString:
    """Source code, or data."""
    shown, _ = cut(text)
    lines = _visible(ESCAPES.sub("", shown)).split("\n")
    return _clean_ours(f'<pre class="code">{chr(10).join(highlighted(lines, language))}</pre>')


def plain(text: str, _detail: str = "") -> SafeString:
    """Text as it is, in a box."""
    shown, _ = cut(text)
    return _clean_ours(f"<pre>{escape(_visible(ESCAPES.sub('', shown)))}</pre>")


# --- A page of them ---------------------------------------------------------------------------

#: What one page renders, in characters of plain text; markdown and its like cost more.
PAGE_BUDGET = 1_500_000
#: Beyond it, characters of a part that are shown, and of all such parts together.
_TASTE, _TASTES = 1_000, 200_000
_CACHED_S = 3600
_CACHED_FROM = 200  # characters; to render fewer is quicker than to ask
_CACHED_TO = 500_000
_VERSION = 2  # to be raised when the same text becomes other HTML
Renderer = Callable[[str, str], SafeString]
_COSTS: dict[Renderer, int] = {markdown: 7, diff: 9, code: 8, terminal: 2, plain: 1}


@dataclass(frozen=True, slots=True)
class Part:
    """Text that a page is to show, and how. render: markdown, terminal, diff, code or plain;
    detail: what else it is to know, the path of a diff or the language of code."""

    render: Renderer
    text: str
    detail: str = ""

    @property
    def cost(self) -> int:
        lines = self.text.count("\n") * 40 if self.render is diff else 0  # each is an element
        return _COSTS[self.render] * min(len(self.text), MAX_CHARS) + lines

    @property
    def key(self) -> str:
        kind = f"{_VERSION}.{self.render.__name__}.{language_of(self.detail) or self.detail}"
        return f"markup.{digest(kind + chr(0) + self.text)}"


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
            html = str(part.render(part.text, part.detail))
            if key and len(html) <= _CACHED_TO:
                made[key] = html
        shown.append((mark_safe(html), is_cut))  # noqa: S308 - a renderer of this module made it
    if made:
        cache.set_many(made, _CACHED_S)
    return shown
