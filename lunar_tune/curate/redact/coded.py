# ruff: noqa: E501 (a rule is one line)
"""Secrets in code and commands where no assignment holds them: definitions, defaults, forms, SQL, pipes."""

from __future__ import annotations

import re
from collections.abc import Callable

from lunar_tune.curate.redact.rules import Rule, Spans, Spot
from lunar_tune.curate.redact.told import odd, strong
from lunar_tune.curate.secrets import key_kind, looks_secret, plausible_literal

_TELLING = r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|credential)"
_NAME = r"(?P<name>[\w.-]{0,40}(?i:" + _TELLING + r")[\w.-]{0,20})"
_QUOTED = r"[brf]?(?P<q>\"\"\"|'''|[\"'`])(?P<v>[^\"'`\n\x00]{4,200})(?P=q)"
_OTHERS = ("EMAIL", "PHONE", "IP_ADDRESS", "SESSION")  # kinds whose shapes tell


def _named(pattern: str) -> Callable[[str, int, int], Spans]:
    """Return what finds the value `v` of a pattern whose `name` tells of a secret."""
    compiled = re.compile(pattern)

    def find(text: str, begin: int, end: int) -> Spans:
        match = compiled.search(text, begin, min(len(text), end + 300))
        if match is None or match.start() >= end:
            return
        kind = key_kind(match["name"])
        if (
            kind is not None
            and kind not in _OTHERS
            and plausible_literal(match["v"], kind)
            and looks_secret(match["v"])
        ):
            yield kind, match.start("v"), match.end("v")

    return find


def _column(text: str, begin: int, end: int) -> Spans:
    """`INSERT INTO users (name, password) VALUES ('ann', '…')`."""
    head = _INSERT.match(text, begin)
    if head is None:
        return
    kinds = [key_kind(column.strip(" \t\n\"'`[]\\")) for column in head["columns"].split(",")]
    at = head.end()
    while (row := _ROW.match(text, at)) is not None:
        cells = list(_CELL.finditer(text, row.start("cells"), row.end("cells")))
        for kind, cell in zip(kinds, cells, strict=False):
            if kind is not None and kind not in _OTHERS and cell["v"] and plausible_literal(cell["v"], kind):
                yield kind, cell.start("v"), cell.end("v")
        at = row.end()


_INSERT = re.compile(r"(?i)INSERT\s+(?:OR\s+\w+\s+)?INTO\s+[^\s(]+\s*\((?P<columns>[^()\x00]{1,400})\)\s*VALUES\s*")
_ROW = re.compile(r"\s*,?\s*\((?P<cells>(?:'(?:''|[^'\x00])*'|\"[^\"\x00]*\"|[^()'\"\x00]|\([^()\x00]*\)){1,2000})\)")
_CELL = re.compile(r"[NE]?'(?P<v>(?:''|[^'\x00])*)'|\"[^\"\x00]*\"|[^,'\"\s](?:\([^()]*\)|[^,'\"(])*")


def _table(text: str, begin: int, end: int) -> Spans:
    """The columns of a table whose first line names them, as password managers write it (RFC 4180)."""
    first = text.rfind("\n", 0, begin + (text[begin] != "\n")) + 1
    head = text[first : text.find("\n", end - 1)]
    sign = max(",;\t", key=head.count)
    kinds = [key_kind(name.strip(' "\r')) for name in head.split(sign)]
    if len(kinds) < 2 or any(len(name) > 40 for name in head.split(sign)):
        return
    field = re.compile(
        rf'(?P<q>"?)(?P<v>(?<=")(?:""|[^"\x00])*|[^{sign}"\r\n\x00]*)(?P=q)(?P<sign>{sign}|\r?\n|\Z|(?=\x00))'
    )
    at, number = text.find("\n", end - 1) + 1, 0
    while at and at < len(text) and (match := field.match(text, at)) is not None and match.end() > at:
        kind = kinds[number] if number < len(kinds) else None
        if kind is not None and kind not in _OTHERS and plausible_literal(match["v"], kind):
            yield kind, match.start("v"), match.end("v")
        if match["sign"] != sign and number + 1 != len(kinds):
            return  # no row of this table
        number, at = (number + 1, match.end()) if match["sign"] == sign else (0, match.end())


def _piped(match: re.Match[str]) -> bool:
    return plausible_literal(match["v"]) and not match["v"].startswith(("-", "/", "~"))


def _typed(match: re.Match[str]) -> bool:
    return plausible_literal(match["v"]) and (looks_secret(match["v"]) or odd(match["v"]))


