"""Logs that are folders of JSONL files: their lines one by one, which files belong together, episodes in order.

A line that cannot be read costs that line; the last line of a file may be half-written, for the agent may be writing.
A thread is a family: the files of one session, of its subagents and of the sessions forked from it. The first lines of
a file say which family it is of, so that reading one family opens only its own files further.
"""

from __future__ import annotations

import heapq
import importlib
import io
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from lunar_tune.episodes import Episode
from lunar_tune.errors import MissingExtra
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, trees
from lunar_tune.sources.core.conversation import Conversation

HEAD = 50  # lines that say what a file is
SNIFFED = 20  # files that say what a folder is
UNREADABLE = "an unreadable line"
LONGEST = 1 << 27  # bytes of a line; a longer one is unreadable
Record = dict[str, Any]
Broken = Callable[[str, int], None]  # (reason, line)


@dataclass(frozen=True, slots=True)
class Head:
    """What a file's first lines say.

    `origin` is the session that this one was forked from or works for. `name` is what the family is called if it began
    in this file, by default the session. `start` is the earliest time in the lines read.
    """

    file: Path
    session: str
    origin: str | None = None
    name: str = ""
    start: str = ""


def files(path: Path) -> list[Path]:
    """Return the JSONL files of a file or folder, sorted; of a file and its compressed copy the file."""
    if path.is_file():
        return [path] if _is_jsonl(path.name) else []
    found = [
        Path(folder) / name
        for folder, _, names in os.walk(path)  # links to folders are not followed
        for name in names
        if _is_jsonl(name)
    ]
    plain = {str(file) for file in found}
    return sorted(file for file in found if file.suffix != ".zst" or str(file.with_suffix("")) not in plain)


def _is_jsonl(name: str) -> bool:
    return name.endswith((".jsonl", ".jsonl.zst"))


def stem(file: Path) -> str:
    """Return a file's name without its endings."""
    return file.name.removesuffix(".zst").removesuffix(".jsonl") or file.name


def records(file: Path, broken: Broken, lines: int | None = None) -> Iterator[tuple[int, Record]]:
    """Yield (line number, object) of a file or of its first lines; `broken` is told of every line that is none.

    Raises:
        MissingExtra: the file is compressed and `zstandard` is not installed.
    """
    number = 0
    try:
        with _opened(file) as handle:
            for number, raw in enumerate(islice(_lines(handle), lines), 1):
                if not raw.strip():
                    continue
                try:
                    value = cells.parse_json(raw.decode("utf-8", "replace"))
                except ValueError:
                    broken(UNREADABLE if raw.endswith(b"\n") else "a half-written last line", number)
                    continue
                if isinstance(value, dict):
                    yield number, value
                else:
                    broken("a line that is no object", number)
    except (OSError, EOFError):
        broken("a file that cannot be read further", number + 1)


def _lines(handle: BinaryIO) -> Iterator[bytes]:
    while raw := handle.readline(LONGEST):
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = handle.readline(LONGEST)
            raw = b"too long\n"
        yield raw


def _opened(file: Path) -> BinaryIO:
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("no regular file")  # a pipe would never end
    if file.suffix != ".zst":
        return file.open("rb")
    return cast(BinaryIO, io.BufferedReader(_Unpacked(file)))


class _Unpacked(io.RawIOBase):
    """A zstd stream; what is wrong with it is an OSError."""

    def __init__(self, file: Path) -> None:
        library = zstandard()
        self.handle, self.error = file.open("rb"), library.ZstdError
        self.inner = library.ZstdDecompressor().stream_reader(self.handle, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read(len(buffer))
        except self.error as error:
            raise OSError("not a zstd stream") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if hasattr(self, "handle"):  # the library may be missing
            self.handle.close()
        super().close()


def zstandard() -> Any:
    """Return the library that unpacks zstd.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise MissingExtra("zstandard", "zstd") from error


def recognises(path: Path, is_ours: Callable[[Record], bool]) -> bool:
    """Tell whether one of the first lines of a file, or of a folder's first files, is of a format."""
    return any(is_ours(record) for file in islice(files(path), SNIFFED) for record in first_lines(file))


def first_lines(file: Path) -> Iterator[Record]:
    """Yield the readable objects among a file's first lines; none of a compressed file that cannot be unpacked."""
    try:
        for _, record in records(file, lambda reason, line: None, HEAD):
            yield record
    except MissingExtra:
        return


def families(heads: Iterable[Head]) -> dict[str, list[Head]]:
    """Return the files of each family, named after where it began, in the order of their start.

    A family's name stays what it is when sessions are forked from it later. Where the session it began in is not among
    the files, it has that session's name.
    """
    ordered = sorted(heads, key=lambda head: (head.start, head.file))
    sessions = {head.session for head in ordered}
    began: dict[str, Head] = {}
    for head in ordered:
        if head.name or head.origin:
            began.setdefault(head.session, head)
    origins = {session: head.origin or None for session, head in began.items()}
    found: dict[str, list[Head]] = {}
    for head in ordered:
        root = trees.root(origins, head.session)
        name = began[root].name if root in began else ""
        found.setdefault(name if name and name not in sessions else root, []).append(head)
    return found


def threads(path: Path, head: Callable[[Path], Head]) -> Iterator[tuple[str, str]]:
    """Yield each family with the names, sizes and times of change of its files."""
    for name, members in families(map(head, files(path))).items():
        yield name, base.stamp(*sorted(_state(path, member.file) for member in members))


def _state(path: Path, file: Path) -> tuple[str, int, int]:
    name = file.relative_to(path).as_posix() if file != path else file.name
    try:
        found = file.stat()
    except OSError:  # deleted meanwhile
        return name, -1, -1
    return name, found.st_size, found.st_mtime_ns


def read(
    path: Path,
    head: Callable[[Path], Head],
    only: Collection[str] | None,
    episodes: Callable[[Head, str], Iterable[Episode]],
) -> Iterator[Episode]:
    """Yield the episodes that `episodes` makes of (file, family), in the order of their start; `only` names families.

    Only episodes of files that overlap are held.
    """
    if only is not None and not only:
        return
    wanted = [
        (member.start, member.file, member, family)
        for family, members in families(map(head, files(path))).items()
        if only is None or family in only
        for member in members
    ]
    held: list[tuple[str, int, Episode]] = []
    count = 0
    for start, _, member, family in sorted(wanted, key=lambda item: item[:2]):
        while held and held[0][0] <= start:
            yield heapq.heappop(held)[2]
        for episode in episodes(member, family):
            heapq.heappush(held, (episode.started_at or "", count, episode))
            count += 1
    while held:
        yield heapq.heappop(held)[2]


def earliest(times: Sequence[Any]) -> str:
    """Return the earliest of some cells as a time, "" where none is one."""
    return min((time for time in map(cells.timestamp, times) if time), default="")


def undo_from(conversation: Conversation, first: int) -> None:
    """Say that the exchanges from message `first` on were taken back: on the last answer of each."""
    last = None
    for index in range(first, len(conversation.messages)):
        role = conversation.messages[index].role
        if role == "user" and last is not None:
            conversation.judge("undo", message=last)
            last = None
        elif role == "assistant":
            last = index
    if last is not None:
        conversation.judge("undo", message=last)
