"""Secrets in conversations with agents: where they are, and what a reader is told instead.

Text in memory in, findings out. Kingfisher matches some five hundred published rules, and ours
beside them, in time that grows with the text alone (F7), and is asked for nothing that uses the
network. See docs/decisions/0014-masked-public-shares.md.
"""

import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import ESCAPES

if TYPE_CHECKING:
    import kingfisher_sdk

#: The folder of the compiled rules, in the data directory.
COMPILED = "secret-rules"
_RULES = Path(__file__).with_name("secret_rules.yml")
#: What was scanned by another version is scanned again. The number is to be raised with our rules.
VERSION = f"{version('kingfisher-secret-scanner')}-2"
_MAX_NESTED = 8
_BETWEEN = "\n\n\x00\n\n"  # between two strings: no rule reaches over it
_MADE_UP = "\x02"  # begins a line that is nowhere: the name of a value says what the value is
_TELLING = re.compile(r"(?i)pass|pwd|secret|token|key|auth|cred|cookie|session")
_KEYED = 512  # longer values are found by their own shape, not by their name


@dataclass(frozen=True, slots=True)
class Needle:
    """Text that is not to show. before, after: what it has to stand between; a word such as
    ``sunshine`` is a password in one place and a word in all others."""

    text: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """kind: for people, such as ``GitHub token``. needles: first the one by which it is known to be
    the same secret again, then others that must not show: of a private key each line."""

    kind: str
    needles: tuple[Needle, ...]


@lru_cache(maxsize=1)
def _rules() -> "kingfisher_sdk.Rules":
    import kingfisher_sdk  # 10 MB, which processes that scan nothing do without

    # Compiling takes a processor for many seconds, and reading what was compiled a fraction of one:
    # of several processes one compiles, the others wait for what it made.
    folder = settings.ROOCLOUD_DATA_DIR / COMPILED
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return kingfisher_sdk.Rules([_RULES], confidence="low", cache_dir=folder)


@lru_cache(maxsize=1)
def _scanner() -> "kingfisher_sdk.Scanner":
    import kingfisher_sdk

    return kingfisher_sdk.Scanner(_rules(), base64=False)


def prepare() -> None:
    """Load the rules, which takes seconds once: not within a transaction."""
    _scanner()


def is_prepared() -> bool:
    """Whether the rules are loaded."""
    return _scanner.cache_info().currsize > 0


def find(document: Any) -> list[Secret]:
    """The secrets in all strings of a message, JSON inside of strings included, each once.

    document: as roocloud.lib.wire.loads gives it.
    """
    text = _BETWEEN.join(["", *_strings(document, 0), ""])
    found: dict[Needle, tuple[int, Secret]] = {}
    for source, spread in _spreads(text):
        for start, end, rule_id in _matches(spread):
            secret = _secret(source, start, end, rule_id)
            if secret is None:
                continue
            # A published rule knows whose key it is.
            rank = int(rule_id.startswith("custom.") or rule_id in _VAGUE)
            known = found.get(secret.needles[0])
            if known is None or rank < known[0]:
                found[secret.needles[0]] = rank, secret
    return [secret for _, secret in found.values()]


def parsed(text: str) -> Any | None:
    """The object or list that a string holds as JSON, the way clients nest them; None if none."""
    if text[:1] not in ("{", "["):
        return None
    try:
        value = wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return None
    return value if isinstance(value, dict | list) else None


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        inner = parsed(value) if depth < _MAX_NESTED else None
        if inner is None:
            yield value
        else:
            yield from _strings(inner, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item, depth)
            if isinstance(item, str) and len(item) <= _KEYED and _TELLING.search(key):
                yield f'{_MADE_UP}"{key}": "{item}"'


