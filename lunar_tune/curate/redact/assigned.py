# ruff: noqa: E501 (a rule is one line)
"""Secrets in assignments of any notation: env, YAML, JSON (escaped too), code, queries, headers, XML, options, cookies.

A hint finds the telling part of a name; the whole name says the kind (`curate.secrets.key_kind`), and the value must be
able to be a secret.
"""

from __future__ import annotations

import re

from lunar_tune.curate.redact.rules import Spans, Spot
from lunar_tune.curate.secrets import key_kind, keyed_value, looks_secret, plausible_literal

# over Latin-1: a sign beyond it is a `?`
_STEMS = (
    "pass(?:word|wort|wd|phrase|code|w)|passwd|[a-z_]pass|pwd|pswd|psw|psk|kennwort|contrase.a|senha|mot[ _-]?de[ _-]?passe|wachtwoord|has.o|l.senord|adgangskode|salasana|parola|"
    "secret|token(?:[a-rt-z0-9_.-]|\\b)|api[ _-]?key|[_-]key|[a-z]key|auth(?:[^o]|\\b)|credential|creds|cookie|sess(?:ion)?[ _-]?id|sessid|connect\\.sid|\\bsid|jwt|bearer|\\bpin\\b|pin[ _-]?(?:code|number)|otp|mnemonic|"
    "seed[ _-]?(?:phrase|words)|recovery|signature|conn(?:ection)?[ _-]?str|[ _-]key|pepper|csrf|xsrf|e-?mail|phone|ssn|passport|iban|account[ _-]?(?:number|no|num)|"
    "(?:verification|security|auth|mfa|2fa|sms|totp|login|confirmation|access|activation|unlock|reset)[ _-]?code|cvv|cvc|card[ _-]?(?:number|num|no)|pw|pass|PASS"
)
_QUOTE = r"(?P<open>\\*['\"`])(?P<quoted>(?:\\.|(?!(?P=open))[^\n\x00])*?)(?P=open)"
_BARE = r"(?P<bare>(?:[\[{<(][^\s\[\]{}<>()'\"\x00]*\d[^\s\[\]{}<>()'\"\x00]*[\]}>)](?=[\s,;]|$)|[^\s'\"`,;&<>(){}\[\]|\\\x00]+))"
# what a literal may be wrapped in: brackets, a type, a function that makes a value of a text
_WRAPPED = (
    r"[(\[{]{1,2}b?(?=\\*['\"])|\{\s*\\*['\"]value\\*['\"]:\s*|!!str |\$\((?:echo|printf) (?:-n )?(?=\\*['\"])"
    r"|(?i:[\w.:]*(?:secret|some|str|bytes?|from|encode|hash|sha\d+|field|column|optional|password)\w*|\[\]byte|new \w+)"
    r"\((?:[\w.]+,\s*)?(?:default=)?b?(?=\\*['\"])"
)
_OPENED = re.compile(
    rf"\s*(?:[bruf]{{1,2}}(?=['\"])|L(?=['\"])|{_WRAPPED})?(?:" + _QUOTE + "|" + _BARE + ")", re.DOTALL
)
# what is taken where a variable is not set
_OTHERWISE = re.compile(r"[^\n\x00;{}]{1,80}?(?:\bor\b|\?\?|\|\||\belse\b)\s*" + _QUOTE)
_BLOCK = re.compile(r"[ \t]*[|>][+-]?[ \t]*\n[ \t]+(?P<bare>\S+)")
_BRACKETED = re.compile(r"[\[{<(](?P<v>[^\s,=]{4,})[\]}>)]")
# up to a quote that closes the string around it
_LINE = re.compile(r"[ \t]*(?P<bare>[^\s'\"`\\\x00](?:(?!\\*[\"'](?:[\s,;:)}\]]|$))[^\s\x00])*)")
_NAME_TAIL = re.compile(
    r"[\w.-]{1,60}(?: [\w-]{2,7}){0,2}(?P<close>\]?\\*['\"`]?\]?\)?)(?:\s{0,8}(?P<op>:=|=>|->|<-|→|(?:\|\||\?\?)=|(?:\[\w*\])?\s*=(?=\s*L?['\"])|(?:\??:\s*&?(?:'\w+\s+)?\w+(?:[<\[][\w, .]*[>\]])?\??(?:\s*\|\s*\w+){0,3}|[ ](?:string|str|\[\]byte))\s*=(?=\s*['\"])|!==?|={1,3}|::|:|：|＝)|(?P<xml>>)|(?P<call>\s*,)(?=\s*\\*['\"]))"
)
_NAME_HEAD = re.compile(r"[\w.$-]{0,40}$")
_TRAILING = ".,;:!?)]}\"'`”*"


