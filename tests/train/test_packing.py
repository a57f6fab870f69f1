"""Rows in passes: nothing is lost, nothing is computed twice, and every target is predicted from its own row."""

import random

import pytest

from lunar_tune.artefacts import TokenRow
from lunar_tune.train.packing import Segment, pack, trees


def kin(count, shared=40, own=10, start=0):
    head = tuple(range(start, start + shared))
    rows = []
    for i in range(count):
        tail = tuple(900 + (i * 7 + k) % 90 for k in range(own + i % 3))
        rows.append(TokenRow(f"{start}-{i}", head + tail, (0,) * (shared + 2) + (1,) * (len(tail) - 2)))
    return rows


def rebuilt(batch):
    """The rows of a pass as (ids, supervised places), from its segments alone."""
    found = []
    roots = {segment.root for segment in batch.segments if segment.before}
    for segment in batch.segments:
        if (segment.start, segment.end) in roots:
            assert not any(segment.start <= at < segment.end for at in batch.positions)
            continue
        spans = [*range(*segment.root), *range(segment.start, segment.end)]
        assert batch.places[spans].tolist() == list(range(len(spans)))
        ids = batch.ids[spans].tolist()
        wanted = [(i, at) for i, at in enumerate(batch.positions.tolist()) if segment.start <= at < segment.end]
        targets = [(spans.index(at) + 1, int(batch.targets[i])) for i, at in wanted]
        assert all(ids[place] == target for place, target in targets)
        found.append((tuple(ids), tuple(place for place, _ in targets)))
    return found


def as_asked(rows):
    return sorted((row.ids, tuple(i for i, m in enumerate(row.mask) if m and i)) for row in rows)


def test_what_rows_share_is_computed_once():
    rows = kin(3)
    [batch] = pack(rows, 1000)
    assert batch.segments == (
        Segment(0, 40),
        Segment(40, 50, (0, 40)),
        Segment(50, 61, (0, 40)),
        Segment(61, 73, (0, 40)),
    )
    assert len(batch.ids) == 73
    assert batch.tokens == 153
    assert sorted(rebuilt(batch)) == as_asked(rows)


@pytest.mark.parametrize("limit", [60, 100, 200, 10_000])
def test_no_row_is_lost_and_no_pass_is_larger_than_allowed(limit):
    rows = [*kin(9), *kin(4, start=300), *kin(1, start=500), *kin(3, shared=5, own=20, start=700)]
    random.Random(1).shuffle(rows)
    batches = pack(rows, limit)
    assert all(len(batch.ids) <= limit for batch in batches)
    assert sorted(row for batch in batches for row in rebuilt(batch)) == as_asked(rows)
    assert sum(batch.tokens for batch in batches) == sum(len(row.ids) for row in rows)
    again = pack(rows, limit)
    assert [batch.ids.tolist() for batch in again] == [batch.ids.tolist() for batch in batches]


def test_a_row_longer_than_the_limit_is_alone():
    long = kin(2, shared=100)
    batches = pack([*long, *kin(1, start=400)], 50)
    assert sorted(len(batch.ids) for batch in batches) == [50, 110, 111]


def test_supervised_tokens_are_never_shared():
    ids = tuple(range(50))
    rows = [TokenRow("a", (*ids, 1), (0,) * 30 + (1,) * 21), TokenRow("b", (*ids, 2), (0,) * 45 + (1,) * 6)]
    [batch] = pack(rows, 1000)
    assert batch.segments[0] == Segment(0, 29)  # token 30 is predicted from token 29, which is each row's own
    assert sorted(rebuilt(batch)) == as_asked(rows)


def test_rows_with_little_in_common_are_not_tied():
    assert len(trees(kin(4, shared=15, own=5))) == 4
    assert len(trees(kin(4, shared=20, own=60))) == 4
    assert len(trees([*kin(8), *kin(8, start=60)])) == 2


def test_first_token_is_never_a_target():
    [batch] = pack([TokenRow("a", (5, 6, 7), (1, 0, 1)), TokenRow("b", (5, 8, 9, 4, 3), (0, 1, 0, 0, 1))], 50)
    assert batch.positions.tolist() == [0, 3, 6]
    assert batch.targets.tolist() == [8, 3, 7]
