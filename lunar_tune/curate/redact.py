"""Secrets and personal addresses out, before anything is written: typed placeholders, the same for the same value.

A conversation is searched whole before anything is replaced: a value known as a secret in one place (a JSON key, an
assignment, its shape) goes everywhere in that conversation, so calls still match the words that asked for them.
Numbering is by first appearance. Which secrets are known is in `secrets.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lunar_tune.artefacts import Draft
from lunar_tune.curate.secrets import ORDINARY, key_kind, keyed_value, shapes
from lunar_tune.episodes import Attachment, Episode, Message, Signal, ToolCall, ToolSpec
from lunar_tune.identity import content_id
from lunar_tune.seams import Report

SHORTEST = 4  # a value shorter than this is replaced where its key stands, not everywhere
NUMERIC = ("PASSWORD", "CODE", "PHONE", "SECRET", "API_KEY")  # kinds that a JSON number can be
LONG_PASSWORD = 6  # the password of an address is looked for by itself from this length on
ANYWHERE = 12  # a value this long is replaced inside longer words too


class Redact:
    """Replaces secrets in every string of an episode; `counts` is distinct values a conversation by kind, summed."""

    name = "redact"

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, redacted; nothing is left out, so nothing is reported."""
        for draft in drafts:
            episode, counts = redacted(draft.episode)
            self.counts.update(counts)
            yield replace(draft, episode=episode)


def redacted(episode: Episode) -> tuple[Episode, Counter[str]]:
    """Return an episode without its secrets, and how many distinct ones of each kind it had."""
    secrets = Secrets()
    secrets.search(episode)
    return secrets.redact(episode), secrets.counts()


