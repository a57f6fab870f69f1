# ruff: noqa: E501 (a rule is one line)
"""Secrets in known places: URLs, HTTP headers, command lines, files of logins, SQL, JSON web keys."""

from __future__ import annotations

import base64
import binascii
import re

from lunar_tune.curate.redact.coded import PIPED
from lunar_tune.curate.redact.encoded import KEYS
from lunar_tune.curate.redact.rules import Rule
from lunar_tune.curate.redact.told import odd, strong, unguessable
from lunar_tune.curate.secrets import looks_secret, plausible_literal, random_like, sentence

_TRAILING = ".,;:!?)]}\"'`”*"


def _basic(match: re.Match[str]) -> bool:
    """The text is base 64 of user:password, as registries' logins are written."""
    try:
        plain = base64.b64decode(match["v"] + "=" * (-len(match["v"]) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in plain and plain.isascii() and len(plain) >= 5


def _keyed(match: re.Match[str]) -> bool:
    return len(match["v"]) >= 8 and looks_secret(match["v"])


def _password(match: re.Match[str]) -> bool:
    return plausible_literal(match["v"]) and not re.fullmatch(r"\d{1,5}", match["v"])


def _no_variable(match: re.Match[str]) -> bool:
    value = match["v"].rpartition(":")[2]
    return (
        not re.match(r"[$%{<*]|x+$|\.\.\.|(?:pass|password|pwd|token|secret|pw|passwd|port|\d{1,5})$", value, re.I)
        and len(value) >= 2
    )


_TOOLS = r"(?:docker|podman|az|helm|oc|cf|ibmcloud|nerdctl|buildah|skopeo|crane|vault|sqlcmd|bcp|redis-cli|mosquitto_\w+|ldap\w+|mongo\w*|psexec|winexe|lftp|ncftp\w*|7z|zip|unzip|rar|unrar|pdftk|qpdf|net use|htpasswd|expect|imapsync|swaks|xfreerdp|rdesktop|ipmitool|influx|clickhouse-client|cqlsh|snowsql|impacket-\w+|crackmapexec|evil-winrm)"
PLACED = [
    *PIPED,
    *KEYS,
    Rule("URL_CREDENTIALS", r"(?<![A-Za-z])[A-Za-z][a-z0-9+.-]{1,30}(?<!\\n)://(?P<v>[^\s/@:'\"<>\x00]*:[^\s/'\"<>\x00]+)@(?=[\w\[$%{<.-])", r"[A-Za-z][a-z0-9+.-]*://[^\s/@:'\"<>\x00]*:[^\s/'\"<>\x00]+@", _no_variable),
    Rule("URL_CREDENTIALS", r"://(?P<v>[\w.~%+=-]{16,})@(?=[\w-]+\.)", r"://[\w.~%+=-]{16,}@", lambda m: random_like(m["v"])),
    Rule("URL_CREDENTIALS", r"(?<![\w/@])(?P<v>[\w.-]+:[^\s/@:'\"<>\x00]+)@(?:tcp|unix)\(", r"[\w.-]+:[^\s/@:'\"<>\x00]+@(?:tcp|unix)\(", _no_variable),
    Rule("PASSWORD", r"\b(?:sqlplus|sqlcl|exp|imp|jdbc:oracle:thin:)\s?\w+/(?P<v>[^\s@/'\"]{3,})@", r"(?:sqlplus|sqlcl|exp|imp|oracle:thin:)\s?\w+/[^\s@/]+@"),
    Rule("TOKEN", r"(?i:\bbearer\s+)(?P<v>(?=\S{0,60}\d)[\w.~+/=-]{12,}[\w~+/=-])", r"(?i)bearer\s+[\w.~+/=-]{12}"),
    Rule("TOKEN", r"(?i:\bbearer\s+)(?P<v>[\w.~+/=-]{20,})", r"(?i)bearer\s+[\w.~+/=-]{20}", lambda m: random_like(m["v"])),
    Rule("TOKEN", r"(?i:authorization\\*['\"]?\]?\s*[:=,]\s*\\*['\"]?(?:basic|token|digest|apikey|api-key|key|bot|splunk|sso-key|genie_?key|hawk|negotiate|ntlm|zoho-oauthtoken|oauth|klaviyo-api-key|discogs|client-id|ak|sig)[ :=]+(?:token=|username=)?['\"]?)(?P<v>[\w.~+/=:-]{8,})", r"(?i)authorization\\*['\"]?\]?\s*[:=,]", lambda m: any(c.isdigit() for c in m["v"]) or len(m["v"]) >= 20 or m["v"].endswith("=")),
    Rule("TOKEN", r"(?i:authorization\\*['\"]?\]?\s*[:=]\s*\\*['\"]?)(?P<v>(?=[\w.~+/=-]{0,40}\d)[\w.~+/=-]{16,})", r"(?i)authorization\\*['\"]?\]?\s*[:=]\s*\\*['\"]?[\w.~+/=-]{16}"),
    Rule("TOKEN", r"\bBasic\s{1,4}(?P<v>[A-Za-z0-9+/]{8,}={0,2})", r"Basic\s{1,4}[A-Za-z0-9+/]{8}", _basic),
    Rule("PASSWORD", r"\bAUTH\s+(?:LOGIN|PLAIN)\s+(?P<v>[A-Za-z0-9+/]{8,}={0,2})", r"AUTH\s+(?:LOGIN|PLAIN)\s"),
    Rule("PASSWORD", r"\bLOGIN\s+\"?[\w.@+-]+\"?\s+\"?(?P<v>[^\s\"\\\x00]{4,})", r"LOGIN\s+\"?[\w.@+-]+\"?\s", lambda m: odd(m["v"])),
    Rule("SECRET", r"\"auth\\*\"\s*:\s*\\*\"(?P<v>[A-Za-z0-9+/]{8,}={0,2})", r"\"auth\\*\"\s*:", _basic),
    Rule("TOKEN", r"(?<=[?&])(?:key|code|auth|sid|ticket|otp|pin|jwt|assertion|hash|access|session|invite|t|k|s|sig|signature|state|nonce|client_id|api|tk|magic|apikey|appid|app_id|token|hmac|verify|confirmation|confirm|reset)=(?P<v>[\w.~%+/=-]{16,})", r"[?&][a-z_]{1,16}=[\w.~%+/=-]{16}", lambda m: random_like(m["v"]) or unguessable(m["v"])),
    Rule("PASSWORD", r"(?<![\w-])(?:-u|--user|--proxy-user|-U|--basic-auth|--auth|-a|-l)(?:[ =]|(?=['\"]))\s*['\"]?[^\s:'\"$]{1,64}:(?P<v>[^\s'\"$\x00][^\s'\"\x00]{2,})", r"(?:-u|--user|--proxy-user|-U|--basic-auth|--auth|-a|-l)[ ='\"]+[^\s:'\"]+:[^\s'\"]{3}", _password),
    Rule("PASSWORD", r"\b(?:mysql\w*|mariadb\w*|mycli)\b[^\n|;\x00]*?\s-p(?P<v>[^\s'\"\x00-][^\s'\"\x00]*)", r"(?:mysql|mariadb|mycli)[^\n|;\x00]*\s-p[^\s]", _password),
    Rule("PASSWORD", r"\bsshpass\s+-p\s*(?P<q>['\"]?)(?P<v>[^\s'\"\x00$]+|(?<=['\"])[^'\"\n\x00]+)(?P=q)", r"sshpass\s+-p"),
    Rule("PASSWORD", r"\b" + _TOOLS + r"\b[^\n|;\x00]{0,120}?\s(?:-p|-P|-a|-w|--pass|/p:|-pass)(?: ?(?P<q>['\"]?))(?P<v>[^\s'\"\x00$-][^\s'\"\x00]{3,})", r"\s(?:-p|-P|-a|-w|--pass|/p:|-pass) ?['\"]?[^\s'\"-][^\s'\"]{3}", lambda m: strong(m["v"]) or (re.search(r"login|sshpass|sqlcmd|redis-cli|zip|7z|mongo|ldap|xfreerdp", m[0]) is not None and _password(m) and not re.fullmatch(r"[\d:.]+(?:/\w+)?|[\w./-]+/[\w./-]*|\d+:\d+", m["v"])), place=_TOOLS + r"\b[^\n|;\x00]*\s(?:-p|-P|-a|-w|--pass|/p:|-pass) ?['\"]?[^\s'\"-][^\s'\"]{3}"),
    Rule("PASSWORD", r"\bhtpasswd\s+-\w*b\w*\s+\S+\s+\S+\s+(?P<v>[^\s'\"\x00]+)", r"htpasswd\s+-"),
    Rule("PASSWORD", r"\becho\s+['\"]?[\w.-]+:(?P<v>[^\s'\"\x00]+)['\"]?\s*\|\s*(?:sudo\s+)?chpasswd", r"echo\s[^\n]*chpasswd", _password),
    Rule("PASSWORD", r"\bnet\s+use\s+[^\n\x00]*?/user:\S+\s+(?P<v>[^\s/'\"\x00]+)", r"(?i)net\s+use\s[^\n\x00]*/user:", flags=re.IGNORECASE),
    Rule("PASSWORD", r"\b(?:smbclient|mount\.cifs|rpcclient|nmblookup)\b[^\n\x00]*?-U\s*['\"]?[\w.\\-]+%(?P<v>[^\s'\"\x00]+)", r"(?:smbclient|mount\.cifs|rpcclient|nmblookup)[^\n\x00]*-U\s*['\"]?[\w.\\-]+%"),
    Rule("PASSWORD", r"\bpass:(?P<v>[^\s'\"\x00$]{4,})", r"\bpass:[^\s'\"$]", _password),
    Rule("PASSWORD", r"(?i)\bIDENTIFIED\s+(?:WITH\s+\w+\s+)?BY\s+(?:PASSWORD\s+)?\\*['\"](?P<v>[^'\"\n\\\x00]+)", "(?i)IDENTIFIED\\s+(?:WITH|BY)", _password),
    Rule("PASSWORD", r"(?i)\b(?:ENCRYPTED\s+)?PASSWORD\s+\\*['\"](?P<v>[^'\"\n\\\x00]+)\\*['\"]", "(?i)PASSWORD\\s+\\\\*['\"]", lambda m: _password(m) and " " not in m["v"]),
    Rule("PASSWORD", r"(?i)\b(?:login|user|username|account|machine \S+)\s+\S+\s+(?:password|pass|passwd)\s+(?P<v>[^\s'\"\x00\\,;]{3,})", "(?i)(?:login|user|username|account|machine)\\s+\\S+\\s+(?:password|pass|passwd)\\s", lambda m: (_password(m) and not re.fullmatch(r"[a-z]+", m["v"])) or ("login" in m[0][:6] and _password(m) and not re.search(r"(?i)and|or|the", m[0][6:].split()[0]))),
    Rule("PASSWORD", r"(?i)\b(?:requirepass|masterauth|userpassword|sasl_passwd|ppp-password|secret 5|secret 0|password 7|password 0|enable secret|snmp-server community|auth-pass|AUTH)\s+(?P<v>[^\s'\"\x00]{6,})", "(?i)(?:requirepass|masterauth|userpassword|sasl_passwd|ppp-password|password [07]|secret [05]|enable secret|snmp-server community|auth-pass|AUTH)\\s", lambda m: strong(m["v"]) or m[0][:8].lower() in ("requirep", "masterau")),
    Rule("PASSWORD", r"(?<![^\s\"'`\x00])(?<!://)[\w.*-]+:(?:\d{2,5}|\*):[\w*-]+:[\w*.-]+:(?P<v>[^\s:'\"\\\x00]{3,})(?=$|[\s\"'`\\])", r"[\w.*-]+:(?:\d{2,5}|\*):[\w*-]+:[\w*.-]+:[^\s:]{3}", lambda m: _password(m) and not re.fullmatch(r"[\d.]+|[\w/.-]+\.\w{1,4}", m["v"])),
    Rule("PASSWORD", r"(?i)\b(?:username|user|login|creds|credentials|user ?name)\s*(?:/|&|and|or|\+)\s*(?:password|pass|pw|pwd)\b[^\n\x00]{0,24}?(?:are|is|:|=|->)\s*['\"`]?[\w.@+-]+['\"`]?\s?(?:/|:|and|,|\|)\s?['\"`]?(?P<v>[^\s'\"`,;\x00]{4,})", "(?i)(?:user|name|login|creds|credentials)\\s*(?:/|&|and|or|\\+)\\s*(?:password|pass|pw|pwd)", lambda m: _password(m)),
    Rule("PASSWORD", r"(?i)\b(?:log ?in|sign ?in|creds|credentials|account|auth|login details|wi-?fi|wlan|ssid)\b[^\n\x00(){}=<>\[\]]{0,40}?[\s:(]['\"`]?[\w.+@-]{2,40}['\"`]?\s?[:/|]\s?['\"`]?(?P<v>[^\s'\"`,;(){}\[\]\x00]{6,})", "(?i)(?:log ?in|sign ?in|creds|credentials|account|auth|wi-?fi|wlan|ssid)[^\\n\\x00]*[\\w.+@-]['\"`]?\\s?[:/|]", lambda m: (strong(m["v"].rstrip(_TRAILING)) or odd(m["v"].rstrip(_TRAILING))) and "://" not in m[0] and not re.search(r"\w/\w+/", m[0])),
    Rule("PASSWORD", r"(?i)\b(?:log ?in|sign ?in|logged in|connect|authenticate|ssh|account)\b[^\n\x00]{0,30}?(?:as|user|username|with)\s+['\"`]?[\w.@+-]+['\"`]?\s*(?:/|,|and|with|using|password|pass|pw)+\s*(?:password|pass|pw)?:?\s*['\"`]?(?P<v>[^\s'\"`,;()\x00]{6,})", "(?i)(?:log ?in|sign ?in|logged in|connect|authenticate|ssh|account)[^\\n\\x00]*(?:as|user|username|with)\\s", lambda m: strong(m["v"].rstrip(_TRAILING))),
    Rule("PASSWORD", r"(?:ConvertTo-SecureString|-AsPlainText)\s+(?:-String\s+)?['\"](?P<v>[^'\"\n\x00]{3,})", "(?:ConvertTo-SecureString|-AsPlainText)"),
    Rule("SECRET", r"(?<![A-Za-z0-9])_(?:auth|authToken|password)\s*=\s*['\"]?(?P<v>[^\s'\"\x00]{6,})", "_(?:auth|authToken|password)\\s*=", lambda m: not m["v"].startswith(("$", "{", "<"))),
    Rule("SECRET", r"\"(?:d|p|q|dp|dq|qi|k)\"\s*:\s*\"(?P<v>[\w-]{22,})\"", r"\"(?:d|p|q|dp|dq|qi|k)\"\s*:\s*\"[\w-]{22}"),
    Rule("SECRET", r"\"private_key_id\\*\"\s*:\s*\\*\"(?P<v>[0-9a-f]{20,})", r"\"private_key_id"),
    Rule("PRIVATE_KEY", r"(?i)(?:PrivateKey|PresharedKey|private[ _-]?key|wireguard key)\W{1,6}(?:is\s+)?(?P<v>[A-Za-z0-9+/]{42,43}=)", "(?i)(?:PrivateKey|PresharedKey|private[ _-]?key|wireguard key)\\W"),
    Rule("SECRET", r"(?i)(?<=[?&])(?:secret|seed)=(?P<v>[A-Z2-7]{16,})", "(?i)[?&](?:secret|seed)=[A-Z2-7]{16}"),
    Rule("PASSWORD", r"(?i)\b(?:set|chang(?:e|ed|ing)|updat(?:e|ed|ing)|reset|rotated?|setting)\s+(?:the\s+)?[\w.-]*(?:password|passwd|pwd|passphrase)\s+(?:to|=>|->)\s+\\*['\"`]?(?P<v>[^\s'\"`\\,;()<>\x00]{6,})", r"(?i)(?:set|chang|updat|reset|rotat)[a-z]*\s+(?:the\s+)?[\w.-]*(?:password|passwd|pwd|passphrase)\s+(?:to|=>|->)\s", lambda m: odd(m["v"].rstrip(_TRAILING))),
    Rule("PASSWORD", r"\bsetx[ \t]+\w*(?i:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|KEY)[ \t]+\\*['\"]?(?P<v>[^\s'\"\\\x00$%][^\s'\"\\\x00]+)", r"setx[ \t]+\w*(?i:PASS|PWD|SECRET|TOKEN|KEY)", _password),
    Rule("PASSWORD", r"(?m)^[ \t]*(?:ENV|setx|ARG)[ \t]+\w*(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|KEY)[ \t]+(?P<q>['\"]?)(?P<v>[^\s'\"\x00$][^\s'\"\x00]*|(?<=['\"])[^'\"\n\x00]+)(?P=q)", r"[ \t]*(?:ENV|setx|ARG)[ \t]+\w*(?:PASS|PWD|SECRET|TOKEN|KEY)", _password),
    Rule("PASSWORD", r"(?m)^(?:export )?[A-Z_]*PASS(?:WORD|WD|PHRASE)?=(?P<v>[a-z]{2,12}(?: [a-z]{2,12}){2,9})$", r"(?:export )?[A-Z_]*PASS(?:WORD|WD|PHRASE)?=[a-z]+ "),
    Rule("PASSWORD", r"(?i:\bpass ?phrase(?: for [\w ]{1,30})? ?(?:is|:|=) ?)(?P<v>[a-z]{3,10}(?: [a-z]{3,10}){3,8})(?=[.,;!?\n\x00]|$)", r"(?i:\bpass ?phrase)[^\n]* ?(?:is|:|=) ?[a-z]", lambda m: not sentence(m["v"])),
    Rule("CODE", r"\bG-\d{6}\b", r"G-\d{6}"),
]  # fmt: skip
