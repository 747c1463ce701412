"""Source code as lines of HTML with classes for its tokens. Bounded, whatever the code (F7)."""

from collections.abc import Iterator
from functools import lru_cache
from html import escape

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType

#: Highlighters whose work grows with the text alone. Those of java, perl, hcl and make do not.
LANGUAGES = {
    "bash", "c", "cpp", "csharp", "css", "diff", "dockerfile", "go", "graphql", "html",
    "javascript", "js", "json", "jsx", "kotlin", "lua", "markdown", "md", "php", "powershell", "py",
    "python", "python3", "rb", "rs", "ruby", "rust", "scala", "scss", "sh", "shell", "sql", "swift",
    "toml", "ts", "tsx", "typescript", "vue", "xml", "yaml", "yml", "zsh",
}  # fmt: skip
_BY_ENDING = {
    "cc": "cpp", "cjs": "js", "cs": "csharp", "cxx": "cpp", "h": "c", "hpp": "cpp", "htm": "html",
    "jsonc": "json", "kt": "kotlin", "mjs": "js", "mts": "ts", "ps1": "powershell", "pyi": "py",
    "svg": "xml", "webmanifest": "json",
}  # fmt: skip
#: Characters that one call of a highlighter is given, and all calls for one text together.
MAX_CHUNK, MAX_CHARS = 4_000, 40_000
_MAX_LINE = 300
_CLASSES = {
    Token.Keyword: "k",
    Token.Keyword.Constant: "m",
    Token.Operator.Word: "k",
    Token.Name.Tag: "k",
    Token.Name.Function: "f",
    Token.Name.Class: "f",
    Token.Name.Builtin: "b",
    Token.Name.Decorator: "b",
    Token.Name.Attribute: "b",
    Token.Literal.String: "s",
    Token.Literal.Number: "m",
    Token.Comment: "c",
    Token.Generic.Inserted: "i",
    Token.Generic.Deleted: "d",
}


def language_of(path: str) -> str:
    """The language of a file by its name; empty if it is not one that is highlighted."""
    name = path.rpartition("/")[2].lower()
    ending = name.rpartition(".")[2]
    language = _BY_ENDING.get(ending, ending)
    return language if language in LANGUAGES else ""


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


@lru_cache(maxsize=256)
def _class(token: _TokenType) -> str:
    for type_ in reversed(token.split()):
        if type_ in _CLASSES:
            return _CLASSES[type_]
    return ""


def highlighted(lines: list[str], language: str) -> list[str]:
    """HTML of each line; lines have no newline. Beyond the bounds, and in an unknown language, they
    are escaped and nothing else."""
    if language not in LANGUAGES:
        return [escape(line) for line in lines]
    shown: list[str] = []
    for chunk in _chunks(lines):
        is_readable = chunk and all(len(line) <= _MAX_LINE for line in chunk)
        html = _highlighted(chunk, language) if is_readable else []
        # A highlighter that loses a line would shift all others.
        shown += html if len(html) == len(chunk) else map(escape, chunk)
    return shown + [escape(line) for line in lines[len(shown) :]]


def _chunks(lines: list[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = total = 0
    for line in lines:
        if chunk and size + len(line) > MAX_CHUNK:
            yield chunk
            chunk, size = [], 0
        total += len(line) + 1
        if total > MAX_CHARS:
            break
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield chunk


def _highlighted(lines: list[str], language: str) -> list[str]:
    pieces: list[str] = []
    run, last = "", ""
    for _, token, text in tokens("\n".join(lines), language):
        name = _class(token)
        if name == last:
            run += text
            continue
        pieces.append(_marked(run, last))
        run, last = text, name
    pieces.append(_marked(run, last))
    return "".join(pieces).split("\n")


def _marked(text: str, name: str) -> str:
    """With its class around what is of it in each line."""
    html = escape(text, quote=False)
    if not name or text.isspace():
        return html
    if "\n" not in html:
        return f'<span class="{name}">{html}</span>'
    return "\n".join(
        f'<span class="{name}">{line}</span>' if line.strip() else line for line in html.split("\n")
    )


def tokens(code: str, language: str) -> Iterator[tuple[int, _TokenType, str]]:
    """What the highlighter's library makes of some code: where it is, what it is, the text."""
    return iter(_lexer(language).get_tokens_unprocessed(code))
