# ruff: noqa: E501 (a rule is one line)
"""Secrets of several words or parts: keys of two-factor logins, recovery codes; seed phrases of wallets are in `seeds`."""

from __future__ import annotations

import re

from lunar_tune.curate.redact.coded import CODED
from lunar_tune.curate.redact.encoded import ENCODED
from lunar_tune.curate.redact.rules import Spans, Spot
from lunar_tune.curate.redact.seeds import SEEDS

_B32 = re.compile(
    r"(?<![\w=])(?:[A-Z2-7]{16,64}={0,6}|(?:[A-Z2-7]{4}[ -]){3,15}[A-Z2-7]{2,4}|(?:[a-z2-7]{4} ){3,15}[a-z2-7]{4}|[a-z2-7]{32,64})(?![\w=])"
)


def _second_factor(text: str, begin: int, end: int) -> Spans:
    """A base-32 key after a word for two-factor logins, and lists of recovery codes."""
    stop = min(len(text), end + 120)
    for match in _B32.finditer(text, end, stop):
        value = match[0]
        if any(c in "234567" for c in value) or (value.isupper() and len(value) >= 16):
            yield "SECRET", match.start(), match.end()
            return


_CODES = re.compile(
    r"(?:\W|\d{1,2}[.)] |\\n){0,8}(?:\b(?P<v>\d{4}[- ]\d{4}|[A-Za-z0-9]{4,6}-[A-Za-z0-9]{4,6}(?:-[A-Za-z0-9]{4,6}){0,3}|\d{6,10}|[a-z0-9]{8,12}|[A-Z0-9]{8,12})\b)"
)


def _recovery(text: str, begin: int, end: int) -> Spans:
    """The codes of a list of recovery codes."""
    word = re.compile(
        r"(?:\s+(?:are|is|for|your|the|my|now|here|below|following|account|github|google|login|:|-|\(|\w+)){0,8}?[\s:=\[(\"'`-]*(?=[\[\"'`\s\d(-]*\w)",
        re.I,
    ).match(text, end)
    at = end
    for first in _CODES.finditer(text, end, min(len(text), end + 80)):
        if any(c.isdigit() for c in first["v"]):
            at = first.start()
            break
    else:
        return
    del word
    while (match := _CODES.match(text, at)) is not None and any(c.isdigit() for c in match["v"]):
        yield "CODE", match.start("v"), match.end("v")
        at = match.end()


LISTED = [
    *SEEDS,
    *ENCODED,
    *CODED,
    Spot(r"(?i:2fa|totp|mfa|\botp|authenticator|two[- ]factor|setup key|2-step|second factor|secret key|base32|secret)[^\n\x00]*[^\w](?:[A-Z2-7]{4}[ -]?){3}", _second_factor, place=r"(?i:2fa|totp|mfa|\botp|authenticator|two[- ]factor|setup key|2-step|second factor|secret key|base32|secret)"),
    Spot(r"(?i)(?:backup|recovery|scratch|emergency|rescue)[ _-]?(?:login |access |2fa |mfa )?codes?", _recovery),
]  # fmt: skip
