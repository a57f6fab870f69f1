"""How much of the test rows stands in the rows that are learnt or validated on: three figures, of finished rows.

1. `score`: the share of the test rows' sequences of 13 words that stand elsewhere too, standing phrases apart (`grams`
   says which those are); groups are made so that it is 0. `raw_score` is the same with the standing phrases.
2. `near_score`: the share of test rows with a near-duplicate elsewhere (`near`), 0 by the groups as well;
   tests/bench/bench_leak.py compares every pair of rows to see that none was missed.
3. `repeated_requests`: requests of test that stand elsewhere word for word. "Thanks" does, and may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lunar_tune.artefacts import Row, Split
from lunar_tune.dataset.grouping.corpus import spoken, words
from lunar_tune.dataset.grouping.split import Member

NGRAM = 13


def leak_score(others: Iterable[Row], test: Iterable[Row]) -> dict[str, Any]:
    """Return {"ngram", "test_ngrams", "raw_shared", "raw_score", "test_requests", "repeated_requests"} of any rows.

    Counted over the words of user turns and answers, a call's arguments included; each test n-gram counts as often as
    it occurs. `raw_score` is raw_shared / test_ngrams, 0 when no test turn has 13 words.
    """
    seen: set[int] = set()
    requests: set[str] = set()
    for row in others:
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
        "raw_shared": shared,
        "raw_score": round(shared / total, 6) if total else 0.0,
        "test_requests": asked,
        "repeated_requests": repeated,
    }


def near_share(pairs: Iterable[Sequence[int]], splits: Sequence[Split | None]) -> dict[str, Any]:
    """Return {"test_rows", "near_duplicates", "near_score"}: test rows that are near to a row of another split.

    None in place of a split, here and below, is a row that was left out.
    """
    known = [pair for pair in pairs if None not in (splits[pair[0]], splits[pair[1]])]
    found = {i if splits[i] == "test" else j for i, j in known if (splits[i] == "test") != (splits[j] == "test")}
    total = sum(split == "test" for split in splits)
    return {
        "test_rows": total,
        "near_duplicates": len(found),
        "near_score": round(len(found) / total, 6) if total else 0.0,
    }


def repeated_requests(members: Sequence[Member], splits: Sequence[Split | None]) -> dict[str, int]:
    """Return {"test_requests", "repeated_requests"} of the rows that splitting knows."""
    pairs = list(zip(members, splits, strict=True))
    known = {request for one, split in pairs if split not in ("test", None) for request in one.requests}
    asked = [request for one, split in pairs if split == "test" for request in one.requests]
    return {"test_requests": len(asked), "repeated_requests": sum(request in known for request in asked)}


def _turns(row: Row) -> Iterator[tuple[str, list[str]]]:
    for message in row["messages"]:
        if message["role"] in ("user", "assistant"):
            said = words(message["content"])
            for call in message.get("tool_calls", ()):
                said += spoken(call["function"]["arguments"])
            yield message["role"], said


def _ngrams(said: list[str]) -> Iterator[int]:
    return (hash(tuple(said[i : i + NGRAM])) for i in range(len(said) - NGRAM + 1))
