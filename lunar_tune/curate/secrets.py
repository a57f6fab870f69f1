"""What a secret looks like: by its own shape, by what is said before it, by the JSON key that holds it.

Pure functions over text. Shapes are those that issuers document (prefixes, lengths); everything else needs a key name
or an assignment beside it, so that dates, order numbers, hashes and ordinary code stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PEM = r"[A-Z0-9 ]{0,40}PRIVATE KEY[ A-Z]{0,20}--"
# kind, pattern; the secret is the group `v`, or the whole match. Earlier patterns win where two overlap.
_SHAPES: Final[tuple[tuple[str, str], ...]] = (
    ("PRIVATE_KEY", rf"-----BEGIN {_PEM}.*?(?:-----END {_PEM}-*|\Z)"),
    ("PRIVATE_KEY", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
    ("TOKEN", r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){1,3}"),
    ("API_KEY", r"\b(?:sk|rk|pk)-(?=[\w-]{0,40}\d)[\w-]{16,}"),
    ("API_KEY", r"\b(?:sk|rk|pk|whsec)_(?:(?:live|test)_)?(?=\w{0,40}\d)[A-Za-z0-9]{16,}\b"),
    ("TOKEN", r"\b(?:gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,})"),
    ("TOKEN", r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,})"),
    ("TOKEN", r"\b(?:hf|gsk|xai|r8|dop_v1|shp(?:at|ss|ca)|tvly|nvapi|pplx)[_-](?=[\w-]{0,40}\d)[\w-]{16,}"),
    ("TOKEN", r"\b(?:xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|ya29\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,})"),
    ("TOKEN", r"https://hooks\.slack\.com/(?:services|workflows)/(?P<v>[\w/]{20,})"),
    ("TOKEN", r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"),
    ("API_KEY", r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{12,20}\b"),
    ("API_KEY", r"\bAIza[\w-]{35,}"),
    ("URL_CREDENTIALS", r"\b[a-z][a-z0-9+.-]{1,30}://(?P<v>[^\s/@:'\"<>]*:[^\s/@'\"<>]+)@"),
    ("TOKEN", r"(?i:\bbearer\s+)(?=\S{0,40}\d)(?P<v>[\w.~+/=-]{12,}[\w~+/=-])"),
    ("TOKEN", r"(?i:\bauthorization['\"]?\s*[:=]\s*['\"]?(?:basic|token|digest)\s+)(?P<v>[\w.~+/=-]{8,})"),
    ("EMAIL", r"(?<![\w.+/:%-])(?!git@)[\w.+%-]{1,64}@(?!\dx\.)(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}\b(?!:\S+\.git\b)"),
    ("PHONE", r"(?<![\w+.])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}(?![\w-]|\.\d)"),
    ("PHONE", r"(?<![\w.+/:-])(?:1[ .-])?\(?[2-9]?\d{2}\)?(?P<s>[ .-])\d{3}(?P=s)\d{4}(?![\w-]|\.\d)"),
    ("PHONE", r"(?<![\w.+/:-])\(\d{3}\) ?\d{3}[ .-]\d{4}(?![\w-]|\.\d)"),
    ("PHONE", r"(?<![\w.,+/:-])0[1-9]\d{1,3}[ /-]\d{3,4}[ -]?\d{3,5}(?![\w-]|[.,]\d)"),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _SHAPES)

_WORDS = {
    "PASSWORD": r"pass(?:word|wd|phrase|code)|pwd|kennwort|passwort|pin(?:[ _-]?(?:code|number))?",
    "API_KEY": r"api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?(?:access[_-]?)?key|account[_-]?key",
    "SECRET": r"(?:client[_-]?)?secret|private[_-]?key|credentials?",
    "TOKEN": r"(?:access|auth|refresh|session|bearer|csrf|id|bot|deploy|api|personal)[_-]?token|token",
    "CODE": r"verification[ _-]?code|security[ _-]?code|one[ _-]?time[ _-]?(?:code|password)|otp|cvv2?|cvc",
}
_NAMED = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _WORDS.items())
_ASSIGNED = re.compile(
    rf"(?i)(?<![a-z0-9])(?:[a-z0-9]{{1,30}}[_-]){{0,4}}(?:{_NAMED})(?![a-z0-9])['\"]?\]?\s*(?P<op>:=|=>|[:=])\s*"
    r"(?:(?P<q>['\"`])(?P<quoted>(?:(?!(?P=q))[^\\\n]|\\.)+)(?P=q)|(?P<bare>[^\s'\"`,;&<>(){}\[\]|]+))"
)
_TOLD = re.compile(
    rf"(?i)\b(?:{_NAMED})\b(?:\s+(?:for|of|on|at)\s+(?:\S+\s+){{1,4}}?|\s+(?:here|now|currently)){{0,1}}\s+"
    r"(?:is now|is set to|is|was|should be|as|to be|to)\s*"
    r"(?:[\"'`“](?P<quoted>[^\"'`”\n]+)[\"'`”]|(?P<bare>[^\s(){}\[\]<>]+))"
)
# What a text must hold for a kind to be looked for: most texts hold none of it, and one look is enough.
_NEEDED = {
    "PRIVATE_KEY": re.compile("KEY"),
    "URL_CREDENTIALS": re.compile("://"),
    "EMAIL": re.compile("@"),
    "PHONE": re.compile(r"\d\d"),
    "API_KEY": re.compile(r"[\w-]{16}"),
    "TOKEN": re.compile(r"[\w.~+/=-]{8}"),
}
_WORDED = re.compile(r"(?i)pass|pwd|kennwort|pin|key|secret|credential|token|code|otp|cv")
_TRAILING = ".,;:!?)]}\"'`”"

_KEY_KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("PASSWORD", re.compile(r"pass(word|wd|phrase|code)s?$|pwd$|passwort$|kennwort$|^pin$|pin_?code$")),
    ("API_KEY", re.compile(r"(api|access|secret|account|license|encryption|signing)_?key(_id)?$")),
    ("CODE", re.compile(r"(verification|security|auth|mfa|2fa)_?code$|^otp$|^cvv2?$|^cvc$")),
    ("SECRET", re.compile(r"secret(_value)?$|private_?key$|^credentials?$|^cookies?$|^authorization$|^auth_?header$")),
    ("TOKEN", re.compile(r"token$|^bearer$|^jwt$")),
    ("EMAIL", re.compile(r"e_?mail(_?address)?(es)?$")),
    ("PHONE", re.compile(r"(phone|mobile|fax|telephone|cell)(_?(number|no|nr))?s?$|^(tel|msisdn)$")),
)  # fmt: skip
_HARMLESS_KEY = re.compile(r"(page|cursor|continuation|continue|next|sync|eos|bos|pad|unk|mask|stop|special)_?token$")
_CAMEL_CASE = re.compile(r"[a-z]*(?:[A-Z][a-z]+)*[A-Z]?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STAND_IN = re.compile(r"^[$%{<]|^[*x.•]+$|^(?:your|my|some)[_-]|[_-]here$|^(?-i:[A-Z]+(?:_[A-Z]+)+)$", re.IGNORECASE)
PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")


def shapes(text: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, secret) for everything in a text that looks like a secret, in no particular order.

    Assignments and statements ("password=…", "my password is …") count only when the value could be one: a quoted
    literal, or something with digits or signs that is no expression.
    """
    taken: list[tuple[int, int]] = []
    possible = {kind: needed.search(text) is not None for kind, needed in _NEEDED.items()}
    for kind, pattern in _COMPILED:
        if not possible[kind]:
            continue
        for match in pattern.finditer(text):
            begin, end = match.span("v") if "v" in pattern.groupindex else match.span()
            if any(begin < b and a < end for a, b in taken):
                continue
            if kind == "PHONE" and not _dialled(match[0]):
                continue
            taken.append((begin, end))
            yield kind, text[begin:end]
    if _WORDED.search(text):
        yield from _stated(text)