def _assigned(text: str, begin: int, end: int) -> Spans:
    """`name = value` in any notation: env, YAML, JSON (escaped too), code, queries, headers, XML, settings."""
    tail = _NAME_TAIL.match(text, begin)
    if tail is None or (begin >= 2 and text[begin - 1] == "\\" and text[begin] not in "nrt"):
        return
    head = _NAME_HEAD.search(text, max(0, begin - 41), begin)
    first = begin if head is None else head.start()
    name = text[first : tail.start("close")]
    kind = key_kind(name)
    if (
        kind is None
        or kind == "IP_ADDRESS"
        or text[max(0, first - 2) : first] == "::"
        or name.lower().endswith("cookie")
    ):
        return
    if tail["xml"] is not None:
        yield from _in_xml(text, first, tail.end(), kind)
        return
    listed = text[max(0, first - 24) : first].rstrip("\"'`\\")
    if tail["call"] is not None and not name.startswith("--") and not re.search(r"\([\"']?[\w#.=\[]*$", listed):
        return  # names in a list
    yield from _value(text, first, name, tail, kind)


def _in_xml(text: str, first: int, at: int, kind: str) -> Spans:
    """`<password>value</password>`."""
    if first > 0 and text[first - 1] == "<":
        close = text.find("</", at, at + 200)
        if close > at and plausible_literal(text[at:close].strip()) and "\n" not in text[at:close].strip():
            value = text[at:close]
            yield kind, at + len(value) - len(value.lstrip()), at + len(value.rstrip())


def _value(text: str, first: int, name: str, tail: re.Match[str], kind: str) -> Spans:
    at = tail.end()
    if tail["op"] in (":", "=") and (block := _BLOCK.match(text, at)):
        yield from _if_plausible(kind, block, text, loose=False)
        return
    match = _OPENED.match(text, at)
    if match is None or "\n" in text[
        at : match.start("open") if match["quoted"] is not None else match.start("bare")
    ].replace("\n", "", 1 if tail["op"] == ":" and tail["close"] else 0):
        return
    if kind == "SEED_PHRASE" and " " not in (match["quoted"] or ""):
        return  # the first word of one
    if match["quoted"] is None and tail["op"] not in (None, ":") and (other := _OTHERWISE.match(text, at)) is not None:
        match = other
    if match["quoted"] is not None:
        value = match["quoted"]
        if kind in ("EMAIL", "PHONE", "CARD", "IBAN", "NATIONAL_ID", "ACCOUNT"):
            if _numbered(kind, value):
                yield kind, match.start("quoted"), match.end("quoted")
        elif plausible_literal(value, kind if kind in ("TOKEN", "SECRET", "API_KEY", "SESSION") else "PASSWORD") and (
            kind != "CODE" or any(c.isdigit() for c in value)
        ):
            yield kind, match.start("quoted"), match.end("quoted")
        return
    if kind in ("EMAIL", "PHONE", "CARD", "IBAN") or (tail["op"] or "").startswith("=="):
        return  # their shapes tell; what is compared with is a name
    line = text.rfind("\n", 0, first) + 1
    if tail["op"] in (":", "=") and re.fullmatch(
        r"\s*(?:export |set |setx |env |- |\$env:|ENV |ARG |#\s*|\$)?", text[line:first]
    ):
        whole = _LINE.match(text, at)
        if (
            whole is not None
            and len(whole["bare"]) > len(match["bare"])
            and not re.search(r"[({]|^\w+\[|\)$|&\w+=|</", whole["bare"])
        ):
            match = whole
    yield from _if_plausible(kind, match, text, loose=_certain(match, name, tail, text))


def _numbered(kind: str, value: str) -> bool:
    if kind == "EMAIL":
        return "@" in value and " " not in value
    return 6 <= sum(c.isdigit() for c in value) <= 34 and len(value) <= 42 and not re.search(r"[a-z]{3}", value)


def _certain(match: re.Match[str], name: str, tail: re.Match[str], text: str) -> bool:
    """Tell whether an assignment needs no look at its value: NAME=value without spaces, and no argument of a call."""
    value, after = match["bare"].rstrip(_TRAILING), text[match.end() : match.end() + 1]
    tight = tail["op"] == "=" and tail.end("op") == match.start("bare") and not text[tail.start("op") - 1].isspace()
    return tight and (name.isupper() or (after not in ("(", ")", ",", "[") and "." not in value))


