"""The secrets of one conversation: found in all of its texts at once, replaced in each.

Texts are joined for the search, because one search of 3 KB costs a tenth of thirty searches of 100 bytes. Arguments and
results are searched as the JSON text they are; where a telling key is in it, its values are looked at one by one too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lunar_tune.curate.redact.found import Found
from lunar_tune.curate.redact.names import Names
from lunar_tune.curate.redact.reading import GAP, NUMERIC, framing, keyed, percent_decoded, said
from lunar_tune.curate.redact.replacing import Replacer, stands
from lunar_tune.curate.redact.scan import may_be_keyed, search, search_again
from lunar_tune.curate.redact.seeds import words_of
from lunar_tune.curate.redact.written import (
    ENCODED_TWICE,
    ESCAPED,
    MARKED,
    QUOTED,
    SLASHES,
    in_base64,
    parts,
    unescaped,
    within,
)
from lunar_tune.curate.secrets import ORDINARY, key_kind, keyed_value
from lunar_tune.episodes import Attachment, Episode, Message, Signal, ToolCall, ToolSpec
from lunar_tune.identity import content_id

SHORTEST = 4  # a value shorter than this is replaced where it stands, not everywhere
SHORTEST_PHRASE = 12  # words of a seed phrase
LONG_NUMBER = 7  # digits from which a JSON number is replaced whatever its key
DIGITS_ONLY = ("PHONE", "CARD", "NATIONAL_ID", "IBAN", "ACCOUNT")  # kinds whose spaces and signs make no difference
ANY_CASE = ("EMAIL", "NAME", "MAC_ADDRESS", "IP_ADDRESS", "IBAN")
_TOLD = tuple(f"<{kind}_" for kind in ("PASSWORD", "TOKEN", "API_KEY", "SECRET"))  # kinds looked for in base 64


class Secrets:
    """The secrets of one conversation."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.placeholders: dict[str, str] = {}  # a form of a value -> what it becomes
        self._same: dict[tuple[str, str], str] = {}  # (kind, what counts as the same value) -> placeholder
        self._numbers: Counter[str] = Counter()
        self._short = False  # a value too short to be replaced everywhere is under a key
        self._names = Names.of(tuple(names)) if names else None
        self._replacer: Replacer | None = None
        self._framed = ""  # the system prompt and the tools
        self._phrases: dict[tuple[str, ...], str] = {}  # the words of a seed phrase -> placeholder
        # texts have JSON's escapes, percent signs, percent signs within percent signs, those of markup
        self._escaped = self._quoted = self._twice = self._marked = False

    def counts(self) -> Counter[str]:
        """Return distinct secrets by kind."""
        return Counter({kind.lower(): number for kind, number in self._numbers.items()})

    def search(self, episode: Episode) -> None:
        """Learn the secrets of an episode, in the order of reading."""
        self._framed = framed = framing(episode)
        if framed:
            self._written(framed)
            named = self._names.search(framed) if self._names else []
            self._find(framed, [*search_again(framed), *named])
        texts = list(said(episode))
        joined = GAP.join(plain for _, plain in texts)
        for text, _ in texts:
            self._written(text)
        if self._quoted:
            joined = GAP.join((joined, *percent_decoded(joined)))
        found = search(joined)
        if self._names is not None:
            found += self._names.search(joined)
        learnt: list[tuple[int, Found | tuple[str, str]]] = [(one.begin, one) for one in found]
        if may_be_keyed(joined):
            at = 0
            for text, plain in texts:
                if text[0] in "{[" or text[0].isspace():
                    learnt += [(at + max(plain.find(pair[1]), 0), pair) for pair in keyed(text)]
                at += len(plain) + len(GAP)
        for _, one in sorted(learnt, key=lambda pair: pair[0]):
            if isinstance(one, Found):
                self._find(joined, (one,))
            else:
                self._learn(*one)
        told = [value for value, placeholder in self.placeholders.items() if placeholder.startswith(_TOLD)]
        for word in (*in_base64(joined, told), *within(joined, told)) if told else ():
            self._learn("SECRET", word)

    def _written(self, text: str) -> None:
        """See how values may be written in a text: with JSON's escapes, with percent signs, in markup."""
        self._escaped = self._escaped or "\\" in text
        self._quoted = self._quoted or "%" in text or ("+" in text and "=" in text)
        self._twice = self._twice or "%25" in text
        self._marked = self._marked or "&amp;" in text or "&lt;" in text or "&quot;" in text

    def redact(self, episode: Episode) -> Episode:
        """Return the episode without the secrets that were found in it."""
        names = () if self._names is None else self._names.listed
        thread = safe_name(episode.thread, names)
        group = None if episode.group is None else safe_name(episode.group, names)
        if not self._numbers:  # none was found, as in most conversations
            same = (thread, group) == (episode.thread, episode.group)
            return episode if same else replace(episode, thread=thread, group=group)
        return replace(
            episode,
            thread=thread,
            group=group,
            system=self._maybe(episode.system),
            tools=self._tools(episode.tools),
            messages=tuple(self._message(message) for message in episode.messages),
            signals=tuple(self._signal(signal) for signal in episode.signals),
        )

    def text(self, text: str) -> str:
        """Return a text with every known secret replaced."""
        if self._replacer is None:
            self._replacer = Replacer(self.placeholders)
        return self._replacer(text) if text else text

    def value(self, value: Any, kind: str | None = None) -> Any:
        """Return a JSON value redacted; `kind` is that of the key above it."""
        if isinstance(value, str):
            if kind is not None and len(value) < SHORTEST and keyed_value(kind, value):
                return self._placeholder(kind, value)
            return self._json_text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            digits = str(value)
            if kind in NUMERIC and len(digits) < SHORTEST and keyed_value(str(kind), digits):
                return self._placeholder(str(kind), digits)
            return self.placeholders.get(digits, value) if kind or len(digits) >= LONG_NUMBER else value
        if isinstance(value, list):
            return [self.value(item, kind) for item in self._shorter(value)]
        return {self.text(str(key)): self.value(item, key_kind(str(key)) or kind) for key, item in value.items()}

    def _shorter(self, values: list[Any]) -> list[Any]:
        """Return a list in which the words of a seed phrase, one an item, are one placeholder."""
        for words, placeholder in self._phrases.items() if len(values) >= SHORTEST_PHRASE else ():
            folded = [item.strip().lower() if isinstance(item, str) else None for item in values]
            for at in range(len(values) - len(words) + 1):
                if folded[at : at + len(words)] == list(words):
                    return [*values[:at], placeholder, *self._shorter(values[at + len(words) :])]
        return values

    def _find(self, text: str, found: Sequence[Found]) -> None:
        for one in sorted(found):
            value = text[one.begin : one.end]
            if value.endswith("\\") and text[one.end : one.end + 1] in ("'", '"'):  # what escapes the closing quote
                value = value.rstrip("\\")
                one = one._replace(end=one.begin + len(value))
            if one.alone or len(value) < SHORTEST:
                self._learn_in_place(one, text)
                continue
            self._learn(one.kind, value)
            if not stands(text, one.begin, one.end):
                self._learn_in_place(one, text)
            for kind, part in parts(one.kind, value):
                self._learn(kind, part)

    def _learn(self, kind: str, value: str) -> None:
        raw, value = value, unescaped(value)
        if not value.strip() or raw in self.placeholders:
            return
        placeholder = self._placeholder(kind, value)
        if raw != value:
            self.placeholders[raw] = placeholder
        if len(value) < SHORTEST:
            self._short = True
        elif value.casefold() not in ORDINARY:
            self._know(value, placeholder)
        if kind == "SEED_PHRASE" and len(words := words_of(value)) > 1:
            self._phrases[words] = placeholder
            for joint in (" ", ", ", ",", "\n", "-"):
                self._know(joint.join(words), placeholder)

    def _learn_in_place(self, found: Found, text: str) -> None:
        """Know a value together with the words that tell it."""
        before, value = text[found.since : found.begin], text[found.begin : found.end]
        placeholder = self._placeholder(found.kind, value)
        before = SLASHES.sub(r"\\", before)
        for write in self._writings():
            self.placeholders.setdefault(write(before + value), write(before) + placeholder)
        self._replacer = None

    def _know(self, value: str, placeholder: str) -> None:
        self.placeholders.setdefault(value, placeholder)
        if not value.isalnum():
            for write in self._writings():
                self.placeholders.setdefault(write(value), placeholder)
            if value != value.strip():
                self.placeholders.setdefault(value.strip(), placeholder)
        self._replacer = None

    def _writings(self) -> Iterator[Callable[[str], str]]:
        """Yield how a value may be written in this conversation."""
        yield str
        if self._escaped:
            yield from ESCAPED
        if self._quoted:
            yield from QUOTED
        if self._twice:
            yield from ENCODED_TWICE
        if self._marked:
            yield from MARKED

    def _placeholder(self, kind: str, value: str) -> str:
        """Return the placeholder of a value; the case of an address and the signs in a number make no difference."""
        if value in self.placeholders:
            return self.placeholders[value]
        same = "".join(c for c in value if c.isalnum()) if kind in DIGITS_ONLY else value
        if kind == "SEED_PHRASE":
            same = " ".join(words_of(value))
        key = (kind, same.casefold() if kind in ANY_CASE else same)
        if key not in self._same:
            self._numbers[kind] += 1
            self._same[key] = f"<{kind}_{self._numbers[kind]}>"
        return self._same[key]

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _json_text(self, text: str) -> str:
        """Redact a text that may be JSON: short and numeric values under secret keys need its structure."""
        plain = self.text(text)
        if text.lstrip()[:1] not in ("{", "[") or (plain == text and not self._short):
            return plain
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return plain
        redacted = self.value(parsed)
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
            name=None if message.name is None else self._called(message.name),
            tool_call_id=self._maybe(message.tool_call_id),
            attachments=tuple(Attachment(type=a.type, name=self.text(a.name)) for a in message.attachments),
            tool_calls=tuple(self._call(call) for call in message.tool_calls),
        )

    def _call(self, call: ToolCall) -> ToolCall:
        return replace(
            call,
            name=self._called(call.name),
            id=self._maybe(call.id),
            arguments=self.value(call.arguments),
            arguments_raw=None if call.arguments_raw is None else self._json_text(call.arguments_raw),
            error=self._maybe(call.error),
        )

    def _called(self, name: str) -> str:
        """Redact a name: that of a tool stays when it only contains a word that is a secret elsewhere."""
        return self.text(name) if search_again(name) or (self._names and self._names.search(name)) else name

    def _tools(self, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        return tools if self.text(self._framed) == self._framed else tuple(map(self._tool, tools))

    def _tool(self, tool: ToolSpec) -> ToolSpec:
        return replace(
            tool,
            name=self._called(tool.name),
            description=self.text(tool.description),
            parameters=self._schema(tool.parameters),
        )

    def _schema(self, value: Any) -> Any:
        """Redact the texts of a JSON schema; its keys are names of properties."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._schema(item) for item in value]
        return {self._called(k): self._schema(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _signal(self, signal: Signal) -> Signal:
        value = self.text(signal.value) if isinstance(signal.value, str) else signal.value
        return replace(signal, value=value, note=self._maybe(signal.note))


def safe_name(name: str, names: Sequence[str] = ()) -> str:
    """Return a thread's name as it may be written: one that holds an address, key or listed name becomes an id."""
    if search_again(name) or (names and Names.of(names).search(name)):
        return content_id("thread", name)
    return name
