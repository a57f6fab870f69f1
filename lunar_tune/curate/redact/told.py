# ruff: noqa: E501 (a rule is one line)
"""Secrets by what is said of them in sentences: "my password is …", "123456 is your code", a random text after "token".

Words are known in the languages that logs are mostly in. What follows must be able to be a secret; a plain word is one
only at the end of its sentence.
"""

from __future__ import annotations

import re

from lunar_tune.curate.redact.rules import Spans, Spot
from lunar_tune.curate.secrets import looks_secret, plausible_literal, random_like, spoken_word

_TRAILING = ".,;:!?)]}\"'`”*"
_SAID = {
    "PASSWORD": r"pass ?(?:word|wd|phrase|code)|pass|passwd|pwd|\bpw|mdp|kennwort|passwort|geheimzahl|contrase[ñn]a|clave|senha|mot de passe|code wi-?fi|wachtwoord|has[łl]o|l[öo]senord(?:et)?|passord(?:et)?|adgangskoden?|salasana(?:ni)?|jelsz[óo]|heslo|parola|pin(?:[ -]?(?:code|number))?|psk",
    "API_KEY": r"(?:api|access|account|secret|signing|encryption|licen[cs]e|subscription|product|activation|auth|master|shared|service|application|app|server|deploy|ingest\w*|integration)[ _-]?key(?:[ _-]?id)?",
    "SECRET": r"(?:client |app |webhook |signing |shared |totp |2fa |mfa )?secret|credentials?|creds|connection string",
    "TOKEN": r"(?:(?:access|auth|refresh|session|bearer|csrf|id|bot|deploy|api|personal access|oauth|device|push|registration|jwt)[ _-]?)?token|session (?:id|cookie|key)|cookie|bearer|jwt|\bpat",
    "CODE": r"(?:verification|security|one[ -]?time|confirmation|login|log-in|sign-in|access|auth(?:entication|orization)?|mfa|2fa|two-factor|sms|unlock|reset|activation|backup|recovery|passcode|door|gate|alarm|best[äa]tigungs)[ -]?(?:code|password|passcode)s?|\botp|\btan|cvv2?|cvc2?|pin",
}  # fmt: skip
_SAID_ANY = "|".join(f"(?P<{kind}>{words})" for kind, words in _SAID.items())
_GLUE = (
    r"(?:\s+(?:for|of|on|at|to|in|from|f[üu]r|f[üu]rs|vom|von|zum|del|de|du|della|da|do|para|pour|voor|van|till?|til|for)\s+[^\n\x00:=]{1,60}?(?:\s+|(?=[:=]))|\s+(?:set|provided|received|given|stored|saved|rejected|accepted|mismatch|updated|changed|reset|expected|too weak|does not match|invalid)\b\s*(?=[:=]|->)|\s+\([^)\n]{0,40}\)\s*|\s+(?:here|now|currently|again|below)\s+|\s+)?"
    r"(?:(?<!\w)(?P<said>is now|is set to|is still|is currently|is just|(?:has been |was |got |been |is )?(?:changed|set|reset|updated|rotated) to|is|was|are|be|will be|should be|ist|lautet|es|est|[ée]|è|jest|är|er|(?<=salasana )on|(?<=salasanani )on|as|to be|to|equals|with)(?!\w)|=|:|：|是|は|->|→|—|–|-)"
)
_TOLD = re.compile(
    rf"(?i)(?:(?<![^\W_])|(?<=\\[nrt]))(?:{_SAID_ANY})(?![^\W_])(?:['’]s\s+|[\"'”*`]*\s*{_GLUE}\s*[:=]?[*_]{{0,2}}\s*)"
    r"(?:(?P<mark>[\"'`“‘«*]{1,3})(?P<quoted>[^\"'`”’»*\n\x00]+)[\"'`”’»*]|(?P<bare>[^\s(){}\[\]<>\x00][^\s\x00]*))"
)
_BARELY = re.compile(
    rf"(?i)(?:(?<![^\W_])|(?<=\\[nrt]))(?:{_SAID_ANY})(?![^\W_])[\"'”*`]*(?:,|[ \t]*\(|[ \t])[ \t]*(?:(?:from|to|of|field|value|entry|reset|changed|updated|rotated|new|old|now|param|given|with|accepted|rejected)[,:]? ){{0,3}}(?:[\"'`“‘«*]{{1,3}}(?P<quoted>[^\"'`”’»*\n\x00]+)[\"'`”’»*]|(?P<bare>[^\s(){{}}\[\]<>\x00]+))"
)


