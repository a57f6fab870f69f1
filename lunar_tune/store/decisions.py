"""What the owner decided about turns: `HOME/decisions.jsonl`, one decision a line, readable by the owner alone.

A decision is kept by the content of its turns (`curate.review.turn_keys`), so it holds for the same words in whatever
log, thread or longer conversation they are met again. A key has one decision, the last one. `names` are hashes of what
the conversation can be called, so that forgetting it takes its decisions too: the text of an edit goes with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import lock, read_jsonl, write_jsonl
from lunar_tune.identity import content_id

Action = Literal["keep", "drop", "edit"]
ACTIONS = ("keep", "drop", "edit")
FILE = "decisions.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of some turns of one conversation; `at` is ISO-8601 UTC.

    `until` is the key of the last turn that `thread` had when all of it was decided at once, None where turns were
    decided one by one; `text` is the answer as it should have been (an edit).
    """

    action: Action
    keys: tuple[str, ...]
    thread: str
    at: str
    until: str | None = None
    text: str | None = None
    names: frozenset[str] = frozenset()


class Decisions:
    """The decisions of a workspace. Reading needs no lock; each change is made under one and written whole."""

    def __init__(self, home: Path) -> None:
        self._home, self.path = home, home / FILE

    def all(self) -> list[Decision]:
        """Return the decisions, oldest first.

        Raises:
            ArtefactBroken: the file is not what this program writes.
        """
        if not self.path.is_file():
            return []
        try:
            return [_read(line) for line in read_jsonl(self.path)]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactBroken(self.path, "a line of it is no decision") from error

    def decide(self, decision: Decision) -> None:
        """Add a decision; earlier ones lose the keys that it is about.

        Raises:
            WorkspaceBusy, DiskFull: nothing was changed.
        """
        with lock(self._home / "decisions.lock"):
            self._write([*_without(self.all(), decision.keys), decision])

    def undo(self, keys: Collection[str]) -> int:
        """Take back what was decided of some keys; return how many of them had a decision."""
        with lock(self._home / "decisions.lock"):
            had = self.all()
            found = sum(key in keys for one in had for key in one.keys)
            if found:
                self._write(_without(had, keys))
        return found

    def forget(self, names: Collection[bytes]) -> int:
        """Remove the decisions about conversations that go by one of some hashed names; return how many."""
        wanted = {name.hex() for name in names}
        with lock(self._home / "decisions.lock"):
            had = self.all()
            left = [one for one in had if not one.names & wanted]
            if len(left) < len(had):
                self._write(left)
        return len(had) - len(left)

    def _write(self, decisions: Iterable[Decision]) -> None:
        write_jsonl(self.path, ({**asdict(one), "names": sorted(one.names)} for one in decisions))


def decisions_mark(decisions: Iterable[Decision]) -> str | None:
    """Return a content id of decisions, None without any; when they were made makes no difference."""
    said = [[sorted(one.keys), one.action, one.until, one.thread if one.until else None, one.text] for one in decisions]
    return content_id("decisions", sorted(said, key=lambda one: one[0])) if said else None


def _without(decisions: Iterable[Decision], keys: Collection[str]) -> list[Decision]:
    """Return the decisions without some keys; one that is about nothing then is gone."""
    gone = frozenset(keys)
    left = (replace(one, keys=tuple(key for key in one.keys if key not in gone)) for one in decisions)
    return [one for one in left if one.keys]


def _read(line: dict[str, Any]) -> Decision:
    if line["action"] not in ACTIONS:
        raise ValueError(line["action"])
    return Decision(**{**line, "keys": tuple(line["keys"]), "names": frozenset(line["names"])})
