"""Fork families: which conversations are copies of another, and which answers were given anew on a later path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Message, Signal
from lunar_tune.seams import Report
from lunar_tune.sources.core import cells


def copies(begun: Iterable[tuple[str, Hashable]], marks: Callable[[str], Collection[Hashable]]) -> dict[str, str]:
    """Return, for each conversation that is a copy of an older one by how it begins, the oldest of them.

    `begun` gives (conversation, time of its first message), the oldest conversation first; None is no time. `marks`
    says what a conversation begins with, and is asked only of those that share a time: one mark in common is enough.
    """
    together: dict[Hashable, list[str]] = {}
    for thread, time in begun:
        if time is not None:
            together.setdefault(time, []).append(thread)
    found: dict[str, str] = {}
    for threads in together.values():
        seen: dict[Hashable, str] = {}
        for thread in threads if len(threads) > 1 else ():
            own = marks(thread)
            oldest = next((seen[mark] for mark in own if mark in seen), thread)
            for mark in own:
                seen.setdefault(mark, oldest)
            if oldest != thread:
                found[thread] = oldest
    return found


def root(thread: str, above: Mapping[str, str]) -> str:
    """Return what a conversation was forked from in the end; of those that go round in a circle the first by name."""
    seen: set[str] = set()
    while thread in above:
        if thread in seen:
            return min(seen)
        seen.add(thread)
        thread = above[thread]
    return thread


def with_retries(paths: Sequence[Episode]) -> list[Episode]:
    """Return the paths with a `retry` on the first answer of each that a newer path gives otherwise.

    `paths` are of one family, the oldest first. Two answers to the same messages are a regeneration; another question
    at the same place is not.
    """
    newer: dict[int, set[int]] = {}  # what was said before -> the answers of newer paths
    marked: list[Episode] = []
    for episode in reversed(paths):
        answers: list[tuple[int, int]] = []
        before, superseded = 0, None
        for index, message in enumerate(episode.messages):
            own = hash(_said(message))
            if message.role == "assistant":
                answers.append((before, own))
                if superseded is None and newer.get(before, set()) - {own}:
                    superseded = index
            before = hash((before, own))
        for place, answer in answers:
            newer.setdefault(place, set()).add(answer)
        if superseded is not None:
            signal = Signal(kind="retry", message=superseded, note="given anew on a later path")
            episode = replace(episode, signals=tuple(sorted((*episode.signals, signal), key=_place)))
        marked.append(episode)
    return marked[::-1]


def _said(message: Message) -> tuple[str, str, str]:
    """Return what makes two messages the same to a reader; ids and times differ between copies."""
    calls = [[call.name, call.arguments, call.arguments_raw] for call in message.tool_calls]
    return message.role, message.content, cells.dump(calls) if calls else ""


def _place(signal: Signal) -> int:
    return -1 if signal.message is None else signal.message


class Reported:
    """What was reported of a family: the paths share their beginning, and what could not be read in it is said once."""

    def __init__(self, report: Report) -> None:
        self._report, self._said = report, set[tuple[str, str]]()

    def for_path(self) -> Report:
        """Return the report for the next path, which leaves out what earlier paths reported."""
        before = frozenset(self._said)

        def report(verdict: Verdict) -> None:
            key = (verdict.reason, verdict.detail)
            self._said.add(key)
            if key not in before:
                self._report(verdict)

        return report
