"""A table map: which table and which column of somebody's own database is what, as `[[harvest.table_map]]` says it.

Pure values, checked as far as that goes without the database; `lunar_tune.sources.table_map` reads by them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from lunar_tune.episodes import Role

OTHERWISE = "*"  # among `roles`: every word that is not named
EXAMPLE = '[{ name = "mybot", table = "chat_log", thread = "session", role = "who", content = "body" }]'


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadMap:
    """The table of conversations: each field but the first is a column of it."""

    table: str
    id: str
    system: str | None = None
    tools: str | None = None
    started_at: str | None = None
    model: str | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackMap:
    """The table of ratings: `message` names the message by the map's `id`."""

    table: str
    message: str
    rating: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """The table of messages: each field but the name, the table and the maps is a column of it.

    `system` is a column too, or else the prompt itself. `updated` is what changes when a row is edited in place.
    """

    name: str
    table: str
    thread: str | None = None
    role: str | None = None
    content: str | None = None
    prompt: str | None = None
    answer: str | None = None
    id: str | None = None
    time: str | None = None
    updated: str | None = None
    order: str | None = None
    model: str | None = None
    error: str | None = None
    finish: str | None = None
    reasoning: str | None = None
    tool_calls: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    tool_arguments: str | None = None
    rating: str | None = None
    rating_note: str | None = None
    system: str | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    ratings: Mapping[str, float] = field(default_factory=dict)
    threads: ThreadMap | None = None
    feedback: FeedbackMap | None = None

    def columns(self) -> dict[str, set[str]]:
        """Return the columns that are named, by table; the text of a prompt is among them."""
        found = {self.table: _named(self, ("name", "table"))}
        for other in (self.threads, self.feedback):
            if other is not None:
                found.setdefault(other.table, set()).update(_named(other, ("table",)))
        return found


def table_maps(values: Any, where: str, problems: list[str]) -> tuple[TableMap, ...]:
    """Return the maps of a TOML list of tables; everything that is wrong is added to `problems`, each with its key."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        problems.append(f"{where} must be a list of tables ([[{where}]]), not {values!r}")
        return ()
    maps: list[TableMap] = []
    for number, given in enumerate(values):
        wrong: list[str] = []
        named = given.get("name") if isinstance(given, Mapping) else None
        if isinstance(given, TableMap):
            maps.append(given)
        elif isinstance(given, Mapping):
            maps += _map(given, wrong)
        else:
            wrong.append(f"must be a table, not {given!r}")
        place = f"{where} {named!r}" if isinstance(named, str) and named else f"{where}[{number}]"
        problems += [f"{place}: {problem}" for problem in wrong]
    return tuple(maps)


def _map(values: Mapping[str, Any], problems: list[str]) -> list[TableMap]:
    """Return the map of a TOML table, nothing when it is wrong."""
    before = len(problems)
    taken = _texts(TableMap, values, "", problems, ("roles", "ratings", "threads", "feedback"))
    taken["roles"] = _roles(values.get("roles", {}), problems)
    taken["ratings"] = _ratings(values.get("ratings", {}), problems)
    for key, kind in (("threads", ThreadMap), ("feedback", FeedbackMap)):
        if key in values:
            taken[key] = _inner(kind, values[key], key, problems)
    _whole(taken, values, problems)
    return [TableMap(**taken)] if len(problems) == before else []


def _named(spec: Any, without: Iterable[str]) -> set[str]:
    values = (getattr(spec, f.name) for f in fields(spec) if f.name not in without)
    return {value for value in values if isinstance(value, str)}


def _texts(
    kind: type[Any], values: Mapping[str, Any], prefix: str, problems: list[str], other: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the keys of `values` that are fields of `kind` and texts; complain of all others."""
    known = {f.name for f in fields(kind)}
    taken: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            problems.append(f"unknown key {prefix}{key}{f', did you mean {close[0]!r}?' if close else ''}")
        elif key in other:
            continue
        elif not isinstance(value, str) or not value or "\x00" in value:
            problems.append(f"{prefix}{key} must be a text, not {value!r}")
        else:
            taken[key] = value
    return taken


def _inner(kind: type[Any], values: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(values, Mapping):
        problems.append(f"{name} must be a table such as {{ table = … }}, not {values!r}")
        return None
    taken = _texts(kind, values, f"{name}.", problems)
    needed = ("table", "id") if kind is ThreadMap else ("table", "message", "rating")
    problems += [f"{name}.{key} is missing" for key in needed if key not in values]
    return None if any(key not in taken for key in needed) else kind(**taken)


def _roles(values: Any, problems: list[str]) -> dict[str, Role]:
    if not isinstance(values, Mapping):
        problems.append(f'roles must be a table such as {{ human = "user" }}, not {values!r}')
        return {}
    for word, role in values.items():
        if role not in get_args(Role):
            problems.append(f"roles.{word} must be one of {', '.join(get_args(Role))}, not {role!r}")
    return {str(word): role for word, role in values.items() if role in get_args(Role)}


def _ratings(values: Any, problems: list[str]) -> dict[str, float]:
    if not isinstance(values, Mapping):
        problems.append(f"ratings must be a table such as {{ like = 1, dislike = -1 }}, not {values!r}")
        return {}
    taken: dict[str, float] = {}
    for word, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
            taken[str(word)] = float(value)
        else:
            problems.append(f"ratings.{word} must be a number, not {value!r}")
    return taken


def _whole(taken: Mapping[str, Any], given: Mapping[str, Any], problems: list[str]) -> None:
    """Complain of columns that a map cannot do without, and of two ways of saying the same."""
    problems += [f"{key} is missing" for key in ("name", "table") if key not in given]
    turns, exchange = [k for k in ("role", "content") if k in given], [k for k in ("prompt", "answer") if k in given]
    if turns and exchange:
        problems.append("role and content (a message a row) exclude prompt and answer (an exchange a row)")
    elif not turns and not exchange:
        problems.append("role and content (a message a row) or prompt and answer (an exchange a row) are missing")
    else:
        pair = ("role", "content") if turns else ("prompt", "answer")
        problems += [f"{key} is missing" for key in pair if key not in given]
    if turns and not exchange and "thread" not in given:
        problems.append("thread is missing: which column says of which conversation a message is")
    if taken.get("feedback") is not None and "id" not in given:
        problems.append("id is missing: feedback names messages by it")
    if not turns and taken.get("threads") is not None and "thread" not in given:
        problems.append("thread is missing: threads are joined by it")