def _if_plausible(kind: str, match: re.Match[str], text: str, *, loose: bool) -> Spans:
    value, begin = match["bare"].rstrip(_TRAILING), match.start("bare")
    if (inner := _BRACKETED.fullmatch(match["bare"])) is not None:
        value, begin = inner["v"], begin + 1
    if text[match.end() : match.end() + 1] in ("(", "[") and not loose:
        return
    if kind == "SESSION" and not keyed_value(kind, value):
        return
    if kind in ("ACCOUNT", "NATIONAL_ID") and sum(c.isdigit() for c in value) < 6:
        return
    if kind == "CODE" and not re.fullmatch(r"[A-Z]?-?\d{3,8}|[A-Z0-9-]{6,}", value):
        return
    if looks_secret(value, loose=loose) or (kind in ("CODE", "PASSWORD") and re.fullmatch(r"\d{3,8}", value)):
        yield kind, begin, begin + len(value)


_OPTION_HINT = r"(?i)--?[\w-]*(?:pass(?:word|wd|phrase|code|in|out)?|pwd|secret|token|key|auth|credential|pin|otp|cookie)[\w-]*[ \t]+['\"]?[^\s'\"-]"


def _option(text: str, begin: int, end: int) -> Spans:
    """`--password value`, `--api-key "value"`."""
    match = re.compile(r"--?(?P<name>[\w-]+)").match(text, begin)
    if match is None or (begin and not text[begin - 1].isspace() and text[begin - 1] not in "'\"`(["):
        return
    kind = key_kind(match["name"])
    given = _OPENED.match(text, match.end())
    if kind is None or kind in ("EMAIL", "PHONE") or given is None:
        return
    group = "quoted" if given["quoted"] is not None else "bare"
    value = given[group]
    if (
        len(value) >= 4
        and not value.startswith(("-", "$", "/", "./", "~", "@", "<", "file:", "env:", "["))
        and plausible_literal(value)
        and not re.fullmatch(r"[a-z]+(?: .*)?|[A-Z_]+|[\w-]+\.\w{2,4}|[\d.]{1,3}", value)
    ):
        yield kind, given.start(group), given.end(group)


_PAIR = re.compile(r"(?P<name>[\w.$!%-]+)=(?P<v>[^;\s,'\"\\\x00]*)")
_ATTRIBUTES = frozenset(
    ("path", "domain", "expires", "max-age", "samesite", "secure", "httponly", "version", "priority", "partitioned")
)


def _cookies(text: str, begin: int, end: int) -> Spans:
    """The values of a `Cookie` or `Set-Cookie` header, attributes and short settings excepted."""
    line = re.compile(r"(?i)(?:set-)?cookie\d?\\*['\"]?\s*[:=,]\s*\\*['\"]?|-b\s+\\*['\"]|--cookie[ =]\\*['\"]?").match(
        text, begin
    )
    if line is None:
        return
    at = line.end()
    while (pair := _PAIR.match(text, at)) is not None:
        value = pair["v"]
        telling = key_kind(pair["name"]) is not None or re.search(
            r"(?i)sess|auth|token|sid|csrf|user|login|remember|jwt|id$", pair["name"]
        )
        if (
            pair["name"].lower() not in _ATTRIBUTES
            and len(value) >= 4
            and (telling or (len(value) >= 12 and any(c.isdigit() for c in value)))
            and not value.startswith(("<", "$", "{"))
        ):
            yield "COOKIE", pair.start("v"), pair.end("v")
        gap = re.compile(r"(?:;\s*|,\s*(?=[\w.-]+=))(?:(?:secure|httponly|partitioned)(?:;\s*|$))*", re.I).match(
            text, pair.end()
        )
        if gap is None or gap.end() == pair.end():
            return
        at = gap.end()


_NAMED = re.compile(
    r"(?i)(?:name|key|field|id|label|variable|var|property|header|param|setting)\\*['\"]?\s*[:=]\s*\\*['\"]?(?P<name>[\w.-]{2,60})\\*['\"]?\s*[,;/]?\s*"
    r"(?:\\*['\"]?(?:value|val|content|text|default|data|string)\\*['\"]?\s*[:=]|>)\s*"
)
_CELL = re.compile(r"\|?[ \t*`]*(?P<name>[\w .-]{2,40}?)[ \t*`]*\|[ \t*`]*(?P<bare>[^\s|`*]+)[ \t*`]*\|")