# some words and signs further on
_LATER = re.compile(
    r"(?i)(?:pass ?(?:word|wd|phrase|code)|passwort|kennwort|\bpwd|\bpw)(?![^\W_])[\"'*`]{0,3}[a-z \t.,;:/'()\[<>|=-]{1,60}?(?<![a-z])[\"'`“*]{0,2}(?P<v>[^\s\"'`”*()\[\]<>\x00]{8,64})(?=[\"'`”*)\]>.,;:!?]*(?:\s|\x00|$))"
)


def _far(text: str, begin: int, end: int) -> tuple[str, int, int] | None:
    """A word that is as good as surely a password, some words after one for it."""
    match = _LATER.match(text, begin, min(len(text), end + 120))
    if match is None:
        return None
    value = match["v"].rstrip(_TRAILING)
    sure = len(value) >= 8 and sum(c.isdigit() for c in value) >= 2 and sum(c.isalpha() for c in value) >= 4
    if sure and odd(value) and not re.search(r"[=\\/]|^\W|^[A-Z_\d]+$|\d[a-z]{1,2}$", value):
        return "PASSWORD", match.start("v"), match.start("v") + len(value)
    return None


def _told(text: str, begin: int, end: int) -> Spans:
    """`my password is …`, `the token for staging: …`, `use passphrase "…"`, `with token …`."""
    begin += 2 if text[begin] == "\\" else text[begin] == "_"
    stop = min(len(text), end + 300)
    for pattern in (_TOLD, _BARELY):
        match = pattern.match(text, begin, stop)
        if match is not None and (found := _spoken(match, text, sure=pattern is _TOLD)) is not None:
            yield found
            return
    if (found := _far(text, begin, end)) is not None:
        yield found


def _spoken(match: re.Match[str], text: str, *, sure: bool) -> tuple[str, int, int] | None:
    kind = next(kind for kind in _SAID if match[kind] is not None)
    verb = (match["PASSWORD"] or "").lower() == "pass"  # often one: it must be told like a noun
    if verb and (not sure or (match["said"] or "").lower() in _WEAK):
        return None
    if match["quoted"] is not None:
        value, at = match["quoted"], match.start("quoted")
        if value[0] in " ,;)":  # what stands between two quoted texts
            return None
        if (
            (
                sure
                and not verb
                and plausible_literal(value, kind)
                and (kind != "CODE" or any(c.isdigit() for c in value))
            )
            or strong(value)
            or (kind == "PASSWORD" and not verb and " " not in value and odd(value))
        ):
            return kind, at, at + len(value)
        return None
    raw = _within_quotes(match["bare"])
    value = raw.lstrip("\"'`“”(*").rstrip(_TRAILING)
    at = match.start("bare") + len(raw) - len(raw.lstrip("\"'`“”(*"))
    if kind == "CODE" or match[0].lower().startswith("pin"):
        good = re.fullmatch(r"(?:[A-Z]-)?\d{3,8}(?:-\d{3,4})?|[A-Z0-9]{6,8}", value) is not None and any(
            c.isdigit() for c in value
        )
        return (kind, at, at + len(value)) if good else None
    if (
        text[match.start() - 1 : match.start()] == ":"
        or re.fullmatch(r"\w+=[\w.]+|[a-z_]+=|[\w.]+[\[(](?:[\"'].*|\w*)|\w+,[\"'].*", value)
        or (kind != "PASSWORD" and re.search(r"[`'\"()<]", value))
    ):
        return None  # an argument, a piece of code or markup
    line_ends = _LINE_ENDS.match(text, at + len(value)) is not None
    ends = line_ends or raw != raw.rstrip(_TRAILING) or _GOES_ON.match(text, at + len(value)) is not None
    if verb:
        good = strong(value)
    elif not sure:
        good = strong(value) or (kind == "PASSWORD" and ends and odd(value))
    else:
        good = looks_secret(value) and not _counted(value, text, at)
        if not good and kind == "PASSWORD" and spoken_word(value):
            ends = line_ends or raw != raw.rstrip(_TRAILING)
            good = (
                ends and match["said"].lower() not in _WEAK
                if match["said"]
                else line_ends and ":" in match[0] and text[match.start() - 1 : match.start()] != "_"
            )
    return (kind, at, at + len(value)) if good and not value.startswith(("http:", "https:", "/", "./", "~/")) else None