_VALUE = r"(?P<w>[\"']?)(?P<v>[^\s'\"\\$|;<>\x00]{4,}|(?<=[\"'])[^'\"\n\\$\x00]{4,}?)(?P=w)"
PIPED = [
    # what is written to a program that asks for a password, or to a file that is called one
    Rule("PASSWORD", r"\b(?:echo|printf)(?:\s+-\w+)*\s+(?P<w>[\"']?)(?:(?<=[\"' ])[a-z_][\w.-]*:)?(?P<v>[^\s'\"\\$|;<>\x00]{4,})(?:\\+n)?(?P=w)\s*\|\s*(?:sudo\s+)?(?:-\w+\s+)*(?:sudo\s[^\n|]*-\w*S|passwd|chpasswd|smbpasswd|cryptsetup|su\b|kinit|(?:docker|podman) secret|[^\n|\x00]{0,80}--(?:password|passphrase|token)-stdin|gh auth login --with-token)",
         r"\|\s*(?:-\w+\s+)*(?:sudo\s|passwd|chpasswd|smbpasswd|cryptsetup|su\b|kinit|docker|podman|gh\s|\w+ login)", _piped, place=r"(?:echo|printf)\s"),
    Rule("PASSWORD", r"\b(?:echo|printf)(?:\s+-\w+)*\s+" + _VALUE + r"\s*>>?\s*(?i:[^\s;|\x00]*" + _TELLING + ")", r"(?:echo|printf)[^\n\x00>|]*>\s*(?i:[^\s;|\x00]*" + _TELLING + ")", _typed),
    Rule("PASSWORD", r"\b(?:chpasswd|passwd|sudo\s+-\w*S[^\n\x00<]{0,60}|(?:read|pass\s+insert)\s[^\n\x00<]{0,60}(?i:" + _TELLING + r")[^\n\x00<]{0,20})\s*<<<\s*(?P<w>[\"']?)(?:(?<=[\"' ])[a-z_][\w.-]*:)?(?P<v>[^\s'\"\\$|;<>\x00]{4,})(?P=w)",
         r"(?:chpasswd|passwd|sudo|read|pass\s+insert)[^\n\x00<]*<<<", _piped),
    Rule("PASSWORD", r"(?i)(?:--name[ =][^\s\x00]*|secret(?:s)? set\s+\w*)" + _TELLING + r"\w*\s(?:[^\n|;\x00]*?\s)?(?:--value|--body|-b)[ =]" + _VALUE, r"(?i)(?:--name[ =]|secrets? set\s)[^\n|;\x00]*(?:--value|--body|-b)[ =]", _typed),
    Rule("PASSWORD", r"\b(?:security\s+add-(?:generic|internet)-password[^\n|;\x00]*?\s-w|net\s+user\s+[\w.-]+|wpa_passphrase\s+\S+|useradd\s[^\n|;\x00]*?-p|openssl\s[^\n|;\x00]*?\s-[kK]|keytool\s[^\n|;\x00]*?-(?:src|dest)?(?:store|key)pass)\s+" + _VALUE,
         r"(?:security\s+add-|net\s+user\s|wpa_passphrase\s|useradd\s|openssl\s|keytool\s)", _typed),
    Rule("PASSWORD", r"\bs(?P<d>[/|#,])[^\n\x00]{0,60}?(?i:" + _TELLING + r")\w*\s*[=:]\s*[^\n\x00]{0,40}?(?P=d)\W?(?i:\w*" + _TELLING + r")\w*\s*[=:]\s*[\"']?(?P<v>[^\s\"'/|#,\x00]{4,})[\"']?(?P=d)", r"(?i)sed[^\n\x00]*" + _TELLING, _typed),
    # what is about to be put in base 64
    Rule("PASSWORD", r"\b(?:echo|printf)(?:\s+-\w+)*\s+(?:[\"']%s(?:\\+n)?[\"']\s+)?[\"']?[\w.@+-]+:(?P<v>[^\s'\"|\\\x00]{3,})[\"']?\s*\|\s*(?:base64|openssl\s)", r"(?:echo|printf)\s[^\n\x00|]*:[^\n\x00|]*\|\s*(?:base64|openssl\s)", _piped),
    Rule("PASSWORD", r"(?i)\b(?:btoa|b64_?encode|base64_?encode|Buffer\.from|encodeToString|strict_encode64|encode64|Base64\.\w+|GetBytes)\(+\s*(?:b|\[\]byte\()?[\"'`][\w.@+-]+:(?P<v>[^\s\"'`\x00]{3,})[\"'`]", r"(?i)(?:btoa|b64_?encode|base64_?encode|Buffer\.from|encodeToString|encode64|Base64\.\w+|GetBytes)\(+\s*(?:b|\[\]byte\()?[\"'`]", _piped),
    # a form that is filled in
    Rule("PASSWORD", r"(?i)(?<=[#.\[=\"' _-])(?:pass(?:word|wd|phrase|code)?|pwd)\w*[\"'\]]{1,3}\s*(?:\)[\s.]*(?:\w+\([^()\"'\n\x00]{0,20}\)\.)?(?:type|send_?keys|fill|set_?value|press_?sequentially|set|enter_?text|input|clear_and_type)\(\s*|,\s*(?:with:\s*|text\s*[=:]\s*|value\s*[=:]\s*)?|(?:\s+[\w-]+=[\"'{][^\"'<>\n]{0,40}[\"'}]){0,4}\s+(?:default)?value=)[\"'](?P<v>[^\"'\n\x00]{4,})[\"']",
         r"(?i)(?:pass(?:word|wd|phrase|code)?|pwd)\w*[\"'\]]{1,3}\s*(?:\)[\s.]*\w+\(|,|[^\n\x00<>]*value=)[^\n\x00\"']*[\"']", _typed),
    # a login that is called with its parts, a default in braces
    Rule("PASSWORD", r"(?i)(?:credentials?|auth|log_?in|authenticate|sign_?in|connect(?:ion)?)\w*[\"']?\s*(?:=|:|\()\s*[(\[]?\s*(?:[\"'][\w.:/-]+[\"']\s*,\s*|[\w.]+\s*,\s*)??[\"'][\w.@+-]+[\"']\s*,\s*[\"'](?P<v>[^\"'\s\x00]{6,})[\"']\s*[)\],]",
         r"(?i)(?:credentials?|auth|log_?in|authenticate|sign_?in|connect(?:ion)?)\w*[\"']?\s*(?:=|:|\()\s*[(\[]?\s*(?:[\w.]+\s*,\s*)?[\"'][\w.@+:/-]+[\"']\s*,\s*[\"']", lambda m: strong(m["v"]) or odd(m["v"])),
    Rule("PASSWORD", r"CURLOPT_(?:PROXY)?USERPWD\s*,\s*[\"'][^:\"'\n]{1,80}:(?P<v>[^\"'\n\x00]{3,})[\"']", r"CURLOPT_(?:PROXY)?USERPWD", _piped),
    Rule("PASSWORD", r"\b(?:bcrypt\.\w+|generate_password_hash|authenticate|hash_?pw|password_hash|password_verify)\(\s*b?[\"'](?P<v>[^\"'\n\x00]{4,})[\"']", r"(?:bcrypt\.\w+|generate_password_hash|authenticate|hash_?pw|password_hash|password_verify)\(\s*b?[\"']", _typed),
    Rule("PASSWORD", r"\$\{[\w.]*(?i:" + _TELLING + r")\w*:[-=]?(?P<v>[^\s{}\x00]{4,})\}", r"\$\{[\w.]*(?i:" + _TELLING + r")\w*:", _typed),
]  # fmt: skip
_LITERAL = re.compile(r"[\"'`](?P<v>[^\"'`\s\x00]{6,100})[\"'`]")


