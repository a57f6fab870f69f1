"""Text without secrets, what was replaced in it, and which of that is right by the plain definitions.

The text is that of the installed packages' descriptions, documents, JSON files and checksum lists and of the standard
library's sources, beside made-up traffic of tools. Packages do hold addresses, home paths and sample keys: what a plain
definition below finds is personal or secret wherever it stands, so replacing it is right. Everything else is wrong.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import json
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from redaction_corpus_traffic import traffic

from lunar_tune.episodes import Episode, Message, ToolCall, to_dict

PIECE = 2400  # letters of a message
SHARES = {"documents": 150_000, "library": 110_000, "json": 40_000, "checksums": 4_000, "traffic": 80_000}


@dataclass(frozen=True, slots=True)
class Clean:
    """A conversation without secrets, of a source."""

    source: str
    words: int
    episode: Episode


def packages() -> Path:
    """Return the folder of the installed packages."""
    return Path(sysconfig.get_paths()["purelib"])


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of whole lines."""
    lines, size = [], 0
    for line in text.splitlines():
        if size + len(line) > PIECE and lines:
            yield "\n".join(lines)
            lines, size = [], 0
        lines.append(line[:PIECE])
        size += len(line) + 1
    if lines:
        yield "\n".join(lines)


def _documents() -> Iterator[str]:
    for found in sorted(importlib.metadata.distributions(), key=lambda one: (one.name or "").lower()):
        if found.name != "lunar-tune":
            yield from pieces(found.read_text("METADATA") or "")
    for path in sorted(packages().rglob("*")):
        if path.suffix in (".md", ".rst") and "licen" not in str(path).lower() and path.stat().st_size > 400:
            yield from pieces(path.read_text(encoding="utf-8", errors="replace"))


def _library() -> Iterator[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = sorted(path for path in folder.glob("*.py")) + sorted((folder / "idlelib").glob("*.txt"))
    names += [
        path
        for one in ("asyncio", "email", "http", "json", "logging", "sqlite3", "urllib", "wsgiref")
        for path in sorted((folder / one).glob("*.py"))
    ]
    for path in sorted(names, key=lambda one: one.name[::-1]):  # any order that does not begin with one topic
        yield from pieces(path.read_text(encoding="utf-8", errors="replace"))


def _json() -> Iterator[Any]:
    for path in sorted(packages().rglob("*.json")):
        if 200 < path.stat().st_size < 150_000:
            try:
                yield from _leaves(json.loads(path.read_text(encoding="utf-8")))
            except ValueError:
                continue


def _leaves(value: Any) -> Iterator[Any]:
    """Yield a JSON value in parts of the size of a tool's result."""
    if isinstance(value, (dict, list)) and len(json.dumps(value)) > PIECE:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, (dict, list)) and value:
        yield value


def _checksums() -> Iterator[str]:
    for path in sorted(packages().glob("*.dist-info/RECORD")):
        yield from pieces("\n".join(path.read_text(encoding="utf-8").splitlines()[:300]))


def sources() -> dict[str, Iterator[Any]]:
    """Return every source of clean text by name."""
    return {
        "documents": _documents(),
        "library": _library(),
        "json": _json(),
        "checksums": _checksums(),
        "traffic": (text for _, text in traffic("clean")),
    }


def clean() -> Iterator[Clean]:
    """Yield clean conversations, of every source up to its share of words."""
    for name, found in sources().items():
        words = 0
        for number, group in enumerate(_grouped(found, 3)):
            episode = conversation(f"{name}-{number}", group)
            size = sum(len(text.split()) for text in _texts(episode))
            words += size
            yield Clean(name, size, episode)
            if words >= SHARES[name]:
                break


def _grouped(found: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(found)
    while group := list(islice(iterator, size)):
        yield group


def conversation(thread: str, group: list[Any]) -> Episode:
    """Return a conversation that holds pieces by turns: a user's text, a tool's result, arguments of a call."""
    messages: list[Message] = []
    for turn, item in enumerate(group):
        call_id = f"call_{turn}"
        if isinstance(item, dict) and turn % 2:
            call = ToolCall(name="store", id=call_id, arguments=item)
            told = Message(role="tool", content='{"ok": true}', tool_call_id=call_id, name="store")
            messages += [
                Message(role="user", content="Store this."),
                Message(role="assistant", tool_calls=(call,)),
                told,
            ]
        elif turn % 3 == 0 or not isinstance(item, str):
            text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=turn % 2 == 0)
            call = ToolCall(name="read", id=call_id, arguments={"part": turn})
            told = Message(role="tool", content=text, tool_call_id=call_id, name="read")
            messages += [Message(role="user", content="Read it."), Message(role="assistant", tool_calls=(call,)), told]
        else:
            messages.append(Message(role="user", content="Write it." if turn % 3 == 2 else item))
        said = item if turn % 3 == 2 and isinstance(item, str) else "I see."
        messages.append(Message(role="assistant", content=said))
    return Episode(source="lunar", path="log.db", thread=thread, messages=tuple(messages), model="m")