# a bare value in JSON or code goes to the end of its string, in markup to the next tag
_CLOSES = re.compile(r"\\*[\"'](?=\\*(?:[\s,;:)}\]\"'>]|$))|\\+[nrt]|</|&(?:lt|quot);")
_LINE_ENDS = re.compile(r"$|[\n\x00]|\\*[\"']|\\+[nrt]|</")
# after a value the sentence goes on
_GOES_ON = re.compile(
    r" ?(?:[()|\]]|[-–—](?= )|(?:and|but|or|then|so|for|on|at|in|to|from|now|please|if|when|which|und|oder|bitte|für|et|pour|y|para|e|per|en|voor)\b)"
)


def _within_quotes(bare: str) -> str:
    """Return a bare value up to the sign that closes the string or the markup around it."""
    close = _CLOSES.search(bare, 1)
    return bare if close is None else bare[: close.start()]


_WEAK = ("to", "as", "with", "to be", "be", "are", "equals")  # "the password to authenticate" names none


def odd(value: str) -> bool:
    """Tell whether a word is none that sentences about passwords have: with a digit or sign, no version and no path."""
    if not looks_secret(value):
        return False
    if re.search(r"[!@#$%^&*+?~|<>;]", value) or re.fullmatch(r"(?i)[a-z]{4,}_[a-z]{4,}(?!19|20)\d{2,4}", value):
        return True
    return re.search(r"[/_.:]|^v?\d+$", value) is None


def _counted(value: str, text: str, at: int) -> bool:
    """Tell whether a number counts something: the token is 128 bits, the password is 8 characters."""
    after = text[at + len(value) : at + len(value) + 16]
    return (
        re.match(r"[\d.,]+", value) is not None
        and re.match(
            r"\s*(?:char|bit|byte|digit|letter|sec|min|hour|day|token|word|%|times|ms|kb|mb|or|and|to|is)", after, re.I
        )
        is not None
    )


def strong(value: str) -> bool:
    """Tell whether a value beside a telling word is a secret by its own looks: letters, digits or signs well mixed."""
    if (
        not looks_secret(value)
        or len(value) < 6
        or re.fullmatch(
            r"[\d.,:/-]+|v?\d+(?:\.\d+)+\S*|\w+\(.*|--?[\w=-]+|[\w./-]+\.[a-z]{1,5}|[a-z]++(?:[-_/.][a-z]++)*+\d{0,3}|[A-Za-z]+-\d+|\d+[a-z]{1,3}|[a-z]+\d{1,2}|[A-Z_]+\d*",
            value,
        )
    ):
        return False
    return sum(
        (
            any(c.islower() for c in value),
            any(c.isupper() for c in value),
            any(c.isdigit() for c in value),
            any(not c.isalnum() for c in value),
        )
    ) >= 3 or (len(value) >= 12 and random_like(value))


