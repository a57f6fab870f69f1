"""Planted secrets: conversations that hold one each, in a known carrier, and the test whether it is gone.

Half of the kinds (`seen`) may be looked at by whoever writes rules; the other half, their templates and all clean text
may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import unquote

import redaction_corpus_forms as forms
import redaction_corpus_seen as seen
import redaction_corpus_unseen as unseen
from redaction_corpus_carriers import CARRIERS, SEEN, UNSEEN, carry, places
from redaction_corpus_formats import Secret

from lunar_tune.episodes import Episode, Message, ToolCall, to_dict

NAMES = (*seen.LISTED, *forms.LISTED)
"""The names that a user lists."""

KEYED = {"token": ("bare", "keyed"), "keyed": ("keyed",)}
PEOPLE = ("the office", "my brother", "the landlord", "reception")


@dataclass(frozen=True, slots=True)
class Case:
    """One planted secret in its conversation."""

    kind: str
    seen: bool
    carrier: str
    secret: Secret
    episode: Episode


def kinds() -> dict[str, bool]:
    """Return every kind, and whether it is of the seen half."""
    return {**dict.fromkeys(seen.KINDS, True), **dict.fromkeys(unseen.KINDS, False)}


def planted(per_kind: int = 27, seed: int = 0) -> Iterator[Case]:
    """Yield `per_kind` conversations of every kind, the carriers in turn."""
    for known, table, templates in ((True, seen.KINDS, SEEN), (False, unseen.KINDS, UNSEEN)):
        for kind, (shape, make, noun, key) in table.items():
            rng = Random(f"{seed}/{kind}")
            for number in range(per_kind):
                secret = make(rng)
                if shape == "echoed":
                    carrier, messages = _echoed(templates["keyed"], secret, noun, key, number, rng)
                else:
                    set_of = templates[rng.choice(KEYED.get(shape, (shape,)))]
                    sentence = shape == "fragment" and any(letter.isspace() for letter in secret.text)
                    carriers = [one for one in CARRIERS if one in set_of and not (sentence and one == "url")]
                    carrier = carriers[number % len(carriers)]
                    words = places(secret.text, noun, key, rng, rng.choice(PEOPLE), shape in KEYED)
                    messages = _placed(carrier, carry(set_of, carrier, words, rng), rng)
                thread = f"{kind}-{number}"
                episode = Episode(source="lunar", path="log.db", thread=thread, messages=tuple(messages), model="m")
                if carrier == "prose" and rng.random() < 0.1:
                    episode = _as_system(episode)
                yield Case(kind, known, carrier, secret, episode)


def _call(name: str, arguments: dict[str, Any], rng: Random) -> Message:
    call_id = f"call_{rng.getrandbits(48):012x}"
    if rng.random() < 0.1:  # as logs keep a call whose arguments were cut off
        raw = json.dumps(arguments)[:-1]
        return Message(
            role="assistant", tool_calls=(ToolCall(name=name, id=call_id, arguments_raw=raw, error="not an object"),)
        )
    return Message(role="assistant", tool_calls=(ToolCall(name=name, id=call_id, arguments=arguments),))


def _around_call(name: str, arguments: dict[str, Any], result: str, rng: Random) -> list[Message]:
    call = _call(name, arguments, rng)
    asked = rng.choice(("Please go on.", "Can you look at this?", "Do it now.", "What does it say?"))
    return [
        Message(role="user", content=asked),
        call,
        Message(role="tool", content=result, tool_call_id=call.tool_calls[0].id, name=name),
        Message(role="assistant", content=rng.choice(("Done.", "That worked.", "I see, thanks."))),
    ]


def _placed(carrier: str, made: Any, rng: Random) -> list[Message]:
    """Return the messages around what a carrier holds."""
    chance = rng.random()
    if carrier == "arguments":
        return _around_call(rng.choice(("update", "send", "write_file")), made, '{"ok": true}', rng)
    if carrier in ("result", "nested"):
        return _around_call(rng.choice(("read", "lookup", "fetch")), {"id": rng.randrange(99)}, made, rng)
    if carrier == "log":
        text = f"starting\n{made}\nfinished with 0 errors"
        if chance < 0.6:
            return _around_call("tail", {"lines": 50}, text, rng)
        return [Message(role="user", content=f"The log says:\n{text}"), Message(role="assistant", content="I see.")]
    if carrier == "shell" and chance < 0.5:
        return _around_call("run_shell", {"command": made}, "ok\n", rng)
    if carrier == "shell" and chance < 0.7:
        return _around_call("run_shell", {"command": "history | tail -2"}, f"  41  ls -la\n  42  {made}\n", rng)
    if carrier == "code" and chance < 0.3:
        return _around_call("write_file", {"path": "src/app.txt", "content": made}, "written", rng)
    if carrier == "url" and chance < 0.6:
        return _around_call("open", {"url": made}, '{"status": 200}', rng)
    if carrier == "url" and chance < 0.8:
        return _around_call("fetch", {"page": 1}, json.dumps({"links": [made], "next": None}), rng)
    text = f"Open {made} please" if carrier == "url" else made
    if chance < 0.8:
        return [Message(role="user", content=text), Message(role="assistant", content="All right.")]
    thought = chance > 0.9
    said = Message(role="assistant", content="Here it is." if thought else text, reasoning=text if thought else None)
    return [Message(role="user", content="Go ahead."), said]


def _echoed(templates: dict[str, list[Any]], secret: Secret, noun: str, key: str, number: int, rng: Random) -> Any:
    """Return a password that is said without a word about it, then given to a tool under its key, then repeated."""
    carriers = ("arguments", "result", "nested", "code", "shell", "log")
    carrier = carriers[number % len(carriers)]
    made = carry(templates, carrier, places(secret.text, noun, key, rng, "", True), rng)
    said = rng.choice(("How about @v@ then?", "@v@", "I'd take @v@, easy to remember.", "Nimm @v@ dafür."))
    told = rng.choice(("Good choice, it is @v@ from now on.", "Changed. Log in with @v@ next time."))
    first = Message(role="user", content=said.replace("@v@", secret.text))
    last = Message(role="assistant", content=told.replace("@v@", secret.text))
    return carrier, [first, *_placed(carrier, made, rng)[1:], last]


def _as_system(episode: Episode) -> Episode:
    text = next(m.content or m.reasoning or "" for m in episode.messages)
    rest = (Message(role="user", content="Hello"), Message(role="assistant", content="Hello! What can I do?"))
    if not any(text == m.content for m in episode.messages[:1]) or text == "Go ahead.":
        return episode
    return Episode(
        source="lunar", path="log.db", thread=episode.thread, messages=rest, system=f"You help the team. {text}"
    )


def strings(value: Any) -> Iterator[str]:
    """Yield every string of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')


def unescaped(text: str) -> str:
    """Return text with JSON's escapes undone once."""
    if "\\" not in text:
        return text
    plain = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else plain.get(m[1], m[1]), text)


def visible(episode: Episode) -> str:
    """Return all that an episode says: its strings as they are, with JSON's escapes undone, and percent-decoded."""
    body = to_dict(episode, with_id=False)
    for key in ("source", "path", "thread"):
        del body[key]
    plain = "\n".join(strings(body))
    once = unescaped(plain)
    views = dict.fromkeys((plain, once, unescaped(once)))
    return "\n".join([*views, *(unquote(view) for view in views if "%" in view)])


def survives(part: str, text: str) -> bool:
    """Tell whether a part of a secret is still there: whole, or more than half of one of 20 letters or more."""
    if part in text:
        return True
    width = len(part) // 2 + 1
    return len(part) >= 20 and any(part[at : at + width] in text for at in range(len(part) - width + 1))


def survivors(case: Case, redacted: Episode) -> list[str]:
    """Return the parts of a planted secret that were not redacted."""
    text = visible(redacted)
    return [part for part in case.secret.parts if survives(part, text)]
