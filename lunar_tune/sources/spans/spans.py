"""Conversations out of traces: what a session's model calls have in common is told once, whole.

A store of spans repeats: every call of an agent's loop holds all that came before, and so may the next trace of a
session. `episodes` keeps the longest history of every line of talk (prefixes are dropped) and joins the traces of a
session in time order: a trace that begins with what was said before goes on from it, and one that brings no history of
its own follows it. Histories that do neither (sub-agents, regenerated or edited turns) are episodes of their own,
`thread#span`, in the session's `group`. Spans of tools tell failures, times, and results that no later call repeats.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lunar_tune.episodes import Episode, Message, Signal, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources.core import cells, trees
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.spans.feedback import Judgement, signal
from lunar_tune.sources.spans.tools import with_runs
from lunar_tune.sources.spans.traces import Call, Lost, Reading, Trace


def episodes(
    source: str,
    path: Path,
    thread: str,
    traces: Iterable[Trace],
    judgements: Iterable[Judgement],
    report: Report,
    started_at: Any = None,
) -> Iterator[Episode]:
    """Yield the episodes of one session: its traces in time order, or one trace that has no session.

    `judgements` are those of the session; a trace brings its own. Each trace is read when its turn comes.
    """
    session = _Session(Conversation(source, path, thread, report, started_at=started_at))
    for trace in traces:
        session.add(trace)
    session.judgements += judgements
    yield from session.episodes()


@dataclass(slots=True, eq=False)
class _Line:
    """One line of talk: messages, which prefix of which history each of them ends, and what is known of them."""

    name: str
    system: str | None = None
    keys: list[Hashable] = field(default_factory=list)
    prefixes: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    last: Call | None = None
    offered: list[tuple[ToolSpec, ...]] = field(default_factory=list)
    signals: list[tuple[int | None, Signal]] = field(default_factory=list)

    def extend(self, call: Call, begin: int) -> None:
        """Take a history's messages from `begin` on."""
        self.keys += call.keys[begin:]
        self.prefixes += call.prefixes[begin:]
        self.messages += call.exchange.history[begin:]
        if call.failed:
            end, error = cells.timestamp(call.exchange.span.end), call.exchange.span.error
            failure = Message(role="assistant", created_at=end, model=call.exchange.model, error=error, finish="error")
            self.keys.append(call.failure)
            self.prefixes.append(call.failure)
            self.messages.append(failure)
        self.system = call.exchange.system or self.system
        self.last = call


Where = dict[int, tuple[_Line, int]]


