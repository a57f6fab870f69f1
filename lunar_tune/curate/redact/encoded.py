# ruff: noqa: E501 (a rule is one line)
"""Credentials in base 64: `user:password` (RFC 7617), SASL PLAIN (RFC 4616), Docker's logins, Kubernetes' Secrets.

What is decoded must itself be a login, a key or an address with a password: chance does not make one.
"""

from __future__ import annotations

import base64
import binascii
import re

from lunar_tune.curate.redact.rules import Rule, Spans, Spot
from lunar_tune.curate.redact.told import odd, strong

_TOKEN = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{8,}={0,2}(?![A-Za-z0-9+=])")
_LOGIN = re.compile(
    r"[^\x00-\x20:\"'<>(){}\x7f]{1,80}:[^\x00-\x20\x7f]{3,100}"
    r"|[^\x00-\x1f]{0,80}\x00[^\x00-\x1f]{1,80}\x00[^\x00-\x1f]{3,100}"
)
# an address, a time, the cursor of a page, the id of an object
_NUMBERED = re.compile(r"(?i)\w+://[^@]*$|[\d:.]+$|\w+:(?:\d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
_HOLDS = re.compile(
    r"(?i)[\"'](?:auths?|\w*password|passwd|\w*secret|\w*token|api_?key|private_?key)[\"']\s*:|[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@|-----BEGIN [A-Z ]*PRIVATE KEY|^\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*\s*[:=]\s*\S"
)
_BESIDE = re.compile(r"(?i)base-?64|b64|atob|pass(?:word|wd|phrase)|secret")
_WORDS = r"base-?64|b64|btoa|atob|encod|decod|basic|plain|auth|cred|docker(?:cfg|config)|user:pass|log ?in|kubeconfig"


def decoded(text: str) -> str | None:
    """Return what a text in base 64 stands for, None where that is no text in UTF-8."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _credentials(text: str, begin: int, end: int) -> Spans:
    """A login in base 64, on a line with a word for it."""
    token = _TOKEN.match(text, begin + (not (text[begin].isalnum() or text[begin] in "+/")))
    if token is None:
        return
    value = token[0]
    while (plain := decoded(value)) is None and "/" in value:  # a part of a path
        value = value.rpartition("/")[0]
    at = token.start()
    if plain is None or _NUMBERED.match(plain):
        return
    beside = len(value) % 4 == 0 and _BESIDE.search(text, max(0, at - 60), at + len(value) + 24)
    if _LOGIN.fullmatch(plain) or _HOLDS.search(plain) or (beside and _alone(plain)):
        yield "SECRET", at, at + len(value)


def _alone(plain: str) -> bool:
    """Tell whether a text that was in base 64 may be a password by itself."""
    return plain.isascii() and plain.isprintable() and " " not in plain and (odd(plain) or strong(plain))


def key_in_base64(match: re.Match[str]) -> bool:
    """Tell whether base 64 that begins as a PEM block or an object of JSON does is that of a secret."""
    plain = decoded(match[0].rstrip("="))
    return plain is not None and _HOLDS.search(plain) is not None


_DATA = re.compile(r"(?<![A-Za-z0-9.])\\*[\"']?data\\*[\"']?\s*:\s*?(?=\s|\\|\{)\s*\{?")
_ENTRY = re.compile(
    r"(?:,|\\+[nrt]|(?P<line>\n|\\+n)(?P<indent>[ \t]*)|\s)*\\*[\"']?(?P<name>[\w.-]{1,253})\\*[\"']?\s*:\s*(?:\\*[\"'])?(?P<v>[A-Za-z0-9+/]{4,}={0,2})(?:\\*[\"'])?(?=[\s,}]|\\|$)"
)
_MANIFEST = 3000  # characters before and after its kind in which the data of a Secret is looked for


def _secret(text: str, begin: int, end: int) -> Spans:
    """The values under `data` of a Kubernetes Secret, whose kind stands before or after them."""
    first = max(text.rfind(mark, max(0, begin - _MANIFEST), begin) for mark in ("\x00", "\n---", "\\n---"))
    last = min((at for mark in ("\x00", "\n---", "\\n---") if (at := text.find(mark, end)) >= 0), default=len(text))
    for data in _DATA.finditer(text, max(first, begin - _MANIFEST, 0), min(last, end + _MANIFEST)):
        at, indent = data.end(), None
        while (entry := _ENTRY.match(text, at)) is not None:
            if entry["line"] is not None:
                if indent is not None and len(entry["indent"]) < indent:
                    break
                indent = len(entry["indent"])
            if decoded(entry["v"]) is not None:
                yield "SECRET", entry.start("v"), entry.end("v")
            at = entry.end()


KEYS = [
    Rule("PRIVATE_KEY", r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}={0,2}", "LS0tLS1CRUdJTi", key_in_base64),
    Rule("SECRET", r"(?<![\w.])(?:ewog|ewoJ|eyAi|eyJ0eXBl|eyJhdXRocyI6)[A-Za-z0-9+/]{20,}={0,2}(?![\w.])", r"(?:ewog|ewoJ|eyAi|eyJ0eXBl|eyJhdXRocyI6)[A-Za-z0-9]{4}", key_in_base64),
]  # fmt: skip
ENCODED = [
    Spot(rf"(?i)(?:(?:{_WORDS})[^\n\x00]*[^A-Za-z0-9+/][A-Za-z0-9+/]{{8}}|[A-Za-z0-9+/]{{8}}={{0,2}}['\"]?\s*\|\s*(?:base64|openssl))", _credentials, place=r"(?:^|[^A-Za-z0-9+/])[A-Za-z0-9+/]{8,}"),
    Spot(r"kind\\*[\"']?\s*:\s*\\*[\"']?Secret\b", _secret),
]  # fmt: skip
