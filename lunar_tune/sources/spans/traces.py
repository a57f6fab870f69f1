"""One trace at a time: its calls of models and its runs of tools, every message that is repeated held once.

Spans are taken one by one and forgotten: of a trace stay its calls, whose histories share their messages.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lunar_tune.episodes import Message
from lunar_tune.identity import canonical_json
from lunar_tune.sources.spans.attributes import JUDGE_KINDS, MODEL_KINDS, TOOL_KIND, WRAPPERS, Span, kind_of
from lunar_tune.sources.spans.calls import Exchange, exchange
from lunar_tune.sources.spans.feedback import Judgement, evaluations
from lunar_tune.sources.spans.tools import Runs, run

Lost = dict[tuple[str, str], None]  # (reason, place), each once and in order


@dataclass(slots=True)
class Trace:
    """One trace of a session: its spans in the order of their start, and what somebody thought of it."""

    id: str
    place: str
    failed: bool = False
    spans: Iterable[Span] = ()
    judgements: Iterable[Judgement] = ()


@dataclass(slots=True, eq=False)
class Call:
    """An exchange with what stands for its messages when histories are compared."""

    exchange: Exchange
    keys: list[Hashable]
    prefixes: list[int] = field(default_factory=list)
    index: int = 0

    @property
    def given_keys(self) -> list[Hashable]:
        """The keys of what the model was given."""
        return self.keys[: len(self.exchange.given)]

    @property
    def failed(self) -> bool:
        """Whether the call ended without an answer."""
        return self.exchange.span.error is not None and not self.exchange.said

    @property
    def failure(self) -> int:
        """What stands for the failure, as a prefix does for a history."""
        return hash(("failed", self.prefixes[-1] if self.prefixes else self.exchange.span.id))


class Reading:
    """What is kept from one trace to the next: the messages that were met, and the runs of tools."""

    def __init__(self) -> None:
        self.runs = Runs()
        self._met: dict[Hashable, tuple[Hashable, Message]] = {}

    def calls(self, trace: Trace, lost: Lost) -> tuple[list[Call], list[Judgement]]:
        """Return a trace's calls of models, or where there is none those of the spans around, and its evaluations."""
        seen: dict[str, tuple[str, Span]] = {}
        found: list[Call] = []
        around: list[Span] = []
        judged: list[Judgement] = []
        for span in trace.spans:
            kind = kind_of(span)
            bare = span.bare()
            seen[span.id] = (kind, bare)
            judged += evaluations(span)
            if kind == TOOL_KIND:
                self.runs.add(run(span))
            elif kind in WRAPPERS and not found:
                around.append(span)
            elif kind in MODEL_KINDS:
                if _judges(span, seen):
                    lost["a judge's call", span.place] = None
                elif (call := self._call(span, bare, False, lost)) is not None:
                    found.append(call)
                    around = []
        strict = not found
        for span in around if strict else ():
            if _judges(span, seen):
                lost["a judge's call", span.place] = None
            elif (call := self._call(span, span.bare(), True, lost)) is not None:
                found.append(call)
        return _once(found, seen, strict, lost), judged

    def _call(self, span: Span, bare: Span, strict: bool, lost: Lost) -> Call | None:
        """Return the call that a span records, `bare` in place of the span; None, told, where it has no messages."""
        try:
            read = exchange(span, strict=strict)
            if read is None:
                if not strict:
                    lost["a model call without messages", span.place] = None
                return None
            met = [self._kept(message) for message in read.history]
        except RecursionError:
            lost["nested too deeply", span.place] = None
            return None
        messages = [message for _, message in met]
        begin = len(read.given)
        read = replace(read, span=bare, given=tuple(messages[:begin]), said=tuple(messages[begin:]))
        return Call(read, [key for key, _ in met])

    def _kept(self, message: Message) -> tuple[Hashable, Message]:
        """Return a message's key and the message, both as they were met before where nothing differs."""
        key = _key(message)
        known = self._met.get(key)
        if known is None or known[1] != message:
            known = self._met[key] = (known[0] if known is not None else key, message)
        return known


def _key(message: Message) -> Hashable:
    """Return what makes a message the same one wherever it is repeated; ids, times and reasoning are not repeated."""
    calls = tuple((call.name, call.arguments_raw or canonical_json(call.arguments)) for call in message.tool_calls)
    return (message.role, message.content.strip(), calls, len(message.attachments))


def _once(found: list[Call], seen: dict[str, tuple[str, Span]], strict: bool, lost: Lost) -> list[Call]:
    """Return the calls without those that another span records too, and without judges'."""
    calls = {call.exchange.span.id for call in found}
    repeated: set[str] = set()
    for call in found:
        span = call.exchange.span
        if _judges(span, seen):  # a judge's span may come after what is in it
            lost["a judge's call", span.place] = None
            repeated.add(span.id)
            continue
        for above in _above(span, seen):
            if strict and above in calls:
                repeated.add(span.id)  # the outermost of the spans around holds the whole talk
            elif not strict and seen[above][0] in (TOOL_KIND, "AGENT"):
                break
            elif not strict:
                repeated.add(above)  # a framework's record of the very call that its client records inside
    return [call for call in found if call.exchange.span.id not in repeated]


def _judges(span: Span, seen: dict[str, tuple[str, Span]]) -> bool:
    return any(seen[above][0] in JUDGE_KINDS for above in _above(span, seen))


def _above(span: Span, seen: dict[str, tuple[str, Span]]) -> Iterator[str]:
    """Yield the ids of the spans that a span is in, the nearest first."""
    passed = {span.id}
    at = span.parent
    while at is not None and at in seen and at not in passed:
        yield at
        passed.add(at)
        at = seen[at][1].parent
