"""The runs of one Agno session turned into its conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lunar_tune.episodes import Episode, Message
from lunar_tune.seams import Report
from lunar_tune.sources.agno.messages import say, say_without_messages
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.forks import Reported, with_retries
from lunar_tune.sources.core.trees import leaf_paths, not_repeated

KEPT = (
    "run_id", "status", "messages", "input", "content", "model", "reasoning_content", "created_at",
    "forked_from_run_id", "regenerated_from", "member_responses", "step_executor_runs",
)  # fmt: skip
NESTED = ("member_responses", "step_executor_runs")  # a team's and a workflow's, where they have no row of their own


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `body` is what it stored, `at` when it began, `place` where it stands."""

    id: str
    parent: str | None
    status: str
    body: Mapping[str, Any]
    at: Any
    place: str

    @property
    def replaces(self) -> str | None:
        """The run that this one was forked or regenerated from; a copy in a forked session names the origin's."""
        return cells.text(self.body.get("forked_from_run_id") or self.body.get("regenerated_from")) or None


@dataclass(slots=True)
class Family:
    """The sessions forked from one, while they are read in the order of their start.

    `places` says where the runs of those that were read stand in their sessions, and when each began.
    """

    root: str
    forked: bool
    places: dict[str, tuple[int, Any]] = field(default_factory=dict)


def parsed(cell: Any) -> Any:
    """Return the document in a cell; a text, which is no run, when it holds none."""
    try:
        return cells.parse_json(cell)
    except ValueError:
        return "unreadable"


def document(cell: Any) -> Any:
    """Return the document in a cell of a session's row, which SQLAlchemy may have encoded twice."""
    found = parsed(cell)
    return parsed(found) if isinstance(found, str) else found


def stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is read of a run, without the messages that earlier runs hold."""
    kept = {key: body[key] for key in KEPT if key in body}
    messages = kept.get("messages")
    if isinstance(messages, list):
        kept["messages"] = [m for m in messages if not (isinstance(m, dict) and m.get("from_history") is True)]
    return kept


def as_run(body: Mapping[str, Any], parent: Any, at: Any, place: str) -> Run:
    """Return a run; one without an id is named by its place."""
    key, status = cells.text(body.get("run_id")) or place, (cells.text(body.get("status")) or "").upper()
    return Run(key, cells.text(parent) or None, status.removeprefix("RUNSTATUS."), body, at, place)


def session_episodes(
    path: Path, thread: str, listed: Sequence[Run | None], start: str | None, family: Family, report: Report
) -> Iterator[Episode]:
    """Yield a session's paths, that of its last run under its own name, then the runs of members and steps.

    In `listed` None stands for a run that could not be read.
    """
    reading = _Session(path, thread, family, report)
    yield from with_retries(reading.paths(listed, start))
    runs = [run for run in listed if run is not None]
    seen = {run.id for run in runs} | family.places.keys()  # a member's copy has a new id, except within its team's run
    if family.forked:
        for place, run in enumerate(listed):
            if run is not None:
                family.places.setdefault(run.id, (place, run.at))
    for run in runs:
        for member in (*([run] if run.parent is not None else ()), *_nested(run, seen)):
            episode = reading.episode(f"{thread}#{member.id}", [member], member.at)
            if episode is not None:
                yield episode


def _nested(run: Run, seen: set[str]) -> Iterator[Run]:
    """Yield the runs that stand in a run alone, those in them too."""
    waiting: list[Run] = [run]
    while waiting:
        outer = waiting.pop(0)
        for key in NESTED:
            listed = outer.body.get(key)
            for number, body in enumerate(listed if isinstance(listed, list) else ()):
                if not isinstance(body, dict):
                    continue
                place = f"{outer.place}.{key}#{number}"
                inner = as_run(stored(body), outer.id, body.get("created_at") or outer.at, place)
                if inner.id not in seen:
                    seen.add(inner.id)
                    waiting.append(inner)
                    yield inner


class _Session:
    """One session while it is read."""

    def __init__(self, path: Path, thread: str, family: Family, report: Report) -> None:
        self.path, self.thread, self.family, self.reported = path, thread, family, Reported(report)

    def paths(self, listed: Sequence[Run | None], start: str | None) -> list[Episode]:
        """Return an episode a path, the oldest first; one that another path begins with is not repeated."""
        own = [run for run in listed if run is not None and run.parent is None]
        places: dict[str | None, int] = {}
        parents: dict[int, int | None] = {}
        for n, run in enumerate(own):
            before = n - 1 if n else None
            if run.replaces:  # what a fork of a run that is gone followed is not known
                origin = places.get(run.replaces, places.get(self._copy_of(run.replaces, listed)))
                if origin is None and before is not None and own[before].status == "REGENERATED":
                    origin = before
                before = None if origin is None else parents[origin]
            parents[n] = before
            places[run.id] = n
        found = []
        for branch in leaf_paths(parents):
            last = branch.nodes[-1]
            name = self.thread if last == len(own) - 1 else f"{self.thread}#{own[last].id}"
            episode = self.episode(name, [own[n] for n in branch.nodes], start)
            if episode is not None:
                found.append(episode)
        return [found[n] for n in not_repeated([[_said(m) for m in episode.messages] for episode in found])]

    def _copy_of(self, key: str, listed: Sequence[Run | None]) -> str | None:
        """Return this session's copy of a run of its origin; a fork keeps the order and the times of what it copies."""
        place, at = self.family.places.get(key, (len(listed), None))
        copy = listed[place] if place < len(listed) else None
        return copy.id if copy is not None and copy.at == at else None

    def episode(self, thread: str, runs: Sequence[Run], start: Any) -> Episode | None:
        """Return the episode of some runs; None, reported, when nothing was said in them."""
        talk = Conversation("agno", self.path, thread, self.reported.for_path(), group=self.family.root)
        talk.started_at = cells.timestamp(start) or cells.timestamp(runs[0].at)
        prompt: str | None = None
        for run in runs:
            prompt = _add(talk, run, prompt)
        return talk.episode()


def _add(talk: Conversation, run: Run, prompt: str | None) -> str | None:
    """Add what a run says and how it ended; return the prompt in force."""
    first = len(talk.messages)
    listed, model = run.body.get("messages"), run.body.get("model")
    model = model if isinstance(model, str) else None
    if isinstance(listed, list):
        prompt = say(talk, listed, model, run.place, prompt)
    elif listed is not None:
        talk.lost("unreadable messages", run.place)
    if len(talk.messages) == first:
        say_without_messages(talk, run.body, run.at, failed=run.status == "ERROR", place=run.place)
    if run.status == "ERROR":
        why = run.body.get("content")
        talk.say("assistant", at=run.at, model=model, error=why if isinstance(why, str) and why else "the run failed")
    elif run.status == "CANCELLED":
        last = talk.last("assistant")
        if last is not None and last >= first and talk.messages[-1].role == "assistant":
            talk.messages[last] = replace(talk.messages[last], finish="cancelled")
        else:
            talk.say("assistant", at=run.at, model=model, ended="cancelled")
    return prompt


def _said(message: Message) -> tuple[Any, ...]:
    """Return what makes two messages the same; a fork's copies keep their text and calls."""
    calls = tuple((call.name, call.id, call.arguments_raw or cells.dump(call.arguments)) for call in message.tool_calls)
    return message.role, message.content, message.error, message.finish, calls, message.tool_call_id
