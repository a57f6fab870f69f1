"""Codex CLI's rollouts: `~/.codex/sessions/**/rollout-*.jsonl`, from 0.40 also `*.jsonl.zst`.

Each line is {timestamp, type, payload}; the types are those of the tool's own source (`RolloutItem`): `session_meta`
(instructions, tools, where it was forked from), `turn_context` (model), `response_item` (what the model saw and said),
`compacted`, and `event_msg`, of which only aborted turns, errors and rollbacks are read, for the others repeat what the
items say. The first generation, without envelopes, is read too. Types that are not known are counted.

What the tool itself puts before the first request (its instructions, the developer's, AGENTS.md) is the system prompt;
the environment and other notes in the user's name are left out and counted. A rollback takes turns out of the
transcript; what stood before it is an episode of its own, its answers marked `undo`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources.codex.items import Session
from lunar_tune.sources.core import cells, jsonl

NAME = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")
PACKED = re.compile(r"rollout-.*\.jsonl\.zst")
TYPES = {"session_meta", "turn_context", "response_item", "event_msg", "compacted"}


class CodexSource:
    """Reads the rollouts of a folder, or one."""

    name = "codex"
    lacks = "ratings, and the schemas of built-in tools"

    def places(self) -> list[Path]:
        """Return the folders of sessions and of archived sessions."""
        set_by_user = os.environ.get("CODEX_HOME")
        home = Path(set_by_user) if set_by_user else Path.home() / ".codex"
        return [home / "sessions", home / "archived_sessions"]

    def recognises_path(self, path: Path) -> bool:
        """Tell from the first lines of a file, or of a folder's first files, whether they are rollouts.

        Compressed ones are known by their names, for the library that unpacks them may be missing.
        """
        return jsonl.recognises(path, _is_ours) or any(PACKED.fullmatch(file.name) for file in jsonl.files(path))

    def threads_path(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield each family with the names, sizes and times of change of its files."""
        return jsonl.threads(path, _head)

    def read_path(self, path: Path, report: Report, only: Collection[str] | None = None) -> Iterator[Episode]:
        """Yield one episode a session, and one for what each rollback took back, in the order of their start.

        Raises:
            MissingExtra: a file is compressed and `zstandard` is not installed.
        """
        return jsonl.read(path, _head, only, lambda head, family: _read_file(head, family, report))


def _is_ours(record: dict[str, Any]) -> bool:
    if isinstance(record.get("payload"), dict):
        return record.get("type") in TYPES if isinstance(record.get("type"), str) else False
    return "type" not in record and {"id", "timestamp", "instructions"} <= record.keys()


def _head(file: Path) -> jsonl.Head:
    """Read a file up to what it says of its session; a forked session repeats its origin's after its own."""
    stem = jsonl.stem(file)
    found = NAME.search(stem)
    session, times = found[1] if found else stem, []
    for record in jsonl.first_lines(file):
        times.append(record.get("timestamp"))
        meta = record.get("payload") if record.get("type") == "session_meta" else record if "id" in record else None
        if not isinstance(meta, dict) or ("type" in meta and meta is record):
            continue
        session = cells.text(meta.get("id") or meta.get("session_id")) or session
        spawn = cells.mapping(cells.mapping(cells.mapping(meta.get("source")).get("subagent")).get("thread_spawn"))
        origins = (meta.get("forked_from_id"), meta.get("parent_thread_id"), spawn.get("parent_thread_id"))
        origin = next((origin for origin in origins if isinstance(origin, str) and origin), None)
        return jsonl.Head(file, session, origin, start=jsonl.earliest([*times, meta.get("timestamp")]))
    return jsonl.Head(file, session, start=jsonl.earliest(times))


def _read_file(head: jsonl.Head, family: str, report: Report) -> list[Episode]:
    session = Session(head.file, head.session)
    for number, record in jsonl.records(head.file, session.lose):
        session.take(number, record)
    conversations = list(session.conversations(family, report))
    for reason, (place, count) in session.lost.items():
        where = place if count == 1 else f"{place} and {count - 1} more"
        report(Verdict(session.thread, "read", reason, where))
    return [episode for said in conversations if (episode := said.episode()) is not None]
