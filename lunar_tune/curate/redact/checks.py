"""Numbers and addresses that prove themselves: the checksums of cards, accounts, national ids, tokens and wallets.

Every function takes a text as it was found, signs included, and tells whether its checksum (and, where the issuer fixes
them, its prefix and length) is right. None of them knows what stands around the text.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from functools import lru_cache

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Issuers' prefixes and lengths (ISO/IEC 7812; the ranges that Visa, Mastercard, Amex, Discover, JCB, Diners, UnionPay,
# Maestro and Mir use).
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011\d\d|64[4-9]\d{3}|65\d{4})\d{10,13}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[123])\d{8,15}|220[0-4]\d{12}"
)
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip


def digits_of(text: str) -> str:
    """Return the ASCII digits of a text."""
    return "".join(c for c in text if "0" <= c <= "9")


def luhn(text: str) -> bool:
    """Tell whether the digits pass the Luhn check (ISO/IEC 7812-1)."""
    digits = [int(c) for c in digits_of(text)]
    doubled = (2 * d - 9 * (d > 4) for d in digits[-2::-2])
    return len(digits) > 1 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def card(text: str) -> bool:
    """Tell whether the digits are those of a payment card: a known issuer, its length, the Luhn check."""
    return _CARD.fullmatch(digits_of(text)) is not None and luhn(text)


def iban(text: str) -> bool:
    """Tell whether a text is an IBAN: the country's length, modulo 97 (ISO 13616)."""
    plain = "".join(c for c in text if c.isalnum()).upper()
    if not plain.isascii() or IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def crc32_token(token: str) -> bool:
    """Tell whether a token ends in six base-62 digits of the CRC-32 of what is before them (GitHub, npm)."""
    body, check = token.rpartition("_")[2][:-6], token[-6:]
    if len(body) < 20 or not set(check) <= set(_BASE62):
        return False
    number = 0
    for c in check:
        number = number * 62 + _BASE62.index(c)
    return number == zlib.crc32(body.encode())


def base58check(text: str) -> bool:
    """Tell whether a text is base58 with a right checksum: addresses and keys of Bitcoin, Litecoin, Tron and others."""
    number = 0
    for c in text:
        place = _BASE58.find(c)
        if place < 0:
            return False
        number = number * 58 + place
    data = b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return len(data) > 20 and hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))


