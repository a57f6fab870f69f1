"""Which logs are on this machine, and what is in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.sources.log import Reader, open_log

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Description:
    """What a log holds. `calls` and `ratings` are counts; `unreadable` is how many things could not be read.

    `problem` says why the log itself cannot be read, and nothing else is known then.
    """

    source: str
    path: str
    conversations: int = 0
    turns: int = 0
    calls: int = 0
    ratings: int = 0
    first: str | None = None
    last: str | None = None
    lacks: str = ""
    unreadable: int = 0
    problem: str = ""


def find_logs(readers: Sequence[Reader]) -> list[Path]:
    """Return the logs at the places where the formats keep them (a reader's optional `places()`).

    A folder in which the reader recognises nothing is left out: the agent is installed and was not used.
    """
    found: list[Path] = []
    for reader in readers:
        places = getattr(reader, "places", None)
        for path in places() if places is not None else ():
            if path not in found and os.path.exists(path) and _offered(path, reader):
                found.append(path)
    return found


def _offered(path: Path, reader: Reader) -> bool:
    if hasattr(reader, "recognises_path"):
        return bool(reader.recognises_path(path))
    return path.is_file()


def describe(path: Path, readers: Sequence[Reader], told: Progress | None = None) -> Description:
    """Read a log through and return what is in it; `told` hears (threads read, threads) now and then.

    Raises:
        SourceError: as `open_log`.
    """
    lost: list[Verdict] = []
    conversations = turns = calls = ratings = 0
    starts: list[str] = []
    with open_log(path, readers) as log:
        for episode in log.read(lost.append):
            conversations += 1
            if told is not None and conversations % 500 == 0:
                told(min(conversations, len(log.threads)), len(log.threads))
            turns += sum(m.role == "assistant" for m in episode.messages)
            calls += sum(len(m.tool_calls) for m in episode.messages)
            ratings += sum(s.kind == "rating" for s in episode.signals)
            if episode.started_at:
                starts.append(episode.started_at)
    return Description(
        source=log.name,
        path=str(path),
        conversations=conversations,
        turns=turns,
        calls=calls,
        ratings=ratings,
        first=min(starts, default=None),
        last=max(starts, default=None),
        lacks=log.source.lacks,
        unreadable=len(lost),
    )