def _commented(text: str, begin: int, end: int) -> Spans:
    """The text in quotes beside or below a comment that says that it is a secret."""
    name = re.search(_NAME, text[begin:end])
    kind = key_kind(name["name"]) if name is not None else None
    if kind is None or kind in _OTHERS:
        return
    first = text.rfind("\n", 0, begin) + 1
    last = text.find("\n", end)
    below = len(text) if last < 0 else text.find("\n", last + 1)
    beside = text[first:begin].strip() != ""
    place = (first, begin) if beside else (last, below if below >= 0 else len(text))
    found = [match for match in _LITERAL.finditer(text, *place) if strong(match["v"]) or odd(match["v"])]
    if place[0] >= 0 and len(found) == 1 and sum(c.isdigit() for c in found[0]["v"]) >= 2:
        yield kind, found[0].start("v"), found[0].end("v")


CODED = [
    Spot(r"(?i)(?:#|//|--|/\*|<!--)[ \t][^\n\x00\"'=]*" + _TELLING + r"\w*", _commented),
    Spot(r"(?i)" + _TELLING + r"\w*[\s({]+[\"']",
         _named(r"(?i:#\s*define|\bset|\bdef|\bconfig(?:\s+--\w+)*|\bdefaults write \S+|\bsetenv|string)\s+" + _NAME + r"\s*[\s({]\s*" + _QUOTED), place=r"(?i)(?:#\s*define|\bset|\bdef|\bconfig|\bdefaults write|string)\s"),
    Spot(r"(?i)[\"'](?:--)?[\w-]*" + _TELLING + r"\w*[\"']\s*,[^()\n\x00]*\bdefault\s*[=:]\s*[\"']", _named(r"[\"'](?:--)?" + _NAME + r"[\"']\s*,[^()\n\x00]{0,60}?\bdefault\s*[=:]\s*" + _QUOTED)),
    Spot(r"(?i)[\"'][\w-]*" + _TELLING + r"\w*[\"']\s*\{[^{}\x00]*\b(?:default|value)\s*=\s*[\"']", _named(r"[\"']" + _NAME + r"[\"']\s*\{[^{}\x00]{0,120}?\b(?:default|value)\s*=\s*" + _QUOTED)),
    Spot(r"(?i)" + _TELLING + r"\w*(?:</key>|\"[^<>\n\x00]*>)\s*<(?:string|value)>", _named(_NAME + r"(?:</key>|\"[^<>\n\x00]{0,60}>)\s*<(?:string|value)>(?P<v>[^<>\n\x00]{4,200})</"), place=r"(?i)[\w.-]*" + _TELLING),
    Spot(r"(?i)(?:^|[,;\t\"\n])(?:" + _TELLING + r"|passwort|clave|mot de passe)\"?(?:[,;\t][^\n\x00]*)?\r?\n", _table),
    Spot(r"(?i)INSERT\s+(?:OR\s+\w+\s+)?INTO\s+[^\s(]+\s*\([^()\x00]*" + _TELLING, _column),
]  # fmt: skip