def _dialled(number: str) -> bool:
    """Tell whether so many digits make a telephone number (E.164: at most 15); bare ones need more to be believed."""
    return (8 if re.search(r"[ .()/-]", number) else 10) <= sum(c.isdigit() for c in number) <= 15


def _stated(text: str) -> Iterator[tuple[str, str]]:
    for match in _ASSIGNED.finditer(text):
        if match["quoted"] is not None:
            if plausible_literal(match["quoted"]):
                yield _kind(match), match["quoted"]
        elif looks_secret(value := match["bare"].rstrip(_TRAILING), loose=_is_certain(match, text)):
            yield _kind(match), value
    for match in _TOLD.finditer(text):
        value = match["quoted"] if match["quoted"] is not None else match["bare"].strip("\"'`“”(").rstrip(_TRAILING)
        if looks_secret(value) or (match["quoted"] is not None and plausible_literal(value)):
            yield _kind(match), value


def _kind(match: re.Match[str]) -> str:
    return next(kind for kind in _WORDS if match[kind] is not None)


def _is_certain(match: re.Match[str], text: str) -> bool:
    """Tell whether an assignment needs no look at its value: NAME=value without spaces, and no argument of a call."""
    name, after = text[match.start() : match.start("op")], text[match.end() : match.end() + 1]
    tight = match["op"] == "=" and not name.endswith(" ") and match.end("op") == match.start("bare")
    return tight and (
        name.isupper() or (after not in ("(", ")", ",", "[") and "." not in match["bare"].rstrip(_TRAILING))
    )