_SOFT = str.maketrans(dict.fromkeys(",()*<>[]{}|", " "))
_LOOSE = re.compile(r"\\[nrt]|\.(?=[\s\"'\x00]|$)")


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _spreads(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a text and what is matched of it, equal in length.

    Many rules know no other neighbours of a token than blanks and quotes, so the text is matched
    again with blanks for what surrounds tokens in prose, code and terminals; and without escapes,
    for a colour may begin within a token.
    """
    yield text, text
    soft = ESCAPES.sub(_blank, text) if "\x1b" in text else text
    yield text, _LOOSE.sub(_blank, soft.translate(_SOFT))
    if "\x1b" in text:
        bare = ESCAPES.sub("", text)
        yield bare, bare


_CONTINUATION = bytes(range(0x80, 0xC0))  # of UTF-8: bytes that begin no character


def _matches(text: str) -> list[tuple[int, int, str]]:
    """From where to where, in characters, and by which rule."""
    data = text.encode("utf-8", "replace")
    spans = [
        (finding.location["start_offset"], finding.location["end_offset"], finding.rule_id)
        for finding in _scanner().scan(data)
        if finding.visible
    ]
    if len(data) == len(text):
        return spans
    places: dict[int, int] = {}
    at = count = 0
    for offset in sorted({offset for start, end, _ in spans for offset in (start, end)}):
        count += len(data[at:offset].translate(None, _CONTINUATION))
        at, places[offset] = offset, count
    return [(places[start], places[end], rule_id) for start, end, rule_id in spans]


_KEY_LINE = re.compile(r"[A-Za-z0-9+/=]{24,}")
_MAX_LINES = 60  # of a private key; one of 4,096 bits has 50
#: What examples and templates put where a secret goes, and the passwords of every test database.
_PLACEHOLDER = re.compile(
    r"""(?ix) ^(?: (?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|key|user(?:name)?
    |postgres|mysql|root|admin|guest|test|testing|example|sample|dummy|default|changeme|change[_-]me
    |change[_-]this|placeholder|redacted|hidden|none|null|nil|true|false|undefined|string|str|bytes
    |required|optional|development|production|localhost)\d{0,3} | [x*.#•_-]+ | (.)\1* )$
    | ^(?:your|my|some|the|enter|insert|replace)[_-] | [_-]here$ | … | \.\.\. | x{4} | \*{3}
    | ^[<{\[$%] | \$\{ | \{\{ | ^process\.env | ^os\.(?:environ|getenv) | ^\[masked"""
)
_CODE = re.compile(
    r"[A-Za-z_]+(?:(?:\.|::|->)[A-Za-z_]+)+|/?(?:[a-z_.-]+/)+[a-z_.-]*|[A-Z]+(?:_[A-Z]+)+"
)
#: What sentences say of a password that is none: how it is kept, how long it is.
_OF_PASSWORDS = re.compile(
    r"(?i)(?:sha|md|base|utf|pbkdf|argon|aes|rsa|hmac|rfc|iso|oauth|b?crypt|scrypt)[-_]?\d"
    r"|\d+-\w|https?://|[\w.-]*/|[\w.]+\(|[a-z_]+(?:\.[a-z_]\w*)+$"
)
_WORD = re.compile(r"[A-Za-z]?[a-z]{1,15}|[A-Z]{1,16}")
#: What says of a word that it is a password: ``db: "``, ``PASSWORD=``, ``postgres://app:``.
_CONTEXT = re.compile(
    r"""(?:[\w.-]{1,60}["'`]?\s{0,4}[:=]{1,3}\s{0,4}\w?["'`]|[^\s\x00"'`]{1,80})$"""
)
_SHORTEST_WORD = 8  # that is hidden everywhere


def _secret(text: str, start: int, end: int, rule_id: str) -> Secret | None:
    value = text[start:end]
    kind = _kind(rule_id)
    if "PRIVATE KEY" in value:
        lines = list(dict.fromkeys(_KEY_LINE.findall(value)))[:_MAX_LINES]
        return Secret(kind, tuple(map(Needle, [*lines, value])))
    if len(value) < _SHORTEST or _PLACEHOLDER.search(value):
        return None
    if rule_id.startswith("custom.") and _CODE.fullmatch(value):
        return None
    if rule_id == "custom.password-told" and _OF_PASSWORDS.match(value):
        return None
    if _WORD.fullmatch(value):
        line = re.split(r"[\n\x00]", text[max(0, start - 150) : start])[-1]
        if _MADE_UP not in line:
            context = _CONTEXT.search(line)
            after = text[end : end + 1].strip("\x00 \n")
            return Secret(kind, (Needle(value, context[0], after),)) if context else None
        if len(value) < _SHORTEST_WORD:
            return None
    return Secret(kind, (Needle(value),))


_SHORTEST = 4
_BRANDS = {
    "ai": "AI", "api": "API", "aws": "AWS", "cicd": "CI/CD", "circleci": "CircleCI",
    "clickhouse": "ClickHouse", "deepseek": "DeepSeek", "digitalocean": "DigitalOcean",
    "dockerhub": "Docker Hub", "elevenlabs": "ElevenLabs", "gcp": "Google", "github": "GitHub",
    "gitlab": "GitLab", "hashicorp": "HashiCorp", "huggingface": "Hugging Face", "ibm": "IBM",
    "id": "ID", "jwt": "JSON web token", "langchain": "LangChain", "mongodb": "MongoDB",
    "npm": "npm", "nvidia": "NVIDIA", "oauth": "OAuth", "openai": "OpenAI",
    "openrouter": "OpenRouter", "pat": "token", "posthog": "PostHog", "pypi": "PyPI",
    "sendgrid": "SendGrid", "uri": "URI", "url": "URL", "xai": "xAI",
}  # fmt: skip
_RENAMED = {
    "bitbucketcredentials": "password",
    "cloudflareapitoken": "Cloudflare API token",
    "codecatalystcredentials": "password",
    "codecommitcredentials": "password",
    "curl-auth-header": "authorization header",
    "curl-auth-user": "password",
    "digitaloceanapikey": "DigitalOcean API key",
    "generic-credential-uri": "password",
    "grokxaiapikey": "xAI API key",
    "herokuplatformkey": "Heroku API key",
    "kimi-api-key": "API key",
    "mongodb-connection-string": "connection string",
    "npmjsaccesstoken": "npm token",
    "openrouter": "OpenRouter API key",
    "private-key": "private key",
    "sendgrid": "SendGrid API key",
}
_VAGUE = {"betterleaks.kimi-api-key"}  # its shape is that of many providers' keys
_RULE_ID = re.compile(r"^(?:betterleaks\.|veles\.secrets/)(.*?)(?:\.\d+)?$")


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    return {rule["id"]: rule["name"] for rule in _rules().metadata()}


@lru_cache(maxsize=1000)
def _kind(rule_id: str) -> str:
    """``GitHub token`` for ``betterleaks.github-pat``; the name of a rule of ours."""
    published = _RULE_ID.match(rule_id)
    if published is None:
        return _names()[rule_id]
    name = published[1]
    if name in _RENAMED:
        return _RENAMED[name]
    first, *others = name.split("-")
    words = [_BRANDS.get(first, first.capitalize())]
    return " ".join(words + [_BRANDS.get(word, word) for word in others])[:60]