class Secrets:
    """The secrets of one conversation."""

    def __init__(self) -> None:
        self.placeholders: dict[str, str] = {}  # value -> placeholder
        self._same: dict[tuple[str, str], str] = {}  # (kind, what counts as the same value) -> placeholder
        self._numbers: Counter[str] = Counter()
        self._pattern: re.Pattern[str] | None = None

    def counts(self) -> Counter[str]:
        """Return distinct secrets by kind."""
        return Counter({kind.lower(): number for kind, number in self._numbers.items()})

    def search(self, episode: Episode) -> None:
        """Learn the secrets of an episode, in the order of reading."""
        self._find(episode.system)
        for tool in episode.tools:
            self._find(tool.description)
            self._find_in(tool.parameters, keyed=False)
        for message in episode.messages:
            self._find_in_text(message.content)
            for text in (message.reasoning, message.error, message.name, *(a.name for a in message.attachments)):
                self._find(text)
            for call in message.tool_calls:
                self._find_in(call.arguments)
                self._find_in_text(call.arguments_raw)
                self._find(call.error)
        for signal in episode.signals:
            self._find(signal.note)
            self._find(signal.value if isinstance(signal.value, str) else None)

    def redact(self, episode: Episode) -> Episode:
        """Return the episode without the secrets that were found in it."""
        thread, group = safe_name(episode.thread), None if episode.group is None else safe_name(episode.group)
        if not self._numbers:  # none was found, as in most conversations
            return (
                episode
                if (thread, group) == (episode.thread, episode.group)
                else (replace(episode, thread=thread, group=group))
            )
        return replace(
            episode,
            thread=thread,
            group=group,
            system=self._maybe(episode.system),
            tools=tuple(self._tool(tool) for tool in episode.tools),
            messages=tuple(self._message(message) for message in episode.messages),
            signals=tuple(self._signal(signal) for signal in episode.signals),
        )

    def text(self, text: str) -> str:
        """Return a text with every known secret replaced."""
        if not self.placeholders or not text:
            return text
        if self._pattern is None:
            self._pattern = _alternatives(self.placeholders)
        return self._pattern.sub(lambda match: self.placeholders[match[0]], text)

    def value(self, value: Any, kind: str | None = None) -> Any:
        """Return a JSON value redacted; `kind` is that of the key above it."""
        if isinstance(value, str):
            short = kind is not None and len(value) < SHORTEST and keyed_value(kind, value)
            return self._placeholder(kind, value) if short and kind else self.text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return self.placeholders.get(str(value), value) if kind else value
        if isinstance(value, list):
            return [self.value(item, kind) for item in value]
        return {self.text(str(key)): self.value(item, key_kind(str(key)) or kind) for key, item in value.items()}

    def _find(self, text: str | None) -> None:
        if text:
            for kind, value in _shapes_in_order(text):
                self._learn(kind, value)
                if kind == "URL_CREDENTIALS" and len(password := value.partition(":")[2]) >= LONG_PASSWORD:
                    self._learn("PASSWORD", password)

    def _find_in_text(self, text: str | None) -> None:
        """Search a text that may be JSON, as tool results are."""
        if text and text.lstrip()[:1] in ("{", "["):
            try:
                return self._find_in(json.loads(text))
            except (ValueError, RecursionError):
                pass  # it only begins like JSON: searched as it stands
        self._find(text)

    def _find_in(self, value: Any, kind: str | None = None, *, keyed: bool = True) -> None:
        if isinstance(value, str):
            if kind is not None and keyed_value(kind, value):
                self._learn(kind, value)
            else:
                self._find_in_text(value)
        elif isinstance(value, list):
            for item in value:
                self._find_in(item, kind, keyed=keyed)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._find(str(key))
                self._find_in(item, (key_kind(str(key)) or kind) if keyed else None, keyed=keyed)
        elif kind in NUMERIC and type(value) in (int, float) and keyed_value(str(kind), str(value)):
            self._learn(str(kind), str(value))

    def _learn(self, kind: str, value: str) -> None:
        placeholder = self._placeholder(kind, value)
        if len(value) < SHORTEST or value.casefold() in ORDINARY:
            return
        for form in {value, value.strip(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            self.placeholders.setdefault(form, placeholder)
        self._pattern = None

    def _placeholder(self, kind: str, value: str) -> str:
        """Return the placeholder of a value; the case of an address and the signs in a number make no difference."""
        same = "".join(c for c in value if c.isdigit()) if kind == "PHONE" else value
        key = (kind, same.casefold() if kind == "EMAIL" else same)
        if value in self.placeholders:
            return self.placeholders[value]
        if key not in self._same:
            self._numbers[kind] += 1
            self._same[key] = f"<{kind}_{self._numbers[kind]}>"
        return self._same[key]

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _json_text(self, text: str) -> str:
        """Redact a text that may be JSON: short and numeric values under secret keys need its structure."""
        if text.lstrip()[:1] not in ("{", "["):
            return self.text(text)
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return self.text(text)
        redacted = self.value(parsed)
        plain = self.text(text)
        try:
            if json.loads(plain) == redacted:
                return plain  # keeps the spacing as it was
        except ValueError:
            pass  # a placeholder stands where JSON has no text: written anew from its values
        compact = '": ' not in text
        return json.dumps(redacted, ensure_ascii=text.isascii(), separators=(",", ":") if compact else None)

    def _message(self, message: Message) -> Message:
        return replace(
            message,
            content=self._json_text(message.content),
            reasoning=self._maybe(message.reasoning),
            error=self._maybe(message.error),
            name=self._maybe(message.name),
            tool_call_id=self._maybe(message.tool_call_id),
            attachments=tuple(Attachment(type=a.type, name=self.text(a.name)) for a in message.attachments),
            tool_calls=tuple(self._call(call) for call in message.tool_calls),
        )

    def _call(self, call: ToolCall) -> ToolCall:
        return replace(
            call,
            id=self._maybe(call.id),
            arguments=self.value(call.arguments),
            arguments_raw=self._maybe(call.arguments_raw),
            error=self._maybe(call.error),
        )

    def _tool(self, tool: ToolSpec) -> ToolSpec:
        return replace(tool, description=self.text(tool.description), parameters=self._schema(tool.parameters))

    def _schema(self, value: Any) -> Any:
        """Redact the texts of a JSON schema; its keys are names of properties."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._schema(item) for item in value]
        return {k: self._schema(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _signal(self, signal: Signal) -> Signal:
        value = self.text(signal.value) if isinstance(signal.value, str) else signal.value
        return replace(signal, value=value, note=self._maybe(signal.note))


@lru_cache(maxsize=2048)  # system prompts and tools are the same in every conversation
def _shapes_in_order(text: str) -> tuple[tuple[str, str], ...]:
    found = sorted((text.find(value), kind, value) for kind, value in shapes(text))
    return tuple((kind, value) for _, kind, value in found)


def _alternatives(values: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of literal values, longest first; short ones must stand alone."""
    forms = []
    for value in sorted(values, key=lambda v: (-len(v), v)):
        before = r"(?<!\w)" if len(value) < ANYWHERE and value[0].isalnum() else ""
        after = r"(?!\w)" if len(value) < ANYWHERE and value[-1].isalnum() else ""
        forms.append(before + re.escape(value) + after)
    return re.compile("|".join(forms))


def redacted_tools(tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """Return tools without the secrets in their texts."""
    episode, _ = redacted(Episode(source="", path="", thread="", messages=(), tools=tuple(tools)))
    return episode.tools


def safe_name(name: str) -> str:
    """Return a thread's name as it may be written: one that holds an address or key becomes a content id."""
    return content_id("thread", name) if any(True for _ in shapes(name)) else name


def safe_text(text: str) -> str:
    """Return a short text, such as a place in a log, without the addresses and keys in it."""
    for kind, value in shapes(text):
        text = text.replace(value, f"<{kind}>")
    return text