def _day(year: str, month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31 and year.isdigit()


def us_ssn(text: str) -> bool:
    """United States: area, group and serial that are issued (SSA; from 900 on the IRS's ITIN)."""
    area, group, serial = (digits_of(text)[a:b] for a, b in ((0, 3), (3, 5), (5, 9)))
    return area not in ("000", "666") and group != "00" and serial != "0000"


def spanish(text: str) -> bool:
    """Spain: DNI or NIE, the letter is the number modulo 23."""
    plain = "".join(c for c in text if c.isalnum()).upper()
    number = plain[:-1].replace("X", "0", 1).replace("Y", "1", 1).replace("Z", "2", 1)
    return number.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def italian(text: str) -> bool:
    """Italy: codice fiscale, the last letter is the weighted sum modulo 26."""
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    plain = text.upper()
    places = [int(c) if c.isdigit() else ord(c) - 65 for c in plain[:15]]
    total = sum(odd[p] if i % 2 == 0 else p for i, p in enumerate(places))
    return chr(65 + total % 26) == plain[15]


def french(text: str) -> bool:
    """France: NIR, 97 less the number modulo 97."""
    plain = re.sub(r"[ .-]", "", text).upper()
    number = plain[:13].replace("2A", "19").replace("2B", "18")
    return len(plain) == 15 and number.isdigit() and 97 - int(number) % 97 == int(plain[13:])


def brazilian(text: str) -> bool:
    """Brazil: CPF, two digits of weighted sums modulo 11."""
    digits = digits_of(text)
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    return all(digits[n] == str(_weighted(digits[:n], tuple(range(n + 1, 1, -1))) * 10 % 11 % 10) for n in (9, 10))


def brazilian_company(text: str) -> bool:
    """Brazil: CNPJ, two digits of weighted sums modulo 11."""
    digits, weights = digits_of(text), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return len(digits) == 14 and all(
        digits[n] == str(11 - r if (r := _weighted(digits[:n], weights[13 - n :]) % 11) > 1 else 0) for n in (12, 13)
    )


def chinese(text: str) -> bool:
    """China: resident identity card, ISO 7064 modulo 11-2 and a date of birth."""
    if not _day(text[6:10], text[10:12], text[12:14]) or not "1900" <= text[6:10] <= "2030":
        return False
    digits = [10 if c in "xX" else int(c) for c in text]
    return sum(d << (17 - i) for i, d in enumerate(digits)) % 11 == 1


def aadhaar(text: str) -> bool:
    """India: Aadhaar, the Verhoeff check."""
    total = 0
    for place, digit in enumerate(reversed(digits_of(text))):
        total = _dihedral(total, _permuted(place, int(digit)))
    return total == 0


def _dihedral(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


@lru_cache(maxsize=256)
def _permuted(place: int, digit: int) -> int:
    for _ in range(place % 8):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit


def canadian(text: str) -> bool:
    """Canada: SIN, the Luhn check; none begins with 0 or 8."""
    return digits_of(text)[0] not in "08" and luhn(text)


def belgian(text: str) -> bool:
    """Belgium: national number, 97 less the number modulo 97 (with a 2 before it for those born from 2000 on)."""
    digits = digits_of(text)
    return any(97 - int(born + digits[:9]) % 97 == int(digits[9:]) for born in ("", "2"))


def swiss(text: str) -> bool:
    """Switzerland: AHV number, an EAN-13."""
    digits = digits_of(text)
    return (_weighted(digits[:12], (1, 3) * 6) + int(digits[12])) % 10 == 0


def nordic(text: str) -> bool:
    """Sweden: personnummer (Luhn over the last ten digits); Denmark's has no checksum any more: a date."""
    digits = digits_of(text)[-10:]
    return (_day(digits[:2], digits[2:4], str(int(digits[4:6]) % 60)) and luhn(digits)) or _day(
        digits[4:6], digits[2:4], digits[:2]
    )


def finnish(text: str) -> bool:
    """Finland: henkilötunnus, the number modulo 31 as a sign."""
    number = text[:6] + text[7:10]
    return _day(text[4:6], text[2:4], text[:2]) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number) % 31] == text[10]


def polish(text: str) -> bool:
    """Poland: PESEL, a weighted sum modulo 10 and a date of birth."""
    month = str(int(text[2:4]) % 20)
    return _day(text[:2], month, text[4:6]) and _weighted(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def dutch(text: str) -> bool:
    """Netherlands: BSN, the eleven test."""
    return _weighted(digits_of(text).zfill(9), (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def nhs(text: str) -> bool:
    """England: NHS number, a weighted sum modulo 11."""
    return _weighted(digits_of(text), (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def chilean(text: str) -> bool:
    """Chile: RUT, a weighted sum modulo 11."""
    plain = re.sub(r"[.-]", "", text).upper()
    total = sum(int(d) * (2 + i % 6) for i, d in enumerate(reversed(plain[:-1])))
    return "0123456789K0"[11 - total % 11] == plain[-1]


def singaporean(text: str) -> bool:
    """Singapore: NRIC or FIN, a letter of the weighted sum modulo 11."""
    total = _weighted(text[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if text[0] in "TG" else 3 if text[0] == "M" else 0)
    letters: str = "JZIHGFEDCBA" if text[0] in "ST" else "XWUTRQPNMLK" if text[0] in "FG" else "XWUTRQPNJLK"
    return letters[total % 11] == text[8]


def mexican(text: str) -> bool:
    """Mexico: CURP, a weighted sum modulo 10 over letters and digits and a date of birth."""
    order = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(order.index(c) * (18 - i) for i, c in enumerate(text[:17]))
    return _day(text[4:6], text[6:8], text[8:10]) and str(-total % 10) == text[17]


Check = Callable[[str], bool]
