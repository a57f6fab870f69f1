"""Secrets and personal data out, before anything is written: typed placeholders, the same for the same value.

A conversation is searched whole before anything is replaced: a value known as a secret in one place (a JSON key, an
assignment, its shape) goes everywhere in that conversation, so calls still match the words that asked for them.
Numbering is by first appearance. `scan` finds, by the rules of `issuers`, `stated` and `personal`; `conversation`
replaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lunar_tune.artefacts import Draft
from lunar_tune.curate.redact.conversation import Secrets, safe_name
from lunar_tune.curate.redact.names import Names
from lunar_tune.curate.redact.scan import search_again
from lunar_tune.episodes import Episode, ToolSpec
from lunar_tune.seams import Report

__all__ = ["Redact", "Secrets", "redacted", "redacted_tools", "safe_name", "safe_text"]


class Redact:
    """Replaces secrets in every string of an episode; `counts` is distinct values a conversation by kind, summed."""

    name = "redact"

    def __init__(self, counts: Counter[str] | None = None, names: Sequence[str] = ()) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.names = tuple(names)

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, redacted; nothing is left out, so nothing is reported."""
        for draft in drafts:
            episode, counts = redacted(draft.episode, self.names)
            self.counts.update(counts)
            yield replace(draft, episode=episode)


def redacted(episode: Episode, names: Sequence[str] = ()) -> tuple[Episode, Counter[str]]:
    """Return an episode without its secrets and the listed names, and how many distinct ones of each kind it had."""
    secrets = Secrets(names)
    secrets.search(episode)
    return secrets.redact(episode), secrets.counts()


def redacted_tools(tools: Sequence[ToolSpec], names: Sequence[str] = ()) -> tuple[ToolSpec, ...]:
    """Return tools without the secrets in their texts."""
    episode, _ = redacted(Episode(source="", path="", thread="", messages=(), tools=tuple(tools)), names)
    return episode.tools


def safe_text(text: str, names: Sequence[str] = ()) -> str:
    """Return a short text, such as a place in a log, without the secrets in it."""
    found = [*search_again(text), *(Names.of(names).search(text) if names else ())]
    for one in sorted(found, reverse=True):
        text = f"{text[: one.begin]}<{one.kind}>{text[one.end :]}"
    return text