_NEAR_WORDS = r"pass(?:word|phrase|code|wd)|secret|token|(?:api|access|account|auth|private|signing|encryption|licen[cs]e|subscription|secret|security|shared|master|service|session|storage|admin|deploy|bot|app|application|ingest\w*|integration|server|webhook|hmac|aes|publishable|primary|secondary)[ _-]?key|credential|creds\b|bearer|\bpat\b|\bpsk\b|\bsas\b|hmac|key is|key:"
_NEAR_HINT = _NEAR_WORDS.replace("token", r"token(?:[a-rt-z0-9_]|\b)")  # "tokens" are counted, and everywhere
_DIGIT = re.compile(r"\d")
_NEAR_PARTS = ("pass", "secret", "token", "key", "cred", "bearer", "cookie", "session", "pat", "psk", "sas", "hmac")
_NEAR = re.compile(f"(?i)(?:{_NEAR_WORDS})")
_CANDIDATE = re.compile(r"(?<![\w+/.=%@-])[A-Za-z0-9+/_.~!-]{16,}={0,2}(?![\w+/@])")
_NO_SECRET = re.compile(
    r"(?i)(?:commit|sha-?\d*|hash|digest|checksum|md5|revision|\brev|etag|integrity|fingerprint|\bid|uuid|guid|public|image|blob|version|branch|\btag|order|invoice|ticket|request|trace|span|call|"
    r"file|path|folder|dir(?:ectory)?|class|function|method|module|package|import|from|repo(?:sitory)?|endpoint|url|link|see|at|name[d]?)['\"]?\s*[:=#]?\s*['\"`(]{0,2}$"
)


def _near(text: str, begin: int, end: int) -> Spans:
    """A value of much entropy soon after a word for secrets, on its line."""
    if not _DIGIT.search(text, begin, end) or (match := _CANDIDATE.match(text, begin)) is None:
        return
    value = match[0].rstrip(".!-")
    before = text[max(0, text.rfind("\n", 0, begin) + 1, begin - 90) : begin]
    folded = before.lower()
    if not any(part in folded for part in _NEAR_PARTS) or not unguessable(value):
        return
    words = list(_NEAR.finditer(before))
    if words and not _NO_SECRET.search(before, words[-1].end()):
        word = words[-1][0].lower()
        yield ("API_KEY" if "key" in word else "TOKEN" if "token" in word else "SECRET"), begin, begin + len(value)


