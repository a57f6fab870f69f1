"""Rows on their way through a file, not through memory, and what is known of each."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lunar_tune import chatml
from lunar_tune.artefacts import Draft, Row
from lunar_tune.dataset.budget import Load, load_of
from lunar_tune.dataset.content import Content, RowFacts
from lunar_tune.dataset.grouping.corpus import Corpus, turns_of
from lunar_tune.dataset.grouping.split import Member, member
from lunar_tune.dataset.system import spared
from lunar_tune.files import PRIVATE_FILE, disk_errors
from lunar_tune.identity import plain_json

UNDATED = "2024-07-26"  # the date that the Llama 3 chat template writes when none is given
AT_ONCE = 1 << 20  # bytes that are written


class Spool:
    """Rows on their way through a file, and what is known of each: for splitting, caps and counts, its words.

    A row is written without the name of its group, which is put in where it belongs when the row is read, and with its
    own system prompt; `trained` is the one that is trained with and weighed, None for its own.
    """

    def __init__(self, path: Path, trained: str | None = None) -> None:
        self.path, self.trained = path, trained
        self.members: list[Member] = []
        self.loads: list[Load] = []
        self.facts: list[RowFacts] = []
        self.content = Content()
        self.corpus = Corpus()
        self._ends, self._gaps = array("q", [0]), array("q")

    def fill(self, drafts: Iterable[Draft]) -> None:
        """Write a row a draft."""
        with _new_file(self.path) as out:
            for draft in drafts:
                turns = turns_of(draft.episode.messages)
                one = member(draft, turns)
                row = _row(draft, one)
                self.corpus.add(turns)
                self.members.append(one)
                self.facts.append(self.content.read(row, one.started_at))
                less = spared(row, self.trained)
                front, rest = _in_two(row)
                self.loads.append(load_of(draft, turns, len(front) + len(rest) + len('""') - less))
                self._gaps.append(self._ends[-1] + len(front))
                self._ends.append(self._gaps[-1] + len(rest))
                out.write(front)
                out.write(rest)

    def lines(self, rows: Iterable[int], groups: Iterable[str]) -> Iterator[bytes]:
        """Yield the lines of some rows, each with the name of its group."""
        with self.path.open("rb", buffering=0) as spooled:
            for i, group in zip(rows, groups, strict=True):
                start, gap, end = self._ends[i], self._gaps[i], self._ends[i + 1]
                spooled.seek(start)
                line = spooled.read(end - start)
                yield b"".join((line[: gap - start], plain_json(group), line[gap - start :]))


def _row(draft: Draft, one: Member) -> Row:
    episode = draft.episode
    return {
        "id": one.id,
        "date": one.started_at[:10] or UNDATED,
        "messages": chatml.to_messages(episode, draft.weights),
        "tools": chatml.to_tools(episode.tools),
        "meta": {"source": episode.source, "thread": episode.thread, "group": "", "model": episode.model},
    }


def _in_two(row: Row) -> tuple[bytes, bytes]:
    """Return the line of a row up to the name of its group, and from there on; the row is used up."""
    meta = row.pop("meta")
    head = plain_json(row)
    named = plain_json({"source": meta["source"], "thread": meta["thread"]})
    front = b'%s,"meta":%s,"group":' % (head[:-1], named[:-1])
    return front, b',"model":%s}}' % plain_json(meta["model"])


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file of unfinished work for writing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with disk_errors(path), os.fdopen(descriptor, "wb", buffering=AT_ONCE) as out:
        yield out


def write_lines(path: Path, lines: Iterable[bytes]) -> tuple[int, str]:
    """Write a file of lines into unfinished work; return how many, and the hex SHA-256 of its bytes."""
    number, digest = 0, hashlib.sha256()
    with _new_file(path) as out:
        for line in lines:
            whole = line + b"\n"
            digest.update(whole)
            out.write(whole)
            number += 1
        out.flush()
        os.fsync(out.fileno())
    return number, digest.hexdigest()
