"""Exact copies: a conversation that was there before is dropped, a turn that a fork shares is learnt once.

Two conversations are copies when their messages say the same; ids, times, models, ratings, and the system prompt and
tools around them (which change while an agent grows) are ignored. The first one read stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.marks import Marker
from lunar_tune.episodes import Message
from lunar_tune.identity import canonical_json
from lunar_tune.seams import Report


class Dedup:
    """Remembers one hash a conversation and one a shared turn."""

    name = "dedup"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield the first of equal conversations; in forks set the turns aside that the first path has already."""
        whole: dict[bytes, str] = {}
        paths: dict[tuple[str, str, bytes], str] = {}
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
            family = (episode.source, episode.group or episode.thread)
            for index in marker.turns(range(len(prefixes))):
                owner = paths.setdefault((*family, prefixes[index]), draft.id)
                if owner != draft.id:
                    marker.set_aside(index, "shared with the conversation it was forked from", f"of {owner}")
            yield marker.done()


def _prefixes(messages: tuple[Message, ...]) -> Iterator[bytes]:
    """Yield, for each message, the hash of everything up to it."""
    digest = hashlib.blake2b(digest_size=12)
    for message in messages:
        said = {
            "role": message.role,
            "content": message.content,
            "calls": [[c.name, c.arguments, c.arguments_raw] for c in message.tool_calls],
            "name": message.name if message.role == "tool" else None,
            "error": message.error,
            "attachments": [[a.type, a.name] for a in message.attachments],
        }
        digest.update(canonical_json(said).encode("utf-8", "surrogatepass"))
        yield digest.digest()
