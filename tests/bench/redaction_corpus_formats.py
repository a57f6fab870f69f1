"""How issuers write their secrets: alphabets, checksums, armours. Everything is drawn from the `Random` given."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

DIGITS = string.digits
HEX = "0123456789abcdef"
UPPER_HEX = "0123456789ABCDEF"
LOWER = string.ascii_lowercase
UPPER = string.ascii_uppercase
ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
WORDY = ALNUM + "_"
BASE64 = ALNUM + "+/"
BASE32 = UPPER + "234567"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE62 = DIGITS + UPPER + LOWER
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it is written, and the parts of it that must be gone from what was redacted."""

    text: str
    parts: tuple[str, ...]


def whole(text: str) -> Secret:
    """Return a secret of which nothing may stay."""
    return Secret(text, (text,))


def inside(template: str, value: str) -> Secret:
    """Return a piece of text (`@v@` is the place) of which only the value is secret."""
    return Secret(template.replace("@v@", value), (value,))


def draw(rng: Random, alphabet: str, length: int) -> str:
    """Return random letters that hold at least one digit and one letter where the alphabet has both."""
    while True:
        made = "".join(rng.choices(alphabet, k=length))
        mixed = set(alphabet) & set(DIGITS) and set(alphabet) - set(DIGITS)
        if not mixed or length < 8 or (set(made) & set(DIGITS) and set(made) - set(DIGITS)):
            return made


def base62(number: int, width: int) -> str:
    """Return a number in base 62, padded with zeros on the left."""
    made = ""
    while number:
        number, rest = divmod(number, 62)
        made = BASE62[rest] + made
    return made.rjust(width, "0")


def with_crc62(prefix: str, rng: Random) -> str:
    """Return prefix + 30 random letters + 6 of base-62 CRC-32, as GitHub and npm do."""
    body = draw(rng, ALNUM, 30)
    return prefix + body + base62(zlib.crc32(body.encode()), 6)


def with_crc_hex(prefix: str, body: str, joint: str = "_") -> str:
    """Return prefix + body + joint + CRC-32 in eight hex digits, as Grafana does."""
    return f"{prefix}{body}{joint}{zlib.crc32(body.encode()):08x}"


def b64(raw: bytes) -> str:
    """Return standard base64."""
    return base64.b64encode(raw).decode()


