"""Exact copies: a conversation that was there before is dropped, a turn that several paths share is learnt once.

Two conversations are copies when their messages say the same; ids, times, models, ratings, and the system prompt and
tools around them (which change while an agent grows) are ignored. The first one read stays.

Paths share a turn when everything up to it says the same and they are forks of one conversation; or, where a log writes
a fork as a conversation of its own, when the turn was said at the same moment or what was asked before it is too long
to be asked twice by chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.marks import Marker
from lunar_tune.episodes import Message
from lunar_tune.identity import sorted_json
from lunar_tune.seams import Report

FORK, SIBLING = "shared with the conversation it was forked from", "shared with another conversation"
LONG = 200  # characters of requests; the same again is a copy, not a coincidence


class Dedup:
    """Remembers one hash a conversation and up to two a turn."""

    name = "dedup"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield the first of equal conversations; set the turns aside that another path has already."""
        whole: dict[bytes, str] = {}
        forks: dict[bytes, str] = {}
        siblings: dict[bytes, str] = {}
        for draft in drafts:
            episode = draft.episode
            prefixes = list(_prefixes(episode.messages))
            if not prefixes:
                yield draft
                continue
            first = whole.setdefault(prefixes[-1], draft.id)
            if first != draft.id:
                report(Verdict(draft.id, self.name, "a copy of another conversation", f"of {first}"))
                continue
            marker = Marker(draft, self.name, report)
            family = hashlib.blake2b(sorted_json([episode.source, episode.group or episode.thread])).digest()
            asked = list(_asked(episode.messages))
            for index in marker.turns(range(len(prefixes))):
                prefix, moment = prefixes[index], episode.messages[index].created_at
                owner = forks.setdefault(_of(family, prefix), draft.id)
                if owner != draft.id:
                    marker.set_aside(index, FORK, f"of {owner}")
                    continue
                places = [_of((moment or "").encode(), prefix)] if moment else []
                places += [prefix] if asked[index] >= LONG else []
                owner = next((siblings[place] for place in places if place in siblings), draft.id)
                siblings.update((place, owner) for place in places)
                if owner != draft.id:
                    marker.set_aside(index, SIBLING, f"of {owner}")
            yield marker.done()


def _of(where: bytes, prefix: bytes) -> bytes:
    return hashlib.blake2b(where + prefix, digest_size=12).digest()


def _asked(messages: tuple[Message, ...]) -> Iterator[int]:
    """Yield, for each message, the characters of the requests up to it."""
    length = 0
    for message in messages:
        length += len(message.content) if message.role == "user" else 0
        yield length


def _prefixes(messages: tuple[Message, ...]) -> Iterator[bytes]:
    """Yield, for each message, the hash of everything up to it."""
    digest = hashlib.blake2b(digest_size=12)
    for message in messages:
        said = [
            message.role,
            message.content,
            [[c.name, c.arguments, c.arguments_raw] for c in message.tool_calls],
            message.name if message.role == "tool" else None,
            message.error,
            [[a.type, a.name] for a in message.attachments],
        ]
        digest.update(sorted_json(said))
        yield digest.digest()
