"""Which rows are trained on, validated on and judged on: groups that belong together stay together, the newest judge.

A group is a connected component of conversations that share a fork tree, their opening request and call, all their
requests, or one long request. Exact keys only: rows that merely resemble each other may still be apart.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lunar_tune.artefacts import Draft, Split
from lunar_tune.identity import canonical_json
from lunar_tune.settings import DatasetSettings

LONG_REQUEST = 13  # words; a request this long that comes twice is a copy, not a coincidence
SEVERAL_WORDS = 8  # words in all requests together, below which equal conversations ("hi", "thanks") prove nothing


@dataclass(frozen=True, slots=True)
class Member:
    """What splitting knows of a row: its id, when it began, its family's name, its log, its keys."""

    id: str
    started_at: str
    thread: str
    log: tuple[str, str]
    keys: tuple[str, ...]


def member(draft: Draft) -> Member:
    """Return what splitting needs to know of a draft."""
    episode = draft.episode
    family = episode.group or episode.thread
    keys = (_key("family", [episode.source, family]), *_content_keys(draft))
    return Member(draft.id or episode.id, started_at(draft), family, (episode.source, episode.path), keys)


def started_at(draft: Draft) -> str:
    """Return when a conversation began, "" when the log does not say."""
    said = (m.created_at for m in draft.episode.messages if m.created_at)
    return draft.episode.started_at or next(said, "")


def _content_keys(draft: Draft) -> Iterator[str]:
    messages = draft.episode.messages
    requests = [" ".join(words(m.content)) for m in messages if m.role == "user"]
    if sum(len(r.split()) for r in requests) >= SEVERAL_WORDS:
        yield _key("requests", requests)
    for request in requests:
        if len(request.split()) >= LONG_REQUEST:
            yield _key("request", request)
    users = [i for i, m in enumerate(messages) if m.role == "user"]
    if users:
        opening = messages[users[0] : users[1] if len(users) > 1 else None]
        calls = [[c.name, c.arguments] for m in opening for c in m.tool_calls]
        if calls:
            yield _key("opening", [requests[0], calls[0]])


def words(text: str) -> list[str]:
    """Return the words of a text for comparing: case and punctuation make no difference."""
    return re.findall(r"\w+", text.casefold())


def _key(kind: str, value: object) -> str:
    digest = hashlib.blake2b(canonical_json([kind, value]).encode("utf-8", "surrogatepass"), digest_size=12)
    return digest.hexdigest()


def components(members: Sequence[Member]) -> list[int]:
    """Return, for each member, the index of the first member of its connected component (union by shared keys)."""
    parent = list(range(len(members)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, one in enumerate(members):
        for key in one.keys:
            a, b = find(first.setdefault(key, i)), find(i)
            parent[max(a, b)] = min(a, b)
    return [find(i) for i in range(len(members))]


def assign(members: Sequence[Member], groups: Sequence[int], settings: DatasetSettings) -> list[Split]:
    """Return each member's split: the newest groups are `test`, a seeded choice of the others `valid`, else `train`.

    A group is as new as its newest member. The choice for `valid` is by hash of seed and name, so that a group keeps
    its place while the log grows. With few groups `train` gets its one before the others do.
    """
    newest: dict[int, str] = {}
    for one, group in zip(members, groups, strict=True):
        newest[group] = max(newest.get(group, ""), one.started_at)
    order = sorted(newest, key=lambda g: (newest[g], members[g].id))
    test = min(_share(len(order), settings.test), max(len(order) - 1, 0))
    rest = order[: len(order) - test]
    valid = min(_share(len(order), settings.valid), max(len(rest) - 1, 0))
    rest.sort(key=lambda g: _key("valid", [settings.seed, members[g].thread]))
    chosen = set(rest[:valid])
    judged = set(order[len(order) - test :])
    return ["test" if g in judged else "valid" if g in chosen else "train" for g in groups]


def _share(number: int, share: float) -> int:
    return math.floor(number * share + 0.5)
