"""How much of the test rows stands in the training rows: the share of 13-grams, and of whole requests.

13 words is the length at which GPT-3's authors called an overlap contamination (arXiv 2005.14165, appendix C); it sees
long copies only, so the share of requests that are word for word in training is given beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.split import words
from lunar_tune.identity import canonical_json

NGRAM = 13


def leak_score(train: Iterable[Row], test: Iterable[Row]) -> dict[str, Any]:
    """Return {"ngram", "test_ngrams", "shared", "score", "test_requests", "repeated_requests"}.

    Counted over the words of user turns and answers, a call's arguments included; each test n-gram counts as often as
    it occurs. `score` is shared / test_ngrams, 0 when no test turn has 13 words.
    """
    seen: set[int] = set()
    requests: set[str] = set()
    for row in train:
        for role, said in _turns(row):
            seen.update(_ngrams(said))
            if role == "user":
                requests.add(" ".join(said))
    total = shared = asked = repeated = 0
    for row in test:
        for role, said in _turns(row):
            for gram in _ngrams(said):
                total += 1
                shared += gram in seen
            if role == "user":
                asked += 1
                repeated += " ".join(said) in requests
    return {
        "ngram": NGRAM,
        "test_ngrams": total,
        "shared": shared,
        "score": round(shared / total, 6) if total else 0.0,
        "test_requests": asked,
        "repeated_requests": repeated,
    }


def _turns(row: Row) -> Iterator[tuple[str, list[str]]]:
    for message in row["messages"]:
        if message["role"] in ("user", "assistant"):
            calls = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
            yield message["role"], words(" ".join([message["content"], *map(canonical_json, calls)]))


def _ngrams(said: list[str]) -> Iterator[int]:
    return (hash(tuple(said[i : i + NGRAM])) for i in range(len(said) - NGRAM + 1))
