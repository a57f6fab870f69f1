"""What the owner decided about turns, applied: keep, drop, or another text for the answer.

A turn is known by its content and everything said before it (roles, contents, calls; not ids, times, models, tools or
the system prompt), so a decision holds for the same words wherever they are met again: in the next harvest, a grown
conversation, a moved log or a renamed thread. A dropped conversation is dropped as it grows, too: turns after those
decided follow while it goes by its name. A kept one keeps what was seen; later turns are judged as any other.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.marks import Marker
from lunar_tune.curate.redact import redacted
from lunar_tune.episodes import Episode, Message, to_line, with_messages
from lunar_tune.identity import sorted_json
from lunar_tune.seams import Report
from lunar_tune.store.decisions import Decision

KEY = 16  # bytes of a key
DROPPED, KEPT, EDITED = "dropped by you", "kept by you", "edited by you"
UNMET = "met no turn"
_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*?)_(\d+)>")


def turn_keys(messages: Iterable[Message]) -> dict[int, str]:
    """Return the key of every assistant turn by its index: a hash of everything up to and with it."""
    digest = hashlib.blake2b(digest_size=KEY, person=b"turn")
    keys: dict[int, str] = {}
    for index, message in enumerate(messages):
        calls = [[call.name, call.arguments, call.arguments_raw] for call in message.tool_calls]
        digest.update(sorted_json([message.role, message.content, calls]) + b"\n")
        if message.role == "assistant":
            keys[index] = digest.hexdigest()
    return keys


def decided(keys: dict[int, str], thread: str, by_key: dict[str, Decision]) -> dict[int, Decision]:
    """Return the decision of every decided turn of a conversation, those included that follow a dropped one."""
    found = {index: by_key[key] for index, key in keys.items() if key in by_key}
    for whole in {id(one): one for one in found.values()}.values():
        if whole.until is not None and whole.action == "drop" and whole.thread == thread:
            last = next((index for index, key in keys.items() if key == whole.until), None)
            later = [] if last is None else [index for index in keys if index > last]
            found |= {index: whole for index in later if index not in found}
    return found


class Review:
    """Applies decisions; `counts` is what was applied, in turns, and how many decided turns were not met."""

    name = "review"

    def __init__(self, decisions: Sequence[Decision], counts: Counter[str] | None = None) -> None:
        self.by_key = {key: decision for decision in decisions for key in decision.keys}
        self.counts: Counter[str] = Counter() if counts is None else counts

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield the drafts, decisions applied; a conversation of which every turn is dropped is reported whole."""
        unmet = set(self.by_key)
        for draft in drafts:
            keys = turn_keys(draft.episode.messages)
            unmet.difference_update(keys.values())
            found = decided(keys, draft.episode.thread, self.by_key)
            if found and len(found) == len(keys) and all(one.action == "drop" for one in found.values()):
                self.counts[DROPPED] += len(found)
                report(Verdict(draft.id, self.name, DROPPED))
            else:
                yield self._apply(draft, found, report) if found else draft
        if self.by_key:
            self.counts[UNMET] += len(unmet)

    def _apply(self, draft: Draft, found: dict[int, Decision], report: Report) -> Draft:
        marker = Marker(draft, self.name, report)
        messages = list(draft.episode.messages)
        for index, decision in found.items():
            if decision.action == "drop":
                marker.set_aside(index, DROPPED)
                self.counts[DROPPED] += 1
                continue
            self.counts[EDITED if decision.action == "edit" else KEPT] += 1
            if decision.action == "edit" and decision.text is not None:
                # as it should have been: whole, whatever cut the logged one off
                messages[index] = replace(messages[index], content=decision.text, finish=None, error=None)
        kept = frozenset(index for index, one in found.items() if one.action != "drop")
        return replace(marker.done(), episode=with_messages(draft.episode, tuple(messages)), kept=kept)


def safe_edit(text: str, episode: Episode, names: Sequence[str] = ()) -> str:
    """Return an edited answer of a redacted episode without secrets and `names`; a new one gets a number of its own."""
    parts = _PLACEHOLDER.split(text)  # text, kind, number, text, …
    pieces = tuple(Message(role="user", content=part) for part in parts[::3])
    found, counts = redacted(Episode(source="", path="", thread="", messages=pieces), names)
    if not counts:
        return text
    highest: Counter[str] = Counter()
    for kind, number in _PLACEHOLDER.findall(text + to_line(episode).decode("utf-8", "surrogatepass")):
        highest[kind] = max(highest[kind], int(number))
    told = [_PLACEHOLDER.sub(lambda m: f"<{m[1]}_{int(m[2]) + highest[m[1]]}>", m.content) for m in found.messages]
    known = [f"<{kind}_{number}>" for kind, number in zip(parts[1::3], parts[2::3], strict=True)]
    return "".join(piece + placeholder for piece, placeholder in zip(told, [*known, ""], strict=True))
