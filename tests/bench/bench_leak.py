"""Are planted cousins kept out of test? `bench_leak.py [ROWS]`: our split beside a random and a plain split by time.

For each split: planted pairs that it separates, the share of 13-word sequences of test that stand elsewhere, and the
share of test rows with a near-duplicate elsewhere, every pair of a test row and another computed, none proposed.
"""

import random
import sys
from collections import Counter

import numpy
from leak_corpus import KINDS, corpus

from lunar_tune.chatml import to_messages
from lunar_tune.dataset.grouping import near
from lunar_tune.dataset.grouping.arrange import arrange
from lunar_tune.dataset.grouping.corpus import Corpus, turns_of
from lunar_tune.dataset.grouping.grams import Grams
from lunar_tune.dataset.grouping.leak import leak_score
from lunar_tune.dataset.grouping.split import member
from lunar_tune.settings import DatasetSettings

SHARES = {"test": 0.2, "valid": 0.1}


def exhaustive(known, pools, splits, threshold):
    """Return how many test rows have a near-duplicate elsewhere, over every pair."""
    test = numpy.array([i for i, split in enumerate(splits) if split == "test"])
    others = numpy.array([i for i, split in enumerate(splits) if split != "test"])
    found = set()
    for pool in pools:
        mine, theirs = (numpy.flatnonzero(numpy.isin(pool.rows, rows)) for rows in (test, others))
        for one in mine:
            if pool.near(numpy.full(len(theirs), one), theirs, known, threshold).any():
                found.add(int(pool.rows[one]))
    return len(found), len(test)


def by_time(members, number):
    order = sorted(range(number), key=lambda i: (members[i].started_at, members[i].id))
    tested = set(order[round(number * (1 - SHARES["test"])) :])
    return ["test" if i in tested else "train" for i in range(number)]


def by_chance(number):
    chance = random.Random(0)
    return ["test" if chance.random() < SHARES["test"] else "train" for _ in range(number)]


def main(rows):
    drafts, planted = corpus(rows)
    words = Corpus()
    members = []
    for draft in drafts:
        turns = turns_of(draft.episode.messages)
        words.add(turns)
        members.append(member(draft, turns))
    settings = DatasetSettings(**SHARES)
    known = near.Words(words)
    pools = list(near.pools(words))
    arranged = arrange(members, words, settings)
    number = len(drafts)
    wire = [{"messages": to_messages(draft.episode, draft.weights)} for draft in drafts]
    standing = Grams(words, list(arranged.groups), settings.boilerplate)
    print(f"{number} rows, {len(planted)} planted pairs of {len(KINDS)} kinds; {arranged.grouping()}")
    cousins = {frozenset(pair[:2]) for pair in planted}
    wrong = Counter(frozenset(map(int, pair)) in cousins for pair in arranged.near)
    print(f"near-duplicate pairs found: {wrong[True]} planted, {wrong[False]} not planted")
    splits = {"ours": arranged.splits, "random": by_chance(number), "by time": by_time(members, number)}
    for name, split in splits.items():
        apart = Counter(kind for a, b, kind in planted if (split[a] == "test") != (split[b] == "test"))
        grams = standing.shared(split)
        plain = leak_score(
            [row for row, where in zip(wire, split, strict=True) if where != "test"],
            [row for row, where in zip(wire, split, strict=True) if where == "test"],
        )
        assert plain["raw_shared"] == grams["raw_shared"]
        close, tested = exhaustive(known, pools, split, settings.near_duplicate)
        print(
            f"{name:8s} separates {sum(apart.values()):4d} of {len(planted)} planted pairs; 13-gram score"
            f" {grams['score']:.4f} (raw {grams['raw_score']:.4f}); near-duplicates {close}/{tested} ="
            f" {close / tested:.4f}; by kind {dict(sorted(apart.items()))}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