def _named(text: str, begin: int, end: int) -> Spans:
    """`name: DB_PASSWORD, value: …`, as lists of variables are written."""
    head = _NAMED.match(text, begin)
    kind = None if head is None else key_kind(head["name"])
    if head is None or kind is None or kind in ("EMAIL", "PHONE", "IP_ADDRESS"):
        return
    value = _OPENED.match(text, head.end())
    if value is not None:
        group = "quoted" if value["quoted"] is not None else "bare"
        if plausible_literal(value[group], kind):
            yield kind, value.start(group), value.end(group)


def _cell(text: str, begin: int, end: int) -> Spans:
    """`| password | … |`, a row of a table."""
    row = _CELL.match(text, begin)
    kind = None if row is None else key_kind(row["name"])
    if (
        row is not None
        and kind is not None
        and kind not in ("EMAIL", "PHONE", "IP_ADDRESS")
        and looks_secret(row["bare"])
    ):
        yield kind, row.start("bare"), row.end("bare")


_CALLED = re.compile(
    r"(?P<name>\w{1,60})(?:\)?\.(?:equals|toBe|toEqual|to eq|send_?[kK]eys|fill|type|setText|set_?[vV]alue))?\(\s*"
    + _QUOTE
    + r"\s*\)|(?P<typed>[\w.-]{1,60})\s*:\s*\w+\s*=\s*['\"](?P<literal>[^'\"\n\x00]+)['\"]"
)


def _called(text: str, begin: int, end: int) -> Spans:
    """`setPassword("…")`, `password: String = "…"`."""
    match = _CALLED.match(text, begin)
    if match is None:
        return
    name, group = (match["name"], "quoted") if match["name"] else (match["typed"], "literal")
    kind = key_kind(re.sub(r"(?i)^(?:set|with|use|add|from)_?", "", name))
    if kind is not None and kind not in ("EMAIL", "PHONE", "IP_ADDRESS") and strict_literal(match[group], kind):
        yield kind, match.start(group), match.end(group)


def strict_literal(value: str, kind: str) -> bool:
    """Tell whether the only argument of a call could be a secret: a plain word is the name of one."""
    return plausible_literal(value, kind) and looks_secret(value)


ASSIGNED = [
    Spot(rf"(?i)(?:{_STEMS})", _assigned, rf"(?i)(?:{_STEMS})[\w.-]*\\*['\"`]?\]?\)?\s*(?:(?:(?:\|\||\?\?|!|\[\w*\]\s*|\?|string\s*)?(?::|=|->)|<-)[=>:]*\s*[\\'\"`bruf]*(?:[^\s'\"`\\,;()<>]|[<(][^\s<>()]{4})|:\s*[|>][+-]?[ \t]*\n|>[^\s<]|,\s*\\*['\"]|[|>]\s*\n)", begins=True),
    Spot(r"(?i)(?:name|key|field|id|label|variable|var|property|header|param|setting)\\*['\"]?\s*[:=]\s*\\*['\"]?[\w.-]*(?:pass|pwd|secret|token|key|pin|otp|cred)[\w.-]*\\*['\"]?\s*[,;/]?\s*(?:\\*['\"]?(?:value|val|content|text|default|data|string)\\*['\"]?\s*[:=]|>)", _named),
    Spot(r"(?i)\|?[ \t*`]*[\w .-]*(?:pass|pwd|secret|token|key|pin|otp|code)[\w.-]*[ \t*`]*\|[ \t*`]*[^\s|`*-]", _cell),
    Spot(r"(?i)\w*(?:pass(?:word|wd|phrase|code)|pwd|secret|token|api_?key)\w*(?:(?:\)?\.\w+(?: eq)?)?\(\s*\\*['\"]|\s*:\s*\w+\s*=\s*['\"])", _called),
    Spot(_OPTION_HINT, _option),
    Spot(r"(?i)(?:(?:set-)?cookie\d?\\*['\"]?\s*[:=,]|-b\s+\\*['\"]|--cookie[ =])", _cookies),
]  # fmt: skip
KEY_WORDS = rf"(?i)(?:{_STEMS}|ssn|\bsin\b|dni|nie|nif|cpf|cnpj|curp|rfc|bsn|pesel|passport|licen[cs]e|tax|swift|bic|routing|mobile|fax|tel|msisdn|whatsapp|ein|itin|nric|aadha)"
KEYED = rf"{KEY_WORDS}[\w. -]{{0,20}}[\]?]?\\*\""
