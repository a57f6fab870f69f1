# ruff: noqa: E501 (a rule is one line)
"""What a secret is called, and whether a value can be one: names of keys, and plausible values under them.

Pure functions over short texts. A name says which kind of secret it holds (`db.password`, `X-Api-Key`, `userEmail`); a
value must then look like a value and not like code, a type, a placeholder or a sentence about secrets.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")

_KEYS = r"(?:api|app|application|access|account|activation|admin|aes|anon|auth|authentication|client|consumer|crypt|deploy|deployment|enc|encryption|hmac|ingest|ingestion|instrumentation|integration|jwt|license|licence|master|merchant|pass|personal|pre_?shared|primary_access|priv|private|publishable|routing_integration|rsa|secret|secret_access|secondary_access|security|server|service|service_role|setup|sftp|shared|shared_access|sign|signing|signature|ssh|sse_customer|ssl|storage|subscription|tls|totp|verification|wallet|webhook|webhook_signing|wep|wifi|wpa)"
_KEY_KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("PASSWORD", re.compile(r"pass(word|wd|phrase|code|wort|w)s?$|(^|_)(pass|pw|pwd|pswd|psw|psk|passwort|kennwort|contrasena|contrase_a|senha|wachtwoord|haslo|losenord|parola|motdepasse|mot_de_passe|pin|passcode|master_pass|pgpass)$|(p|_p|auth|require|smtp|db|user|root|admin|mysql)pass$|pwd$|pin_?(code|number)$|pass_?wd$|credential_value$")),
    ("API_KEY", re.compile(rf"(^|_){_KEYS}_?key(_?id|_?value|_?base)?$|^x_[a-z_]+_key$|^(apikey|appkey|authkey|secretkey|accesskey|privatekey|wpakey|access_?id)$|apikey$")),
    ("CODE", re.compile(r"(verification|security|auth|mfa|2fa|otp|sms|totp|login|activation|backup|recovery|one_time|two_factor|tan|unlock|reset)_?codes?$|^otp$|_otp$|^(one_?time_?(password|passcode))$|^cvv2?$|^cvc2?$|^csc$|^(card_)?(cvv|cvc|security_code)$")),
    ("SECRET", re.compile(r"secrets?(_(value|string|text|data|token))?$|private_?key(_(pem|data|base64|b64|passphrase))?$|^credentials?$|^creds$|^cookies?$|^set_cookie$|^authorization$|^proxy_authorization$|^auth_?header$|connection_?string$|^conn_?str$|^(totp|mfa|otp)_?(seed|key|uri|url)$|sas_?(token|url|uri)$|^signature$|shared_access_signature$|^client_assertion$|(^|_)jwks?_private$|encryption_?salt$|^pepper$|^auth_?string$")),
    ("SEED_PHRASE", re.compile(r"mnemonic(_phrase)?$|seed_?(phrase|words)$|recovery_?(phrase|words|seed)$|^secret_?phrase$|backup_?phrase$")),
    ("TOKEN", re.compile(r"token(_?(value|string|secret|key|hash))?$|^bearer$|^jwt$|(^|_)(phpsessid|jsessionid|asp_net_sessionid|connect_sid|csrf|xsrf|auth_?cookie|samlresponse|saml_?assertion|authtoken|api_?token|magic_?link|ticket_granting_ticket|identitytoken|oauth|pat)$|^auth$")),
    ("SESSION", re.compile(r"(^|_)(session|sess|sid|session_?id|session_?key)$|sess(ion)?_?id$")),
    ("EMAIL", re.compile(r"e_?mail(_?address)?(es)?$|^mailto$")),
    ("PHONE", re.compile(r"(phone|mobile|fax|telephone|cell|whatsapp|telefon|handy)(_?(number|num|no|nr))?s?$|^(tel|msisdn)$")),
    ("CARD", re.compile(r"(card|cc|credit_?card|debit_?card)_?(number|num|no|nr)$|^pan$|^creditcard$")),
    ("IBAN", re.compile(r"(^|_)iban(_?(number|no))?$")),
    ("ACCOUNT", re.compile(r"(bank_?account|account_?(number|num|no)|acct_?(number|no)|routing_?(number|no)|sort_?code|swift(_?code)?|bic)$")),
    ("NATIONAL_ID", re.compile(r"(^|_)(ssn|social_?security(_?(number|no))?|sin|nino|national_?(id|insurance)(_?(number|no))?|tax_?(id|number|no)|passport(_?(number|no|num))?|driver_?s?_?licen[cs]e(_?(number|no))?|licen[cs]e_?number|cpf|cnpj|curp|dni|nie|nif|bsn|pesel|aadhaar|aadhar|personnummer|nhs_?(number|no)|codice_?fiscale|steuer_?id|itin|ein|nric|id_?card(_?(number|no))?)$")),
    ("IP_ADDRESS", re.compile(r"(^|_)(ip|ipv4|ipv6|ip_?addr(ess)?|client_?ip|remote_?(addr|ip)|source_?ip)$")),
)  # fmt: skip
_HARMLESS_KEY = re.compile(
    r"(?:^|_)(page|cursor|continuation|continue|next|sync|eos|bos|pad|unk|mask|stop|special|sep|cls|start|end|first|last|prev|previous|marker|"
    r"image|audio|video|system|user|bot|begin|chat|tool|prompt|completion|text|input|output|per|num|max|min|no|cost|new_line|newline|current|parse)_?token$|"
    r"(?:^|_)(show|hide|forgot|reset|change|confirm|has|is|no|needs?|require[sd]?|min|max|use|enable|allow|valid|wrong|invalid|check|with|without|old_?or_?new)_(password|passcode|token|secret|pin|otp)$|"
    r"^(public|primary|foreign|cache|sort|partition|object|idempotency|translation|i18n|localization)_?key$|"
    r"^(last_?)?(list_key|customer_key|data_key|user_key|site_key|host_key|session|refresh|auth|user_pass|project_key|stream_key|org_key|network_key)$"
)
_SUFFIX = re.compile(
    r"_(?:\d{1,3}|prod(?:uction)?|dev(?:elopment)?|test(?:ing)?|stag(?:ing|e)|live|sandbox|local|b64|base64|encoded|plain|plaintext|raw|new|old|current|previous|"
    r"main|backup|default|primary|secondary|a|b|eu|us|ro|rw|readonly|admin|root|ci|demo|real|enc|encrypted|here|value)$"
)
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CAMEL_CASE = re.compile(r"_*[a-z]*(?:[A-Z][a-z]+)*[A-Z]?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
# variables, templates, values already hidden, words that stand for a value
_STAND_IN = re.compile(
    r"^\$[A-Za-z_]+$|(?-i:^\$[A-Z][A-Z0-9_]+$)|^\$[{(].*[)}]$|^%\w+%$|^%\(?\w*\)?s$|^\{\{?[^{}\d]*\}?\}$|^\{\{.*\}\}$|^<[^<>]*>$|^\[[^\[\]\d]*\]$|^[*x.•●_#-]+$|^X+$|\*{4}|•{3}|x{6}|X{6}|"
    r"^(?:your|my|some|the|insert|enter|put|add|change|replace|fake|dummy|example|sample|placeholder|todo)[_-](?=[a-z_-]*$)|"
    r"[_-]here$|^(?-i:[A-Z]+(?:_[A-Z]+)+)$|\$\{\w|\{\{|\.\.\.$|^…|…$|<[a-z_ -]+>|^env[:.(]|^process\.env|^os\.|^vault:|^ENC\[|^secretmanager|^arn:aws:|^!(?:Ref|Sub|GetAtt|ImportValue|Join|Secret|vault)\b",
    re.IGNORECASE,
)
# fmt: off
ORDINARY = frozenset((
    "none", "null", "true", "false", "nil", "undefined", "string", "str", "text", "bytes", "required", "optional", "nan", "yes", "no", "on", "off",
    "password", "passwd", "secret", "token", "key", "value", "hidden", "redacted", "unknown", "missing", "invalid", "n/a", "na", "tbd", "todo",
    "empty", "default", "example", "test", "changeme", "your-password", "yourpassword", "mypassword", "placeholder", "blank", "username", "user", "email",
    "bearer", "basic", "digest", "session", "cookie", "object", "array", "int", "integer", "boolean", "bool", "number", "float", "any", "any?", "string?", "void", "char",
    "varchar", "uuid", "self", "this", "name", "type", "field", "input", "label", "valid", "expired", "correct", "incorrect", "wrong", "ok", "changed", "enabled",
    "disabled", "set", "unset", "reset", "same", "different", "current", "new", "old", "and", "or", "not", "but", "the", "for", "from", "with", "env", "file", "path", "prompt",
    "stdin", "manual", "plain", "plaintext", "clear", "encrypted", "hashed", "md5", "sha1", "sha256", "sha512", "bcrypt", "oauth", "oauth2", "jwt", "saml", "ldap", "otp", "totp", "api_key",
    "apikey", "access_token", "refresh_token", "id_token", "client_secret", "private_key", "public", "private", "admin", "root", "confirm", "asterisks", "return", "raise", "await", "async", "const", "function", "lambda", "letters", "digits", "characters",
))
_SENTENCE = frozenset((
    "the", "is", "are", "must", "be", "at", "least", "required", "your", "should", "cannot", "not", "please", "field", "invalid", "enter", "contain", "characters", "for", "used", "to", "a", "an", "of", "in", "this", "that", "when", "if", "with",
))
# What follows "the password is" in sentences about passwords.
_ABOUT = frozenset((
    "wrong", "right", "fine", "good", "bad", "here", "there", "gone", "lost", "safe", "secure", "weak", "strong", "short", "long", "empty", "blank", "simple", "plain", "only", "also", "always", "never",
    "already", "still", "just", "now", "then", "too", "very", "quite", "really", "what", "where", "when", "how", "why", "that", "this", "these", "those", "it", "one", "all", "some", "any",
    "between", "within", "under", "over", "about", "above", "below", "behind", "inside", "outside", "through", "longer", "shorter", "stronger", "weaker", "older", "newer", "least", "more", "less",
    "base64", "out", "up", "down", "back", "away", "off", "open", "kept", "sent", "held", "told", "known", "shown", "given", "taken", "stolen", "broken", "written", "hidden", "forgotten", "saved",
    "read", "made", "part", "case", "important", "different", "unique", "complex", "random", "because", "before", "after", "during", "until", "unless", "without", "like", "unlike", "mandatory", "patience",
    "simplicity", "consistency", "practice", "confidential", "temporary", "permanent", "personal", "public", "private", "global", "local", "static", "dynamic", "numeric", "alphanumeric", "case-sensitive", "case-insensitive", "up-to-date", "out-of-date", "server-side", "client-side", "in-memory", "read-only", "write-only", "one-time", "long-lived", "short-lived", "user-specific", "non-empty", "opaque", "unlimited", "their", "your", "mine", "yours", "ours", "hers", "his", "its", "needed", "checked", "exactly", "enough", "useless", "worthless", "obsolete", "exposed", "public-facing", "in", "a", "an", "the", "not", "no", "to", "so", "as", "on", "at", "by", "of", "for", "from", "with", "being", "been", "be", "set", "reset", "due", "up", "used", "stored",
))
# fmt: on


@lru_cache(maxsize=8192)
def key_kind(key: str) -> str | None:
    """Return the kind of secret that a key, variable, header or option of this name holds, None for an ordinary one."""
    name = re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", key[-80:]).lower()).strip("_")
    if _HARMLESS_KEY.search(name):
        return None
    for form in (name, _SUFFIX.sub("", name)):
        for kind, pattern in _KEY_KINDS:
            if pattern.search(form):
                return kind
    return None


def keyed_value(kind: str, value: str) -> bool:
    """Tell whether a text under a key of this kind is what the key promises."""
    plain = value.strip()
    if (
        not plain
        or PLACEHOLDER.fullmatch(plain)
        or plain.casefold() in ("none", "null", "true", "false", "undefined", "n/a")
    ):
        return False
    if re.search(r"^[$%{<\[][^\d\s]*[}>\])%]$|^\$[A-Za-z_]+$|^\$\{.*\}$|\{\{|^\*{3,}$|^x{4,}$|^•+$", plain):
        return False  # a variable, a template, a value already hidden
    if kind == "EMAIL":
        return "@" in value
    if kind == "PHONE":
        return sum(c.isdigit() for c in value) >= 6
    if kind == "SESSION":
        return random_like(plain) and not _UUID.fullmatch(plain)
    if kind in ("TOKEN", "API_KEY"):
        return " " not in plain and len(plain) >= 4 and plain.casefold() not in ORDINARY
    if kind in ("CARD", "ACCOUNT", "NATIONAL_ID", "IBAN"):
        return sum(c.isdigit() for c in value) >= (12 if kind in ("CARD", "IBAN") else 6) and len(plain) <= 40
    if kind == "IP_ADDRESS":
        return False  # its shape tells
    if kind == "CODE":
        return len(plain) <= 80 and any(c.isdigit() for c in plain)
    if plain.isdigit() and len(plain) < 4:  # the pin of a board, not of a card
        return False
    return plain.casefold() not in ORDINARY and not sentence(plain)


def sentence(value: str) -> bool:
    """Tell whether a text says something about a secret instead of being one."""
    words = value.lower().split()
    return len(words) >= 3 and sum(word.strip(".,:;!?'\"") in _SENTENCE for word in words) >= 2


def plausible_literal(value: str, kind: str = "PASSWORD") -> bool:
    """Tell whether a quoted value could be a secret: no template, no sentence, no mere word for one."""
    if (
        len(value) < 3
        or (" " in value.strip() and (kind != "PASSWORD" or sentence(value) or len(value) > 60))
        or PLACEHOLDER.search(value)
    ):
        return False
    if value.casefold() in ORDINARY or _STAND_IN.search(value):
        return False
    if kind == "SESSION":  # often the plain number of a conversation
        return keyed_value(kind, value)
    if kind in ("TOKEN", "SECRET", "API_KEY"):
        return (
            len(value) >= 4
            and (any(c.isdigit() for c in value) or (len(value) >= 20 and random_like(value)) or not value.isalpha())
            and not re.fullmatch(r"[a-z]+(?:[-_. /][a-z]+)*|[A-Z]+(?:_[A-Z]+)*|https?://[^?@]*", value)
        )
    if " " in value:
        return kind == "PASSWORD" and not value.rstrip().endswith(":")
    return True


def looks_secret(value: str, *, loose: bool = False) -> bool:
    """Tell whether an unquoted value could be a secret: not an expression, a type, a number of things or a word."""
    if not loose and value.isalpha() and value[1:].islower():
        return False  # a word, as most are
    if len(value) < 4 or PLACEHOLDER.search(value) or value.casefold() in ORDINARY:
        return False
    if _STAND_IN.search(value):
        return False
    if re.fullmatch(
        r"[A-Za-z_][\w.]*[(\[][^\d]*|#[0-9a-f]{3,8}|(?:self|this|cls|args|opts|options|config|settings)\.[\w.,]+", value
    ):
        return False  # a call, an index, a generic type, a colour, an attribute
    if loose:
        return True
    digits, letters = any(c.isdigit() for c in value), any(c.isalpha() for c in value)
    if re.fullmatch(r"(?:\w*[a-zA-Z_]\w*(?:\.|->|::))+[a-zA-Z_]\w*", value):  # os.environ.TOKEN, config.password
        return False
    if digits and not letters:
        return len(value) >= 4 and value.isdigit()
    signs = any(not (c.isalnum() or c in "_.:/-") for c in value)
    mixed = any(c.islower() for c in value) and any(c.isupper() for c in value[1:])
    return len(value) >= 6 and (digits or signs or (mixed and not _CAMEL_CASE.fullmatch(value)))


def spoken_word(value: str) -> bool:
    """Tell whether a plain word at the end of "my password is …" is the password and no remark about it."""
    word = value.casefold()
    if (
        not 5 <= len(word) <= (40 if word.count("-") > 1 else 24)
        or not re.fullmatch(r"[^\W\d_]+(?:-[^\W\d_]+)*", word)
        or word in ORDINARY
        or word in _ABOUT
    ):
        return False
    return not re.search(r"(?:ed|ing|ly|able|ible|al|ive|ent|ant|ous|ful|less|ory|ary|est)$", word)


def random_like(text: str) -> bool:
    """Tell whether a text looks drawn by chance: letters and digits, or both cases, change often.

    One in five neighbours differs in class at least; in base 62 it is two of three, in hex one of two, in identifiers
    of words fewer than one of ten.
    """
    classes = [1 if c.islower() else 2 if c.isupper() else 3 if c.isdigit() else 0 for c in text]
    changes = sum(1 for a, b in pairwise(classes) if a and b and a != b)
    signs = classes.count(0)
    if len(set(classes) - {0}) < 2 or len(text) < 6 or signs * 3 > len(text):
        return False
    words = sum(map(len, re.findall(r"[A-Z]?[a-z]{3,}", text)))
    return changes * 5 >= len(text) - signs and words * 5 < (len(text) - signs) * 3