def unguessable(value: str) -> bool:
    """Tell whether a value looks drawn by chance and long enough for a key: hex from 32 on, more signs from 16 on."""
    if re.fullmatch(
        r"(?:[\w~-]++[./])++[a-z]{1,6}|[a-z/._-]+|[A-Z/._-]+|(?:[A-Z]?[a-z]++[-_./]?)++\d{0,4}|\d[\d.-]*|[\d-]+T[\d.:+Z-]+|(?:\d++\.)++\d++\S*",
        value,
    ):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        return len(value) in (32, 40, 48, 56, 64, 96, 128) and len(set(value.lower())) >= 8
    if re.fullmatch(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        return True
    plain = sum(map(len, re.findall(r"[A-Z]?[a-z]{3,}", value)))
    return random_like(value) and plain * 2 < len(value) and len(set(value)) >= 10


_REVERSED = re.compile(
    r"(?i)(?:[\"'`“*](?P<quoted>[^\s\"'`”*]{4,})[\"'`”*]|(?<![^\s(:>\"'])(?P<bare>[^\s\"'`”<>\x00]{4,}))"
    r",? (?:is|was|as|are|will be|for) (?:my|the|your|our|his|her|their|a|new|its)?(?: [\w'-]+){0,3}? ?(?P<word>password|passcode|passphrase|pin|api key|token|secret|verification code|security code|(?:one[- ]time |login |access |confirmation )?(?:code|passcode)|otp)\b"
)


_ASKED = re.compile(
    r"(?i)\b(?:enter|type|use|try|put|give|say|paste|fill(?: in)?) [\"'`“*]{0,2}(?P<v>[^\s\"'`”*\x00]{4,})[\"'`”*]{0,2},? (?:(?:when|if|where|once) [\w' ]{2,24}? ?(?:for|the)|in|into) (?:a |the |your |my )?(?:\w+ )?(?:password|passphrase|passcode|pin)\b"
)


def _reversed(text: str, begin: int, end: int) -> Spans:
    """`123456 is your verification code`, `use hunter2 as the password`, `enter hunter2 when it asks for the password`."""
    first = max(text.rfind("\n", 0, begin) + 1, begin - 80, 0)
    if (asked := _ASKED.search(text, first, min(len(text), end + 60))) is not None and odd(asked["v"]):
        yield "PASSWORD", *asked.span("v")
    for match in _REVERSED.finditer(text, first, min(len(text), end + 60)):
        word = match["word"].lower()
        kind = (
            "CODE"
            if "code" in word or word in ("otp", "pin")
            else "PASSWORD"
            if word.startswith("pass")
            else "TOKEN"
            if word == "token"
            else "API_KEY"
            if "key" in word
            else "SECRET"
        )
        group = "quoted" if match["quoted"] is not None else "bare"
        value = match[group].rstrip(_TRAILING)
        code = re.fullmatch(r"(?:[A-Z]-)?\d{4,8}|\d{3}-\d{3}", value) is not None
        told = kind == "PASSWORD" and odd(value)
        if (code and kind == "CODE") or (not code and (told or strong(value))):
            yield kind, match.start(group), match.start(group) + len(value)


_FOREIGN = re.compile(
    r"(?i)(?:парол[ьея]\w*|密码|密碼|口令|パスワード|暗証番号|비밀번호|암호|รหัสผ่าน|كلمة (?:المرور|السر)|סיסמ[אה]|κωδικός|पासवर्ड|mật khẩu|şifre)"
    r"(?P<between>[^\x00-\x08\n!-~]{0,40}(?:[\[(][^\])\n]{0,20}[\])])?[\"'`]?\s*(?:[:=-]|->|[^\x00-\x7f]{1,6})?\s*)(?P<open>[\"'`*]{1,2})?(?P<v>[!-~]{4,})"
)


def _foreign(text: str, begin: int, end: int) -> Spans:
    """A word for passwords in a script beyond Latin letters, then a value in Latin letters that no sentence has."""
    for match in _FOREIGN.finditer(text, begin, min(len(text), end + 120)):
        if match.start() >= end:
            return
        raw = _within_quotes(match["v"])
        value = raw.rstrip(_TRAILING)
        if looks_secret(value) and not re.search(r"[/.:]\w+$|^\w+\(|^--", value):
            yield "PASSWORD", match.start("v"), match.start("v") + len(value)


def _latin(pattern: str) -> str:
    """Return the pattern of a hint, over Latin-1: letters beyond ASCII are any letter, look-behinds are word boundaries."""
    pattern = pattern.replace(r"(?<![^\W_])", r"(?:\b|_)").replace(r"(?![^\W_])", "")
    pattern = re.sub(r"\(\?P<\w+>", "(?:", pattern)
    pattern = re.sub(
        r"\[[^\]\\]*[^\x00-\x7f][^\]\\]*\]", lambda m: m[0] if "^" in m[0][:2] or '"' in m[0] else ".", pattern
    )
    pattern = re.sub(r"[\x80-\xff]", ".", pattern)
    return re.sub(r"[^\x00-\xff]", r"\\?", pattern)  # what Latin-1 lacks is written as a question mark


_WORDS = _latin("|".join(_SAID.values()))
TOLD = [
    Spot(rf"(?i)(?:\b|_|\\[nrt])(?:{_WORDS})", _told, rf"(?i)(?:\b|_|\\[nrt])(?:{_WORDS})(?:['?]s)?[\"'*`?)]{{0,3}}[ ,(:=?-]", begins=True),
    Spot(rf"(?i)(?:{_NEAR_HINT})[^\n\x00]*[^\w][A-Za-z0-9+/_-]{{16}}", _near, place=r"[A-Za-z0-9+/_.~!-]{16,}"),
    Spot(r"(?i)[^\s]{4}[\"'`*]?,? (?:is|was|as|are|will be|for) (?:my |the |your |our |his |her |their |a |new |its )?(?:[\w'-]+ ){0,3}(?:password|passcode|passphrase|pin|api key|token|secret|code|otp)", _reversed),
    Spot(r"\?{2}", _foreign, place=r"\?[^\x00-\x7f]*\?"),
]  # fmt: skip
