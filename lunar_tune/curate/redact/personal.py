# ruff: noqa: E501 (a rule is one line)
"""What leads to a person or a machine: addresses, telephones, cards, accounts, ids, homes and wallets.

Numbers need a checksum, a written form that nothing else has, or a telling word before them. Addresses of networks
that everybody has (loopback, private, link-local, multicast) and public resolvers stay; those that documents use for
examples go, because in a log they stand where a real one would.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from lunar_tune.curate.redact import checks
from lunar_tune.curate.redact.rules import DB, END, HB, START, Rule

_FILE_ENDINGS = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "ico",
        "js",
        "mjs",
        "cjs",
        "css",
        "ts",
        "tsx",
        "jsx",
        "json",
        "html",
        "htm",
        "pdf",
        "zip",
        "gz",
        "tgz",
        "whl",
        "txt",
        "yaml",
        "yml",
        "toml",
        "lock",
        "xml",
        "csv",
        "service",
        "socket",
        "timer",
        "target",
        "mount",
        "slice",
        "scope",
        "path",
        "swap",
        "automount",
        "device",
        "class",
        "java",
        "rb",
        "go",
        "php",
        "log",
        "so",
        "dll",
        "exe",
    ]
)
_ENDS = r"(?:com|org|net|edu|gov|io|de|fr|es|it|nl|uk|eu|co|ai|app|dev|info|me|ch|at|se|no|dk|fi|pl|pt|br|jp|in|au|ca|us|example|test)"


def _mailed(match: re.Match[str]) -> bool:
    address, after = match[0], match.string[match.end() : match.end() + 60]
    if address.rpartition(".")[2].lower() in _FILE_ENDINGS:
        return False
    name = address.partition("@")[0]
    # a place to clone from (git@host:path) is no mailbox
    return not (name == "git" or re.match(r":[\w./~-]+\.git\b", after))


MAIL = [
    Rule("EMAIL", r"(?:(?<![\w.+%\\-])|(?<=\\[nrt])|(?<=\\)(?![nrtbfu]))[\w+%'-](?:[\w.+%'-]{0,63})?(?<!')@(?!\d+x\.)(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])",
         r"[\w+%'.\x80-\xff?-]+@[\w\x80-\xff?-]+\.[\w\x80-\xff?]", _mailed),
    Rule("EMAIL", r"(?<![\w.+%-])(?!\d?%)[\w.+-]{1,64}%40(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])", r"[\w.+-]+%40[\w-]+\.[A-Za-z]"),
    Rule("EMAIL", r"(?i)(?<![\w.+-])[\w.+-]{1,64} ?[\[({<] ?at ?[\])}>] ?[\w-]+(?:(?:\.| ?[\[({<] ?(?:dot|\.) ?[\])}>] ?| dot )[\w-]+)+", r"(?i)[\w.+-]+ ?[\[({<] ?at ?[\])}>] ?\w"),
    Rule("EMAIL", rf"(?i)(?<![\w.+-])[\w.+-]{{2,64}} at [\w-]{{2,}}(?: dot [\w-]+){{0,2}} dot {_ENDS}\b", r"(?i)[\w.+-]+ at [\w-]+ dot \w"),
]  # fmt: skip

_WHOM = r"(?: (?:me|him|her|us|them|back|up|on|at|you|to)\b){1,3}"
_NEAR = re.compile(
    r"(?i)(?:phone|telephone|\btel\b|mobile|\bcell(?:ular)?\b(?! ?[A-Z]?\d)|whats ?app|\bsms\b|\b(?:text|call|ring|reach|contact|signal)"
    + _WHOM
    + r"|\bfax\b|dial|"
    r"\bruf(?:e|en|t)? (?:mich|uns|ihn|sie|an|ihr|mal)\b|\b(?:an|zur[üu]ck)ruf\w*|erreich(?:bar|st|en)|\bappel(?:le|ez|er)\b|joindre|joignable|\bll[aá]m[ae]\w*|\bchiama\w*|\bt[eé]l\b|"
    r"hotline|handy|telefon|rufnummer|handynummer|t[eé]l[eé]fono|m[oó]vil|celular|portable|num[eé]ro|cellulare|telem[oó]vel|msisdn|"
    r"\b(?:my|your|his|her|their|our|new|direct|home|work|office|emergency) (?:phone |mobile |cell )?(?:number|no\.?|nr\.?)|телефон|电话|手机|電話|携帯|전화|\bph[.:]|\bmob\b)[^\x00]{0,40}$"
)
_FAR_TOLD = re.compile(
    r"(?i)(?:(?<![^\W_])(?:order|invoice|ticket|isbn|issn|doi|version|serial|sku|part|model|case|tracking|ref(?:erence)?|id|pid|line|port)\W{0,3}(?:no\.?|number|nr\.?)?\W{0,3}|#)$"
)


def _before(match: re.Match[str], length: int = 40) -> str:
    begin = match.start("v") if "v" in match.re.groupindex else match.start()
    return match.string[max(0, begin - length) : begin]


def _phone_told(match: re.Match[str]) -> bool:
    """A number of digits alone: a word for telephones stands before it."""
    return (
        7 <= len(checks.digits_of(match[0])) <= 15
        and _FAR_TOLD.search(_before(match, 24)) is None
        and _NEAR.search(_before(match)) is not None
        and not _dated(match[0])
    )


def _dated(text: str) -> bool:
    """Tell whether the digits are a date, an American ZIP code or the number of a preprint."""
    return re.fullmatch(r"\d{5}-\d{4}|\(?\d{4}\.\d{4,5}\)?", text) is not None or (
        re.match(
            r"(?:19|20)\d\d[-./ ](?:0[1-9]|1[0-2])[-./ ]|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:19|20)\d\d",
            text,
        )
        is not None
    )


def _dialled(match: re.Match[str]) -> bool:
    """So many digits make a telephone number (E.164: at most 15); bare ones need more to be believed."""
    number, before = match[0], _before(match, 16)
    count = len(checks.digits_of(number))
    if _dated(number) or _FAR_TOLD.search(before):
        return False
    return (7 if re.search(r"[ .()/-]", number) else 9) <= count <= 15


def _national(match: re.Match[str]) -> bool:
    """A number that begins with a nought: nine to eleven digits, German mobile ones to twelve."""
    digits = checks.digits_of(match[0])
    return 9 <= len(digits) <= (12 if re.match("01[5-7]", digits) else 11) and _dialled(match)


_GAP = r"[ .\u00a0\u2011-]"
_AFTER = r"(?![\w-]|[.,]\d)"
PHONES = [
    Rule("PHONE", r"(?<![\w+.])(?:\(\+\d{1,3}\)|\+\d{1,3})[ .\u00a0\u2011/-]?(?:\(0?\d{0,4}\)[ .-]?)?\d{1,5}(?:[ .\u00a0\u2011/-]?\d{1,5}){1,6}(?!\w|\.\d)",
         r"\(?\+\d{1,3}\)?[ .\xa0/?-]?(?:\(\d{0,5}\)[ .-]?)?\d{1,5}[ .\xa0/?-]?\d{1,5}", _dialled),
    Rule("PHONE", rf"(?<![\w.+/:-])(?:1{_GAP})?\(?[2-9]\d{{2}}\)?(?P<s>{_GAP})\d{{3}}(?P=s)\d{{4}}(?: ?(?:x|ext\.?) ?\d{{1,5}})?{_AFTER}",
         r"(?:^|[^\w.+/:-])(?:1[ .\xa0?-])?\(?[2-9]\d{2}\)?[ .\xa0?-]\d{3}[ .\xa0?-]\d{4}", _dialled),
    Rule("PHONE", rf"(?<![\w.+/:-])\(\d{{3}}\) ?\d{{3}}{_GAP}\d{{4}}(?: ?(?:x|ext\.?) ?\d{{1,5}})?{_AFTER}", r"\(\d{3}\) ?\d{3}[ .\xa0?-]\d{4}"),
    Rule("PHONE", rf"(?<![\w.+-])(?<!\d[/:])(?:0 ?(?=[1-9]\d{{1,3}} ?/)|\(?0)[1-9]\d{{0,3}}\)?(?:[ \u00a0]?/[ \u00a0]?|[ \u00a0-]|(?<=\)))\(?\d{{2,4}}\)?(?:[ /\u00a0-]?\d{{2,5}}){{0,4}}{_AFTER}",
         r"(?:^|[^\w.+-])\(?0 ?[1-9]\d{0,3}(?:[ \xa0]?/[ \xa0]?|[ \xa0-]|\)[ /\xa0-]?)\(?\d{2,4}\)?[ /\xa0-]?\d{2}", _national),
    Rule("PHONE", rf"(?<![\w.+-])\(0\) ?[1-9]\d{{0,4}}(?:[ ./-]?\d{{2,5}}){{1,5}}{_AFTER}", r"\(0\) ?[1-9]", _national),
    # with points a number of three parts is no version and no address when it begins with a nought
    Rule("PHONE", rf"(?<![\w.+-])0[1-9]\d{{1,3}}(?:\.\d{{3,4}}\.\d{{3,4}}|(?:(?<=1[5-7]\d)|(?<=7\d\d\d))\.\d{{6,8}}){_AFTER}", r"(?:^|[^\w.+-])0[1-9]\d{1,3}\.\d{3,4}\.?\d{2}", _national),
    # mobile numbers of the United Kingdom and of Germany, which no other number looks like
    Rule("PHONE", rf"(?<![\w.+-])0(?:7[1-57-9]\d{{8}}|1(?:5\d|6[023]|7\d)\d{{7,8}}){_AFTER}", r"(?:^|[^\w.+-])0[17]\d{9}", _national),
    Rule("PHONE", rf"(?<![\w.,+-])(?<!\d[/:])0[1-9](?:(?P<s>[ .\u00a0/-])\d\d)(?:(?P=s)\d\d){{3}}{_AFTER}", r"(?:^|[^\w.,+-])0[1-9][ .\xa0/-]\d\d[ .\xa0/-]\d\d[ .\xa0/-]\d\d[ .\xa0/-]\d\d", _dialled),
    Rule("PHONE", rf"(?<![\w.,+/:-])\(\d{{2,3}}\) ?9?\d{{4}}[ -]\d{{4}}{_AFTER}", r"\(\d{2,3}\) ?\d{4,5}[ -]\d{4}", _dialled),
    Rule("PHONE", rf"(?<![\w.,+-])(?<!\d[/:])00[1-9]\d{{0,2}}[ /-]?(?:\(0\) ?)?\(?\d{{1,4}}\)?(?:[ /-]?\d{{2,5}}){{2,5}}{_AFTER}", r"(?:^|[^\w.,+-])00[1-9]\d{0,2}[ /-]?(?:\(0\) ?)?\(?\d{1,4}\)?[ /-]?\d{2,5}[ /-]?\d{2}", lambda m: len(checks.digits_of(m[0])) >= 11 and _dialled(m)),
    Rule("PHONE", r"(?:tel|sms|whatsapp|callto):(?P<v>\+?[\d().-]{6,20}\d)", r"(?:tel|sms|app|callto):\+?[\d(]"),
    Rule("PHONE", r"(?:wa\.me/|phone=)(?P<v>\+?\d{7,15})", r"(?:wa\.me/|phone=)\+?\d"),
    Rule("PHONE", r"(?<![\w.,+/:-])(?:0 )?\(?\d{2,5}\)?(?:[ ./-]?\d{2,5}){1,5}(?!\w|[.,:]\d)",
         r"(?i)\b(?:phone|tel|mobil|cell|whats ?app|signal|sms|text|call|fax|ring|dial|reach|contact|hotline|handy|rufnummer|nummer|fono|m.vil|celular|portable|num.ro|msisdn|number|ph|mob|t.l|ruf|appel|joi|ll.m|chiam|erreich|\?\?)[^\d\n\x00]*(?:0 )?\(?\d{2,5}\)?[ ./-]?\d{2,5}[ ./-]?\d{2}",
         _phone_told, place=r"(?:^|[^\w.,+/:-])(?:0 )?\(?\d{2,5}\)?[ ./-]?\d{2,5}[ ./-]?\d"),
]  # fmt: skip


def _told(words: str, length: int = 40) -> Callable[[re.Match[str]], bool]:
    near = re.compile(rf"(?i)(?:{words})[^\x00]{{0,{length}}}$")
    return lambda match: near.search(_before(match, length + 40)) is not None


def _checked(check: checks.Check) -> Callable[[re.Match[str]], bool]:
    return lambda match: check(match["v"] if "v" in match.re.groupindex else match[0])


def _told_and(words: str, check: checks.Check | None = None) -> Callable[[re.Match[str]], bool]:
    near = _told(words)
    return lambda match: near(match) and (check is None or check(match[0]))


def _card_number(match: re.Match[str]) -> bool:
    if checks.card(match[0]):
        if match[0].isdigit() and len(match[0]) < 14:  # as long as a trade number (EAN-13), of which one in ten fits
            return _CARD_TOLD(match)
        return not re.fullmatch(r"1[5-9]\d{8,17}", match[0])
    return len(match[0]) > 14 and _CARD_TOLD(match) and checks.luhn(match[0])


_CARD_TOLD = _told("card|visa|master|amex|kredit|carte|tarjeta|cart[aã]o|pan\\b")
_D = r"(?<![\w.,-])"
_E = r"(?![\w]|[.,-]\d)"
MONEY = [
    Rule("CARD", r"(?<![\w.+])(?:\d{4}(?P<s>[ -])\d{4}(?P=s)\d{4}(?P=s)\d{1,7}|3\d{3}(?P<t>[ -])\d{6}(?P=t)\d{4,5}|\d{13,19})(?![\w]|\.\d)",
         r"(?:^|[^\w.+])(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d|3\d{3}[ -]\d{6}[ -]\d{4}|[2-6]\d{12})", _card_number),
    Rule("CODE", r"(?i)\b(?:cvv2?|cvc2?|csc|cid)(?: code| number)?['\"]?\s*(?:is|:|=|-|,)?\s*['\"]?(?P<v>\d{3,4})(?!\w|\.\d)", r"(?i)(?:cvv2?|cvc2?|csc|cid)[a-z ]{0,7}['\"]?\s*(?:is|:|=|-|,)?\s*['\"]?\d{3}", alone=True),
    Rule(
        "IBAN", rf"{START}[a-z]{{2}}\d{{2}}[a-z0-9]{{11,30}}{END}", HB + r"[a-z]{2}\d{2}[a-z0-9]{11}", _checked(checks.iban)
    ),
    Rule("IBAN", rf"{START}[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]{{2,4}}){{2,8}}(?:[ -]?[A-Z0-9]{{1,3}})?{END}", HB + r"[A-Z]{2}\d{2}[ -]?[A-Z0-9]{4}[ -]?\w{3}", _checked(checks.iban)),
    Rule("IBAN", r"(?i)\biban\W{0,6}(?:is |no\.? |number )?(?P<v>[A-Z]{2}\d{2}[ -]?(?:[A-Z0-9]{4}[ -]?){2,7}[A-Z0-9]{1,4})" + END, r"(?i)iban\W{0,6}(?:is |no\.? |number )?[A-Z]{2}\d{2}"),
    Rule("ACCOUNT", r"(?i)\b(?:account|acct|a/c|routing|aba|sort[ -]?code|konto(?:nummer)?|bank account)(?: (?:no|number|nr|num|code)\b\.?| ?#|number)?\W{0,4}(?:is |: ?)?(?P<v>\d{2}-\d{2}-\d{2}|\d[\d -]{6,16}\d)" + _E,
         r"(?i)(?:account|acct|a/c|routing|aba|sort[ -]?code|konto)[a-z #.:_-]{0,14}\W{0,4}(?:is |: ?)?\d[\d-]{5}", lambda m: len(checks.digits_of(m["v"])) >= 6),
    Rule("ACCOUNT", r"\b[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b", r"(?i:\bswift|\bbic)\b[^\x00\n]*[A-Z]{6}[A-Z0-9]{2}", _told("\\bswift|\\bbic\\b", 24), place=r"\b[A-Z]{6}[A-Z0-9]{2}"),
]  # fmt: skip

_ID_WORDS = r"(?:ssn|social security|\bsin(?: (?:no|number|nr|is)|:|#)|tax|steuer|national id|id(?:entity)?[ -]?(?:no|number|card|nr)|passport|licen[cs]e|nin\b|nino|bsn|burgerservice|pesel|nhs|medicare|tfn|cpf|cnpj|curp|rfc|nif|nie|\bdni|documento|nir|s[eé]curit[eé] sociale|personnummer|cpr|f[oø]dsels|henkil|aadha+r|\bpan\b|\brut\b|nric|\bfin\b|身份证|my number|resident|insurance|itin|ein\b|cnp\b|rodn|egn|amka|codice fiscale|kimlik)"
_ID_TOLD = _told(_ID_WORDS, 32)


def _swedish(match: re.Match[str]) -> bool:
    """Eight digits, a dash and four are a date and a time as often: a word must tell."""
    told = _ID_TOLD(match)
    return checks.nordic(match[0]) and (told or (len(match[0]) == 11 and checks.luhn(match[0])))


IDS = [
    Rule("NATIONAL_ID", rf"{_D}\d{{3}}(?P<s>[ -])\d{{2}}(?P=s)\d{{4}}{_E}", DB + r"\d{3}[ -]\d{2}[ -]\d{4}", _checked(checks.us_ssn)),
    Rule("NATIONAL_ID", r"(?i)\b(?:ssn|social security(?: (?:no|number|nr|#))?\.?|itin)['\"]?\W{0,4}(?:is |: ?)?(?P<v>\d{9})" + _E, r"(?i)(?:ssn|social security|itin)[^\x00\d]{0,16}\d{9}"),
    Rule("NATIONAL_ID", rf"{_D}(?:\d{{8}}|[XYZ]-?\d{{7}})-?[A-HJ-NP-TV-Z]{END}", DB + r"(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z]\b", lambda m: checks.spanish(m[0]) and _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"(?i){START}[A-Z]{{6}}\d\d[A-EHLMPRST]\d\d[A-Z]\d{{3}}[A-Z]{END}", HB + r"(?i:[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])", _checked(checks.italian)),
    Rule("NATIONAL_ID", rf"{_D}[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{{3}} ?\d{{3}} ?\d\d{_E}", DB + r"[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d\b", _checked(checks.french)),
    Rule("NATIONAL_ID", rf"{_D}\d{{3}}\.\d{{3}}\.\d{{3}}-\d\d{_E}", DB + r"\d{3}\.\d{3}\.\d{3}-\d\d"),
    Rule("NATIONAL_ID", rf"{_D}\d{{11}}{_E}", r"(?i)cpf[^\x00\n]*\d{11}", _told_and("cpf", checks.brazilian), place=r"\b\d{11}\b"),
    Rule("NATIONAL_ID", rf"{_D}\d\d\.\d{{3}}\.\d{{3}}/\d{{4}}-\d\d{_E}", DB + r"\d\d\.\d{3}\.\d{3}/\d{4}-\d\d"),
    Rule("NATIONAL_ID", rf"{START}[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]{END}", HB + r"[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]\b", lambda m: m[0].count(" ") == 4 or _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"{_D}\d{{17}}[\dXx]{_E}", DB + r"\d{17}[\dXx]\b", _checked(checks.chinese)),
    Rule("NATIONAL_ID", rf"{_D}[2-9]\d{{3}}(?P<s>[ -])\d{{4}}(?P=s)\d{{4}}{_E}(?! ?\d)", DB + r"[2-9]\d{3}[ -]\d{4}[ -]\d{4}\b", lambda m: checks.aadhaar(m[0]) and _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"{START}[A-Z]{{3}}[ABCFGHLJPTK][A-Z]\d{{4}}[A-Z]{END}", HB + r"[A-Z]{5}\d{4}[A-Z]\b", lambda m: _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"{_D}\d{{3}}(?P<s>[ -])\d{{3}}(?P=s)\d{{3}}{_E}", DB + r"\d{3}[ -]\d{3}[ -]\d{3}\b", lambda m: checks.canadian(m[0]) and _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"{_D}\d\d\.\d\d\.\d\d-\d{{3}}\.\d\d{_E}", DB + r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", _checked(checks.belgian)),
    Rule("NATIONAL_ID", rf"{_D}756\.?\d{{4}}\.?\d{{4}}\.?\d\d{_E}", DB + r"756\.?\d{4}\.?\d{4}\.?\d\d\b", _checked(checks.swiss)),
    Rule("NATIONAL_ID", rf"{_D}(?:19|20)?\d{{6}}[-+]\d{{4}}{_E}", DB + r"(?:19|20)?\d{6}[-+]\d{4}\b", _swedish),
    Rule("NATIONAL_ID", rf"{_D}\d{{6}}[-+ABCDEFYXWVU]\d{{3}}[0-9A-Y]{END}", DB + r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]\b", _checked(checks.finnish)),
    Rule("NATIONAL_ID", rf"{_D}\d{{6}}-[1-8]\d{{6}}{_E}", DB + r"\d{6}-[1-8]\d{6}\b"),
    Rule("NATIONAL_ID", rf"{_D}\d{{1,2}}\.\d{{3}}\.\d{{3}}-[\dkK]{END}", DB + r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]", _checked(checks.chilean)),
    Rule("NATIONAL_ID", rf"{START}[STFGM]\d{{7}}[A-Z]{END}", HB + r"[STFGM]\d{7}[A-Z]\b", lambda m: checks.singaporean(m[0]) and _ID_TOLD(m)),
    Rule("NATIONAL_ID", rf"{START}[A-Z][AEIOUX][A-Z]{{2}}\d{{6}}[HMX][A-Z]{{5}}[A-Z0-9]\d{END}", HB + r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"),
    Rule("NATIONAL_ID", rf"{_D}(?:\d{{11}}|\d{{9}}|\d{{3}} ?\d{{3}} ?\d{{4}}|\d\d ?\d{{3}} ?\d{{3}} ?\d{{3}}|[A-Z]{{1,2}}\d{{6,8}}[A-Z]?|[A-Z0-9]{{2,4}}\d{{5,8}}|\d{{3}} \d{{3}} \d{{3}}|\d{{4}} \d{{4}} \d{{4}}|\d{{2}}-\d{{7}}|\d{{6}}/\d{{3,4}}|\d{{10}}|\d{{12,13}}){_E}",
         rf"(?i){_ID_WORDS.replace('é', '.').replace('ø', '.').replace('身份证', '[?]{3}')}[^\x00\n]*[0-9]{{2}}[0-9 /-]{{5}}", lambda m: _ID_TOLD(m) and sum(c.isdigit() for c in m[0]) >= 6, place=r"(?:^|[^\w.,-])[A-Z0-9]{0,4}\d[\d /-]{5}"),
]  # fmt: skip

_RESOLVERS = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4"))
_ADDRESSED = re.compile(
    r"(?i)(?:\bip(?:v4)?\b|host|addr|server|\bssh\b|ping|://|@|\bfrom\b|\bclient\b|remote|peer|connect)[^\x00]{0,20}$"
)
_VERSIONED = re.compile(
    r"(?i)(?:\bv(?:er(?:sion)?s?)?|release|build|section|chapter|firmware|driver|update|upgrade[d]?|==|>=|<=|~=|\^|[A-Za-z]/)[\s.:=\"'to]{0,4}$"
)


def _ip4(match: re.Match[str]) -> bool:
    parts = [int(part) for part in match[0].split(".")]
    before, after = _before(match, 28), match.string[match.end() : match.end() + 3]
    if max(parts) > 255 or _VERSIONED.search(before) or match[0] in _RESOLVERS or re.search(r"\b0\d", match[0]):
        return False
    if (
        parts[0] in (0, 10, 127, 255)
        or parts[0] >= 224
        or parts[:2] in ([192, 168], [169, 254])
        or (parts[0] == 172 and 16 <= parts[1] < 32)
    ):
        return False
    # four small numbers are a version or a section as often as an address
    return max(parts) > 30 or _ADDRESSED.search(before) is not None or re.match(r":\d|/\d", after) is not None


def _ip6(match: re.Match[str]) -> bool:
    text = match[0].partition("%")[0]
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    groups = [group for group in text.split(":") if group]
    if address.is_loopback or address.is_unspecified or text[:3].lower() == "ff0" or address.ipv4_mapped is not None:
        return address.ipv4_mapped is not None and address.ipv4_mapped.is_global
    return len(groups) == 8 or (len(groups) >= 2 and len(groups[0]) >= 3 and any(c.isdigit() for c in text))


def _mac(match: re.Match[str]) -> bool:
    digits = re.sub(r"[^0-9A-Fa-f]", "", match[0]).lower()
    return len(set(digits)) > 1 and (match[0].count(".") != 2 or not digits.isdigit())


MACHINES = [
    Rule("IP_ADDRESS", r"(?<![\w.-])(?:(?<=\\n)|(?<!\\[nrt]))\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)", r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", _ip4),
    Rule("IP_ADDRESS", r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){0,7}(?:::?)?(?:\d{1,3}(?:\.\d{1,3}){3})?(?:%\w+)?(?![\w:]|\.\d)|(?<![\w:.])[0-9A-Fa-f]{1,4}::(?:[0-9A-Fa-f]{1,4}:?){0,6}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])|(?<![\w:.])::ffff:\d{1,3}(?:\.\d{1,3}){3}(?![\w:])",
         HB + r"(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]|[0-9A-Fa-f]{3,4}:(?:[0-9A-Fa-f]{1,4}:){0,6}:|[0-9A-Fa-f]{3,4}:(?:[0-9A-Fa-f]{0,4}:){2})|::ffff:\d", _ip6),
    Rule("MAC_ADDRESS", r"(?<![\w:.-])[0-9A-Fa-f]{2}(?P<s>[:-])[0-9A-Fa-f]{2}(?:(?P=s)[0-9A-Fa-f]{2}){4}(?![\w]|[:-][0-9A-Fa-f])", HB + r"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}", _mac),
    Rule("MAC_ADDRESS", r"(?<![\w.-])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![\w]|\.\w)", HB + r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b", _mac),
    Rule("IMEI", rf"{_D}\d{{2}}-?\d{{6}}-?\d{{6}}-?\d{_E}", r"(?i)imei[^\x00\n]*\d{2}-?\d{6}-?\d{6}-?\d", _told_and("imei", checks.luhn), place=r"\b\d{2}-?\d{6}-?\d{6}-?\d"),
]  # fmt: skip

_ANYBODY = frozenset((
    "user", "users", "username", "user_name", "yourname", "yourusername", "your-name", "your_name", "your-username", "your_username", "name", "me", "you",
    "ubuntu", "debian", "centos", "fedora", "vagrant", "root", "admin", "administrator", "runner", "runneradmin", "vsts", "circleci", "travis", "jenkins", "gitlab-runner",
    "ec2-user", "ec2user", "azureuser", "node", "app", "python", "jovyan", "git", "vscode", "coder", "codespace", "gitpod", "sandbox", "linuxbrew", "build", "builder",
    "public", "shared", "default", "guest", "all users", "default user", "home", "project", "projects", "work", "workspace", "foo", "bar", "xxx", "www", "www-data",
    "deploy", "ci", "svc", "worker", "web", "api", "backup", "data", "server", "service", "ops", "prod", "staging", "github", "nobody", "test", "tester", "demo", "example", "agent", "dev", "developer", "docker", "container", "airflow", "postgres", "mysql", "steam", "deck", "pi", "nonroot", "appuser",
))  # fmt: skip


def _somebody(match: re.Match[str]) -> bool:
    return match["v"].casefold() not in _ANYBODY and not match["v"].isdigit()


# fmt: off
HOMES = [
    Rule("USER", r"(?<![\w.$}])(?:[A-Za-z]:)?/(?:home|Users)/(?P<v>[^\W_][\w.-]{0,31}(?<![.-]))(?=[/\\:'\"`\s,;)\]}>&?#|]|\.?$|\.\s|\x00)", "(?:[A-Za-z]:)?/(?:home|Users)/[\\w\x80-\xff?]", _somebody, alone=True),
    Rule("USER", r"(?i)\b[A-Z]:\\{1,8}(?:Users|Documents and Settings)\\{1,8}(?P<v>[^\W_][\w.-]{0,31}(?: [A-Z][\w.-]{1,20})?(?<![.-]))(?=[\\/:'\"`\s,;)\]}>]|\.?$|\.\s|\x00)", r"(?i)\b[A-Z]:\\{1,8}(?:Users|Documents and Settings)\\{1,8}", _somebody, alone=True),
    Rule("USER", r"/(?:mnt/)?[a-z]/Users/(?P<v>[^\W_][\w.-]{0,31}(?<![.-]))(?=[/\\:'\"`\s,;)\]}>]|$|\x00)", r"(?:/mnt)?/[a-z]/Users/", _somebody, alone=True),
    Rule("USER", r"(?<![\w/])/(?:var|export|data)/home/(?P<v>[^\W_][\w.-]{0,31})(?=[/\s'\"`]|$|\x00)", "/(?:var|export|data)/home/", _somebody, alone=True),
    Rule("USER", r"-(?:Users|home)-(?P<v>[a-z][a-z0-9]{1,31})-(?=[\w-])", "-(?:Users|home)-[a-z]", _somebody, alone=True),
]
# fmt: on

_COIN = r"bitcoin|btc|wallet|address|satoshi|litecoin|ltc|doge|tron|trx|usdt|solana|sol\b|ripple|xrp|coin|crypto|send|pay|donat|deposit|withdraw|transfer|seed|private key|secret|ada\b|monero|xmr"


def _coin(match: re.Match[str]) -> bool:
    return checks.base58check(match[0]) or (
        _COIN_TOLD(match) and any(c.isdigit() for c in match[0]) and any(c.isupper() for c in match[0][1:])
    )


_COIN_TOLD = _told(_COIN, 60)
_58 = "[1-9A-HJ-NP-Za-km-z]"
_told_solana = _told(r"solana|\bsol\b|phantom|wallet|polkadot|\bdot\b|ripple|xrp", 60)
_told_key = _told(
    "priv(?:ate)?[ _-]?key|wallet key|secret key|signer key|account key|mnemonic|metamask|ethereum key|eth key", 60
)
WALLETS = [
    Rule("WALLET", rf"(?<![\w+-])[123LMDTAXr9mn2]{_58}{{25,34}}(?![\w+=-])", rf"{HB}[123LMDTAXr9mn2]{_58}{{25}}", _coin),
    Rule("WALLET", rf"{START}(?:bc|tb|bcrt|ltc)1[02-9ac-hj-np-z]{{25,87}}{END}", "(?:bc|tb|bcrt|ltc)1[02-9ac-hj-np-z]{20}"),
    Rule("WALLET", rf"{START}(?:addr1|stake1|cosmos1|osmo1|terra1|inj1|sei1|celestia1|bnb1|kava1|secret1|erd1|zs1|u1|nano_|xrb_|bitcoincash:[qp]|kaspa:)[02-9a-z]{{25,}}", "(?:addr1|stake1|cosmos1|osmo1|terra1|inj1|sei1|celestia1|bnb1|kava1|secret1|erd1|zs1|u1|nano_|xrb_|bitcoincash:[qp]|kaspa:)[02-9a-z]{6}"),
    Rule("WALLET", r"(?<![0-9A-Za-z])0x[0-9a-fA-F]{40}(?![0-9A-Za-z])", "0x[0-9a-fA-F]{40}"),
    Rule("WALLET", rf"(?<![\w/+-])(?:4[0-9AB]|8[2-9A-C]){_58}{{93}}(?:{_58}{{11}})?(?![\w/+=-])", rf"{HB}[48]{_58}{{90}}"),
    Rule("WALLET", rf"{START}(?:tz[123]|KT1){_58}{{33}}{END}", rf"{HB}(?:tz[123]|KT1){_58}{{30}}"),
    Rule("WALLET", rf"{START}npub1[02-9ac-hj-np-z]{{50,}}", "npub1[02-9a-z]{20}"),
    Rule("WALLET", r"(?<![\w/+-])(?:[GM][A-Z2-7]{55})(?![\w/+=-])", HB + "[GM][A-Z2-7]{55}"),
    Rule("WALLET", rf"(?<![\w/+-]){_58}{{32,44}}(?![\w/+=-])", r"(?i)(?:solana|\bsol\b|phantom|wallet|polkadot|\bdot\b|ripple|xrp)[^\x00\n]*[1-9A-Za-z]{32}", lambda m: _told_solana(m) and any(c.isdigit() for c in m[0]) and any(c.isupper() for c in m[0]) and any(c.islower() for c in m[0]), place=rf"\b{_58}{{32}}"),
    Rule("PRIVATE_KEY", rf"(?<![\w/+-])(?:[5KLQ9c]{_58}{{50,51}})(?![\w/+=-])", rf"{HB}[5KLQ9c]{_58}{{50}}", lambda m: any(c.isdigit() for c in m[0]) and any(c.islower() for c in m[0]) and any(c.isupper() for c in m[0])),
    Rule("PRIVATE_KEY", rf"{START}(?:[xyzYZtuvUV]prv|xprivv?|Ltpv|dgpv){_58}{{70,}}", "(?:[xyzYZtuvUV]prv|Ltpv|dgpv)"),
    Rule("WALLET", rf"{START}[xyzYZtuvUV]pub{_58}{{80,}}", f"[xyzYZtuvUV]pub{_58}{{4}}"),
    Rule("PRIVATE_KEY", r"(?i)(?<![\w/+-])(?:nsec1[02-9ac-hj-np-z]{50,}|6P[1-9A-HJ-NP-Za-km-z]{56})(?![\w/+=-])", "(?i)(?:nsec1|6P[1-9A-Za-z]{6})"),
    Rule("PRIVATE_KEY", r"(?<![\w/+-])S[A-Z2-7]{55}(?![\w/+=-])", HB + "S[A-Z2-7]{55}"),
    Rule("PRIVATE_KEY", r"(?<![0-9A-Za-z])(?:0x)?[0-9a-fA-F]{64}(?![0-9A-Za-z])", r"(?i)(?:priv(?:ate)?[ _-]?key|wallet key|secret key|signer key|account key|mnemonic|metamask|ethereum key|eth key)[^\x00\n]*[0-9a-fA-F]{64}", lambda m: _told_key(m), place=r"\b(?:0x)?[0-9a-fA-F]{64}"),
]  # fmt: skip

NUMBERS = [*MONEY, *IDS, *MACHINES, *PHONES]
OTHERS = [*MAIL, *WALLETS, *HOMES]