def plausible_literal(value: str) -> bool:
    """Tell whether a quoted value could be a secret: no template, no sentence, no mere word for one."""
    if len(value) < 3 or " " in value.strip() or PLACEHOLDER.search(value):
        return False
    return value.casefold() not in ORDINARY and not _STAND_IN.search(value)


def looks_secret(value: str, *, loose: bool = False) -> bool:
    """Tell whether an unquoted value could be a secret: not an expression, a type, a number of things or a word."""
    if len(value) < 4 or PLACEHOLDER.search(value) or re.match(r"[$%{<*]", value) or value.casefold() in ORDINARY:
        return False
    if loose:
        return True
    digits, letters = any(c.isdigit() for c in value), any(c.isalpha() for c in value)
    if re.fullmatch(r"(?:\w*[a-zA-Z_]\w*\.)+[a-zA-Z_]\w*", value):  # os.environ.TOKEN, config.password
        return False
    if digits and not letters:
        return len(value) >= 4 and value.isdigit()
    signs = any(not (c.isalnum() or c in "_.:/-") for c in value)
    mixed = any(c.islower() for c in value) and any(c.isupper() for c in value[1:])
    return len(value) >= 6 and (digits or signs or (mixed and not _CAMEL_CASE.fullmatch(value)))


# fmt: off
ORDINARY = frozenset((
    "none", "null", "true", "false", "nil", "undefined", "string", "str", "text", "bytes", "required", "optional",
    "password", "passwd", "secret", "token", "key", "value", "hidden", "redacted", "unknown", "missing", "invalid",
    "empty", "default", "example", "test", "changeme", "your-password",
))
# fmt: on


def key_kind(key: str) -> str | None:
    """Return the kind of secret that a JSON key of this name holds, None for an ordinary key."""
    name = re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", key).lower()).strip("_")
    if _HARMLESS_KEY.search(name):
        return None
    return next((kind for kind, pattern in _KEY_KINDS if pattern.search(name)), None)


def keyed_value(kind: str, value: str) -> bool:
    """Tell whether a text under a key of this kind is what the key promises."""
    if not value.strip() or PLACEHOLDER.fullmatch(value) or value.casefold() in ("none", "null", "true", "false"):
        return False
    if kind == "EMAIL":
        return "@" in value
    if kind == "PHONE":
        return sum(c.isdigit() for c in value) >= 6
    if kind == "TOKEN":
        return " " not in value.strip()
    return True