def b64url(raw: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def b64json(value: object) -> str:
    """Return compact JSON in URL-safe base64 without padding."""
    return b64url(json.dumps(value, separators=(",", ":")).encode())


def uuid4(rng: Random) -> str:
    """Return a random UUID, version 4."""
    raw = f"{rng.getrandbits(128):032x}"
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{rng.choice('89ab')}{raw[17:20]}-{raw[20:]}"


def jwt(rng: Random, algorithm: str = "HS256", claims: dict[str, object] | None = None) -> str:
    """Return a signed JSON web token: HMAC where the algorithm says so, else 256 random bytes."""
    issued = rng.randrange(1_700_000_000, 1_790_000_000)
    given = claims or {"sub": str(rng.randrange(10**6, 10**9)), "iat": issued, "exp": issued + 3600}
    text = f"{b64json({'alg': algorithm, 'typ': 'JWT'})}.{b64json(given)}"
    if algorithm == "HS256":
        return f"{text}.{b64url(hmac.new(rng.randbytes(32), text.encode(), hashlib.sha256).digest())}"
    return f"{text}.{b64url(rng.randbytes(256))}"


def armour(label: str, body: str, width: int = 64, heads: Sequence[str] = (), tail: str = "") -> Secret:
    """Return an armoured block; each of its lines is secret."""
    lines = [body[at : at + width] for at in range(0, len(body), width)]
    inner = [*heads, *lines] + ([tail] if tail else [])
    text = "\n".join([f"-----BEGIN {label}-----", *inner, f"-----END {label}-----"])
    return Secret(text, tuple(line for line in lines if len(line) >= 16))


def luhn(rng: Random, prefix: str, length: int) -> str:
    """Return a card number of the prefix and length whose last digit is the Luhn digit."""
    digits = [int(d) for d in prefix + draw(rng, DIGITS, length - 1 - len(prefix))]
    doubled = [sum(divmod(2 * d, 10)) if at % 2 == 0 else d for at, d in enumerate(reversed(digits))]
    return "".join(map(str, digits)) + str(-sum(doubled) % 10)


def ean13(rng: Random, prefix: str) -> str:
    """Return a trade number (GTIN, ISBN) of the prefix with its check digit."""
    body = prefix + draw(rng, DIGITS, 12 - len(prefix))
    return body + str(-sum(int(d) * (1 + 2 * (at % 2)) for at, d in enumerate(body)) % 10)


def grouped(text: str, sizes: Sequence[int], joint: str) -> str:
    """Return text cut into groups of the sizes (the last size repeats)."""
    groups, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[min(turn, len(sizes) - 1)]
        groups.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return joint.join(groups)


IBAN_SHAPES = {
    "DE": "n18", "AT": "n16", "NL": "a4n10", "GB": "a4n14", "FR": "n10c11n2", "ES": "n20", "IT": "a1n10c12",
    "CH": "n5c12", "BE": "n12", "PL": "n24", "SE": "n20", "PT": "n21", "IE": "a4n14", "NO": "n11",
}  # fmt: skip


def iban(rng: Random, country: str) -> str:
    """Return an IBAN of a country's shape with its two check digits (ISO 13616, mod 97)."""
    shape, body, at = IBAN_SHAPES[country], "", 0
    while at < len(shape):
        end = at + 1
        while end < len(shape) and shape[end].isdigit():
            end += 1
        body += draw(rng, {"n": DIGITS, "a": UPPER, "c": UPPER + DIGITS}[shape[at]], int(shape[at + 1 : end]))
        at = end
    number = "".join(str(int(c, 36)) for c in body + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{body}"


def base58check(payload: bytes) -> str:
    """Return Base58Check, as Bitcoin writes addresses and keys."""
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, made = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        made = BASE58[rest] + made
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + made


def bech32(human: str, raw: bytes, version: int | None = None) -> str:
    """Return Bech32 (BIP-173) of bytes, behind a version where one is given."""
    bits, data = int.from_bytes(raw, "big"), []
    width = len(raw) * 8
    pad = -width % 5
    for shift in range(width + pad - 5, -1, -5):
        data.append((bits << pad) >> shift & 31)
    data = data if version is None else [version, *data]
    spread = [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human]
    check = _polymod([*spread, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return human + "1" + "".join(BECH32[d] for d in data)


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= g if top >> i & 1 else 0
    return check


FIRST = (
    "marisol", "jonas", "aylin", "piotr", "chidi", "greta", "tomasz", "leila", "hugo", "saoirse", "ravi", "noor",
    "matteo", "ingrid", "kofi", "yuki", "dmitri", "paloma", "ewan", "zeynep", "linnea", "omar", "beatriz", "felix",
)  # fmt: skip
LAST = (
    "quintero", "lindqvist", "okafor", "brenner", "szymanski", "mahmoudi", "delacroix", "haverford", "tanaka",
    "osullivan", "venkataraman", "albrecht", "moretti", "dahlgren", "mensah", "petrova", "castellanos", "whitlock",
    "yildirim", "fischbach", "nowak", "guerrero", "abernathy", "kowalczyk",
)  # fmt: skip
DOMAINS = (
    "brightfjord.com", "kleinwerk.de", "tallgrass.io", "postbus12.nl", "oakandiron.co.uk", "lumiere-studio.fr",
    "northquay.dev", "solmar.es", "gmail.com", "outlook.com", "proton.me", "web.de", "yahoo.co.jp", "mail.redpine.org",
)  # fmt: skip
WORDS = (
    "harbor", "maple", "copper", "violet", "tundra", "lantern", "pepper", "saddle", "comet", "walnut", "ember",
    "glacier", "pickle", "ribbon", "falcon", "meadow", "cactus", "orbit", "thimble", "marble", "otter", "velvet",
    "canyon", "biscuit", "quartz", "willow", "anchor", "mustard", "pebble", "trumpet",
)  # fmt: skip


def email(rng: Random) -> str:
    """Return an address of a person who does not exist."""
    first, last, domain = rng.choice(FIRST), rng.choice(LAST), rng.choice(DOMAINS)
    local = rng.choice(
        (
            f"{first}.{last}",
            f"{first[0]}{last}",
            f"{first}_{last}",
            f"{first}{rng.randrange(60, 99)}",
            f"{last}.{first}",
        )
    )
    return f"{local}@{domain}"


def password(rng: Random, symbols: str = "!$%#*?") -> str:
    """Return a password such as people choose, or one from a manager."""
    one, two = rng.sample(WORDS, 2)
    make = rng.randrange(6)
    if make == 0:
        return f"{one.title()}{rng.randrange(10, 9999)}{rng.choice(symbols)}"
    if make == 1:
        return f"{one}-{two}-{rng.choice(WORDS)}-{rng.randrange(10, 99)}"
    if make == 2:
        return f"{one.title()}{two.title()}{rng.choice(symbols)}{rng.randrange(1, 99)}"
    if make == 3:
        return f"{one.replace('a', '@').replace('e', '3')}{two}{rng.randrange(100, 999)}"
    if make == 4:
        return draw(rng, ALNUM + symbols, rng.randrange(12, 20))
    return f"{one}{two}{rng.randrange(10, 999)}"
