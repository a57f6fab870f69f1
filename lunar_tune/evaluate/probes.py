"""Probes: plain questions a model must go on answering after it was tuned.

A probe is a short conversation and a deterministic check of the answer. The checks are lenient about wording: a long,
correct answer passes. Kinds of check, by `check["kind"]`, and what `check["value"]` holds:

- `contains_any`: a list of texts; one of them stands in the answer as whole words, in any case.
- `contains`: a text that stands in the answer exactly, case included.
- `equals`: a text; the answer is that text, but for case, outer quotes and closing punctuation.
- `regex`: a pattern found in the answer (`re.search`).
- `short`: {"any": [texts], "words": n}; `contains_any`, and the answer has at most n words.
- `at_least`: {"any": [texts], "count": n}; at least n different ones of the texts stand in the answer, as whole words.
- `json_key`: {"key": k, "any": [texts]}; the answer holds a JSON object with that key; its value contains one of `any`,
  if that is given.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

_OUTER = " \t\r\n\"'`*.!"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: its id, the group it is counted in, the messages to answer and the check of the answer."""

    id: str
    group: str
    messages: list[dict[str, str]]
    check: dict[str, Any]


def load_probes(path: Path | None = None) -> list[Probe]:
    """Reads probes from a JSONL file, one a line; without `path`, those shipped with the package.

    Blank lines are skipped. A line that is no probe raises ValueError naming the file, the line and the fault.
    """
    if path is None:
        name, text = "probes.jsonl", files(__package__).joinpath("probes.jsonl").read_text(encoding="utf-8")
    else:
        name, text = str(path), path.read_text(encoding="utf-8")
    probes: list[Probe] = []
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            probe = _parse(json.loads(line))
            if probe.id in seen:
                raise ValueError(f"the id {probe.id!r} occurs twice")
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}") from error
        seen.add(probe.id)
        probes.append(probe)
    return probes


def passes(probe: Probe, answer: str) -> bool:
    """Whether this answer to the probe is right; an empty answer never is."""
    return bool(answer.strip()) and _CHECKS[probe.check["kind"]](probe.check["value"], answer.strip())


def _parse(row: object) -> Probe:
    """One probe from a decoded line; ValueError says what is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError("a probe is a JSON object")
    for key, kind in (("id", str), ("group", str), ("messages", list), ("check", dict)):
        if not isinstance(row.get(key), kind) or not row[key]:
            raise ValueError(f"{key!r} is missing, empty or not a {kind.__name__}")
    for message in row["messages"]:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise ValueError("every message needs 'role' and 'content' as text")
    check = row["check"]
    kind = check.get("kind")
    if not isinstance(kind, str) or kind not in _CHECKS:
        raise ValueError(f"unknown check kind {kind!r}; known are {', '.join(_CHECKS)}")
    try:
        _CHECKS[kind](check["value"], "a trial answer")
    except (KeyError, TypeError, AttributeError, re.error) as error:
        raise ValueError(f"the value of check kind {kind!r} is malformed ({error})") from error
    return Probe(row["id"], row["group"], row["messages"], check)


def _stands_in(text: str, answer: str) -> bool:
    """Whether `text` occurs in the answer as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", answer, re.IGNORECASE) is not None


def _contains_any(value: list[str], answer: str) -> bool:
    if isinstance(value, str):
        raise TypeError("a list of texts is needed")
    return any([_stands_in(text, answer) for text in value])


def _contains(value: str, answer: str) -> bool:
    return value in answer


def _equals(value: str, answer: str) -> bool:
    return answer.strip(_OUTER).casefold() == value.strip(_OUTER).casefold()


def _regex(value: str, answer: str) -> bool:
    return re.search(value, answer) is not None


def _short(value: dict[str, Any], answer: str) -> bool:
    return _contains_any(value["any"], answer) and len(answer.split()) <= int(value["words"])


def _at_least(value: dict[str, Any], answer: str) -> bool:
    return sum(_stands_in(text, answer) for text in value["any"]) >= int(value["count"])


def _json_key(value: dict[str, Any], answer: str) -> bool:
    key, wanted = value["key"], value.get("any")
    decoder = json.JSONDecoder()
    for start in (match.start() for match in re.finditer(r"\{", answer)):
        try:
            found, _ = decoder.raw_decode(answer, start)
        except ValueError:
            continue
        if isinstance(found, dict) and key in found:
            return wanted is None or _contains_any(wanted, str(found[key]))
    return False


_CHECKS: dict[str, Callable[[Any, str], bool]] = {
    "contains_any": _contains_any,
    "contains": _contains,
    "equals": _equals,
    "regex": _regex,
    "short": _short,
    "at_least": _at_least,
    "json_key": _json_key,
}