def _texts(episode: Episode) -> Iterator[str]:
    yield from (text for _, text in paths(to_dict(episode, with_id=False)["messages"]))


def paths(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield (place, string) of every string of a JSON value."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for number, (key, item) in enumerate(value.items()):
            yield f"{where}/{number}k", key
            yield from paths(item, f"{where}/{number}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from paths(item, f"{where}/{number}")


PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]*_\d+>")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A place that was replaced: what stood there, what stands there now, and the text around it."""

    before: str
    placeholder: str
    around: str
    right: bool


def replaced(given: Episode, redacted: Episode, judged: bool) -> list[Replaced]:
    """Return every place that redaction changed; `judged` asks the plain definitions whether it was right."""
    old, new = (to_dict(one, with_id=False) for one in (given, redacted))
    found: list[Replaced] = []
    for (_, before), (_, after) in zip(paths(old["messages"]), paths(new["messages"]), strict=True):
        if before != after:
            found += _places(before, after, judged)
    return found


def _places(before: str, after: str, judged: bool) -> list[Replaced]:
    kept, marks = PLACEHOLDER.split(after), PLACEHOLDER.findall(after)
    spans = _spans(before, kept)
    if spans is None:  # not placeholders alone: the whole string counts as one place
        return [Replaced(before[:200], "?", "", False)]
    plain = list(plain_spans(before)) if judged else []
    return [
        Replaced(
            before[start:end],
            mark,
            before[max(0, start - 50) : end + 30].replace("\n", "\\n"),
            any(start < stop and first < end for first, stop in plain),
        )
        for (start, end), mark in zip(spans, marks, strict=True)
    ]


def _spans(before: str, kept: list[str]) -> list[tuple[int, int]] | None:
    """Return where the placeholders stand in the text before, by the text that was kept around them."""
    at, spans = len(kept[0]), []
    if not before.startswith(kept[0]):
        return None
    for number, piece in enumerate(kept[1:], 1):
        last = number == len(kept) - 1
        end = len(before) - len(piece) if last else before.find(piece, at + 1)
        if end < at or not before.startswith(piece, end):
            return None
        spans.append((at, end))
        at = end + len(piece)
    return spans


_NAMED = (
    r"(?i:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization"
    r"|(?:api|access|private)[-_ ]?key)"
)
PLAIN = {
    "an e-mail address": re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
    "a user and password in a URL": re.compile(r"://[^\s/@:'\"]*:[^\s/@'\"]+@"),
    "a home path of somebody": re.compile(r"(?:/home/|/Users/|[A-Za-z]:[\\/]+Users[\\/]+)[\w.-]+"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.+?(?:-----END|\Z)", re.S),
    "a web token": re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}"),
    "a key of a known issuer": re.compile(
        r"(?:sk-|hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza|npm_|pypi-|SG\.|sk_live_|sk_test_)[\w.-]{16,}"
    ),
    "a literal under a credential's name": re.compile(
        _NAMED + r"[\w-]*['\"]?\]?\s*(?:=|:|=>|,)\s*['\"][^'\"\s]{3,}['\"]"
    ),
    "a value under a credential's name in a URL": re.compile(r"[?&]" + _NAMED + r"=[\w-]{8,}"),
    "a hardware address": re.compile(r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b"),
    "a US social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "a telephone number": re.compile(r"\+\d[\d ()./-]{7,}\d|\(\d{3}\) ?\d{3}-\d{4}|\b\d{3}[-.]\d{3}[-.]\d{4}\b"),
}
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)(?![\w.]*\w)")
_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


def plain_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the plain definitions find something personal or secret."""
    for pattern in PLAIN.values():
        for found in pattern.finditer(text):
            yield found.span()
    for found in _ADDRESS.finditer(text):
        if _is_address(found[0], text[max(0, found.start() - 12) : found.start()]):
            yield found.span()
    for found in _DIGITS.finditer(text):
        if found[0][0] in "3456" and _luhn(re.sub(r"\D", "", found[0])):
            yield found.span()


def _is_address(text: str, before: str) -> bool:
    """Tell whether a text is an address of a machine: neither the own one nor a version nor a part of a longer list."""
    try:
        address = ipaddress.ip_address(text.rstrip("."))
    except ValueError:
        return False
    own = address.is_loopback or address.is_unspecified or "255.255" in text
    return not own and not re.search(r"(?i)(?:version|ver\.?|v|[=~<>^]=?)\s*$", before) and len(text) > 4


def _luhn(digits: str) -> bool:
    total = sum(sum(divmod(int(d) * (1 + at % 2), 10)) for at, d in enumerate(reversed(digits)))
    return total % 10 == 0


def everything() -> Iterator[str]:
    """Yield texts for the speed test: sources and documents of all installed packages, in pieces."""
    for path in sorted(packages().rglob("*.py"), key=lambda one: one.name[::-1]):
        if path.stat().st_size < 300_000 and "lunar" not in str(path.relative_to(packages())):
            yield from pieces(path.read_text(encoding="utf-8", errors="replace"))