class _Session:
    def __init__(self, about: Conversation) -> None:
        self.about = about  # only its names and its reports are used; every line gets its own
        self.reading = Reading()
        self.calls: list[Call] = []
        self.main: dict[str, Call] = {}  # by trace, the longest history
        self.failed: list[str] = []
        self.judgements: list[Judgement] = []
        self.lines: list[_Line] = []
        self.current: _Line | None = None
        self.retried: list[tuple[Call, Call]] = []
        self._prefixes: dict[int, int] = {}

    def add(self, trace: Trace) -> None:
        """Read a trace's calls of models and tools, and what was thought of it."""
        lost: Lost = {}
        calls, judged = self.reading.calls(trace, lost)
        for one in calls:
            call = self._whole(one)
            call.index = len(self.calls)
            call.prefixes = [self._prefixes.setdefault(p, p) for p in trees.prefix_hashes(call.keys)]
            self.calls.append(call)
            known = self.main.get(trace.id)
            if known is None or len(call.keys) >= len(known.keys):
                self.main[trace.id] = call
            lost.update(((reason, call.exchange.span.place), None) for reason in call.exchange.lost)
        for reason, place in lost:
            self.about.lost(reason, place)
        if trace.id not in self.main:
            self.about.lost("a trace without a readable model call", trace.place)
        if trace.failed:
            self.failed.append(trace.id)
        self.judgements += trace.judgements
        self.judgements += judged

    def _whole(self, call: Call) -> Call:
        """Return a call with what its server kept: a request may hold the newest results only."""
        found = call.exchange
        first = found.given[0] if found.given else None
        wanted = first.tool_call_id if first is not None and first.role == "tool" else None
        if wanted is None and found.follows is None:
            return call
        for before in reversed(self.calls):
            earlier = before.exchange
            asked = {made.id for message in earlier.said for made in message.tool_calls} - {None}
            if (found.follows and earlier.answer_id == found.follows) or wanted in asked:
                given = (*earlier.history, *found.given)
                found = replace(found, given=given, system=found.system or earlier.system)
                return Call(found, [*before.keys, *call.keys])
        return call

    def episodes(self) -> Iterator[Episode]:
        """Yield the line that the session ended with under the session's name, the others beside it, oldest first."""
        kept = set(trees.longest([call.prefixes for call in self.calls]))
        mains = {id(call) for call in self.main.values()}
        for index, call in enumerate(self.calls):
            if index in kept:
                self._place(call, id(call) in mains)
            elif call.failed:
                self.about.lost("a failed call that was tried again", call.exchange.span.place)
        if self.current is None and self.lines:
            self.current = self.lines[-1]
        where = self._where()
        for call in self.calls:
            line, _ = _at(call, where)
            if line is not None and call.exchange.tools:
                line.offered.append(call.exchange.tools)
        self._judge(where)
        spoken, heard = self._said()
        for line in self.lines:
            episode = self._episode(line, spoken, heard)
            if episode is not None:
                yield episode

    def _place(self, call: Call, main: bool) -> None:
        """Join a history to the line that it goes on from, or begin a line with it."""
        line, begin = self.current, 0
        if main and line is not None and line.last is not None:
            begin = _overlap(line.keys, call.keys)
            first = self._first(call, line.last)
            again = line.last.given_keys == first.given_keys
            if again and line.last.exchange.span.trace != first.exchange.span.trace:
                self.retried.append((line.last, first))
            if begin or (not again and _follows(line, first)):
                line.extend(call, begin)
                return
        line = _Line(call.exchange.span.id)
        line.extend(call, 0)
        self.lines.append(line)
        if main:
            self.current = line

    def _first(self, call: Call, last: Call) -> Call:
        """Return the first call after `last` that a history goes on from, which may be the history's own."""
        prefixes = set(call.prefixes)
        for index in range(last.index + 1, call.index):
            between = self.calls[index]
            if between.prefixes and between.prefixes[-1] in prefixes:
                return between
        return call

    def _where(self) -> Where:
        """Return the line and place of every prefix; of lines that share one, the current line."""
        ordered = [line for line in self.lines if line is not self.current]
        ordered += [self.current] if self.current is not None else []
        return {prefix: (line, n) for line in ordered for n, prefix in enumerate(line.prefixes)}

    def _judge(self, where: Where) -> None:
        """Give each line what was thought of it: by people and judges, by asking again, by the traces' status."""
        by_span: dict[tuple[str, str], Call] = {}
        for call in self.calls:
            by_span.setdefault((call.exchange.span.trace, call.exchange.span.id), call)
        for judgement in self.judgements:
            place: int | None = None
            if judgement.trace is None:
                line = self.current
            else:
                judged = by_span.get((judgement.trace, judgement.span)) if judgement.span else None
                judged = judged or self.main.get(judgement.trace)
                line, place = _at(judged, where) if judged is not None else (None, 0)
            if line is None:
                self.about.lost("feedback on a trace without a conversation", judgement.place)
            else:
                line.signals.append((place, signal(judgement)))
        for earlier, later in self.retried:
            line, place = _at(earlier, where)
            if line is not None and earlier.exchange.said:
                note = f"answered again in {later.exchange.span.trace}"
                line.signals.append((place, Signal(kind="retry", note=note)))
        for trace in self.failed:
            main = self.main.get(trace)
            line, place = _at(main, where) if main is not None and main.exchange.span.error is None else (None, 0)
            if line is not None:
                line.signals.append((place, Signal(kind="annotation", value="ERROR", note="the trace's status")))

    def _said(self) -> tuple[dict[int, Message], dict[int, Any]]:
        """Return what each call said and when each message was first given, by the prefixes that they end."""
        spoken: dict[int, Message] = {}
        heard: dict[int, Any] = {}
        for call in self.calls:
            span, begin = call.exchange.span, len(call.exchange.given)
            for prefix in call.prefixes[:begin]:
                heard.setdefault(prefix, span.start)
            for message, prefix in zip(call.exchange.said, call.prefixes[begin:], strict=True):
                if prefix not in spoken:
                    spoken[prefix] = replace(message, created_at=cells.timestamp(span.end))
        return spoken, heard

    def _episode(self, line: _Line, spoken: dict[int, Message], heard: dict[int, Any]) -> Episode | None:
        """Return a line's messages as the calls that made them tell them, results as the tools' own spans do."""
        about = self.about
        thread = about.thread if line is self.current else f"{about.thread}#{line.name}"
        said = Conversation(about.source, about.path, thread, about.report, system=line.system)
        said.started_at, said.group = about.started_at, about.thread if len(self.lines) > 1 else None
        for tools in line.offered:
            said.offer(tools)
        messages = []
        for message, prefix in zip(line.messages, line.prefixes, strict=True):
            moment = message.created_at or cells.timestamp(heard.get(prefix))
            messages.append(spoken.get(prefix) or replace(message, created_at=moment))
        indices = [_say(said, message) for message in with_runs(cells.pair_calls(messages), self.reading.runs)]
        for place, one in line.signals:
            said.judge(one.kind, one.value, None if place is None else indices[place], one.note)
        return said.episode()


def _at(call: Call, where: Where) -> tuple[_Line | None, int]:
    """Return the line and place of a call's last message, which is its failure where it has no answer."""
    for end in (call.failure, *call.prefixes[-1:]):
        if end in where:
            return where[end]
    return None, 0


def _overlap(keys: Sequence[Hashable], history: Sequence[Hashable]) -> int:
    """Return how many messages a history repeats of a line's end: an agent may send only the newest of them.

    One message alone may be said twice, so that it counts only when it is the whole line.
    """
    for size in range(min(len(keys), len(history) - 1), 0, -1):
        if (size > 1 or len(keys) == 1) and keys[-size] == history[0] and keys[-size:] == history[:size]:
            return size
    return 0


def _follows(line: _Line, call: Call) -> bool:
    """Tell whether a call that brings no history is the session's next turn."""
    alone = not any(message.role == "assistant" for message in call.exchange.given)
    other = line.last is None or line.last.exchange.span.trace != call.exchange.span.trace
    return alone and other and (line.system is None or call.exchange.system in (None, line.system))


def _say(said: Conversation, message: Message) -> int | None:
    """Add a message and return its index."""
    if message.role == "tool":
        return said.result(
            message.content,
            call_id=message.tool_call_id,
            name=message.name,
            at=message.created_at,
            error=message.error,
            attachments=message.attachments,
        )
    return said.say(
        message.role,
        message.content,
        at=message.created_at,
        model=message.model,
        error=message.error,
        ended=message.finish,
        reasoning=message.reasoning,
        attachments=message.attachments,
        calls=message.tool_calls,
    )
