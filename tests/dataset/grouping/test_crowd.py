"""Of a burst of near-identical rows the newest few stay; a log that drifts keeps both of its ends."""

import random

import pytest

from lunar_tune.artefacts import Draft
from lunar_tune.dataset.grouping.arrange import arrange
from lunar_tune.dataset.grouping.corpus import Corpus, turns_of
from lunar_tune.dataset.grouping.crowd import Likeness, crowded
from lunar_tune.dataset.grouping.near import near_pairs
from lunar_tune.dataset.grouping.split import Member
from lunar_tune.dataset.write import write_dataset
from lunar_tune.episodes import Episode, Message
from lunar_tune.files import read_jsonl
from lunar_tune.settings import DatasetSettings

REQUEST = (
    "Summarise the nightly backup report of the Appledore archive server, list failures first and keep it under twenty "
    "lines please"
)
THRESHOLD = DatasetSettings().near_duplicate


def asked(request, answer="Done."):
    return Message(role="user", content=request), Message(role="assistant", content=answer)


def corpus_of(rows):
    corpus = Corpus()
    for row in rows:
        corpus.add(turns_of(row))
    return corpus


def others(chance, number):
    """Return rows that have nothing to do with each other."""
    return [asked(" ".join(f"w{chance.randrange(3000)}" for _ in range(44))) for _ in range(number)]


def members_of(rows):
    """Return members whose ids say nothing of their age; the last row is the newest."""
    chance = random.Random(7)
    names = chance.sample(range(10**6), len(rows))
    return [
        Member(f"ep-{name:06}", f"2026-{1 + i // 28:02}-{1 + i % 28:02}", f"t{i}", ("s", "p"), (f"own{i}",))
        for i, name in enumerate(names)
    ]


def gone(rows, most=3):
    """Return which rows are crowded; the last row is the newest."""
    arranged = arrange(members_of(rows), corpus_of(rows), DatasetSettings(near_identical=most))
    return arranged.crowded


@pytest.mark.parametrize("most", [1, 3, 12])
def test_of_a_burst_the_newest_stay(most):
    chance = random.Random(0)
    rows = [*others(chance, 80), *(asked(REQUEST, f"All {'well' if i % 2 else 'fine'}.") for i in range(100))]
    assert gone(rows, most) == set(range(80, 180 - most))


def test_of_a_burst_with_other_rows_between_the_newest_stay():
    chance = random.Random(1)
    extra = ("", "now", "again", "today")
    rows = others(chance, 100)
    burst = sorted(chance.sample(range(200), 100))
    for place in burst:
        rows.insert(place, asked(f"{REQUEST} {chance.choice(extra)}"))
    places = [i for i, row in enumerate(rows) if row[0].content.startswith(REQUEST)]
    assert gone(rows) == set(places[:-3])


def test_no_limit_is_no_limit():
    assert gone([asked(REQUEST)] * 30, 0) == frozenset()
    assert len(gone([asked(REQUEST)] * 30, 29)) == 1
    assert gone([asked(REQUEST)] * 30, 30) == frozenset()


def chain(number, length=20):
    """Return rows each of which shares all words but one with the next, and none with those further on."""
    return [asked(" ".join(f"c{word}" for word in range(first, first + length))) for first in range(number)]


def test_what_a_chain_connects_is_not_near():
    rows = [*others(random.Random(2), 60), *chain(200)]
    corpus, newest = corpus_of(rows), range(len(rows) - 1, -1, -1)
    likeness = Likeness(corpus, newest, THRESHOLD)
    assert likeness.near(259, [60, 258]) == {258}  # the ends are different
    dropped = gone(rows)
    stay = [i for i in newest if i not in dropped]
    assert min(i for i in stay if i >= 60) < 70
    for i in range(60, 260):
        near = likeness.near(i, [j for j in stay if j > i])
        assert (len(near) >= 3) == (i in dropped)


def test_what_goes_is_near_to_as_many_that_stay():
    chance = random.Random(3)
    rows = others(chance, 150)
    for _ in range(150):
        words = REQUEST.split()
        for _ in range(chance.randrange(1, 4)):
            words[chance.randrange(len(words))] = f"v{chance.randrange(10)}"
        rows.append(asked(" ".join(words)))
    corpus, newest = corpus_of(rows), range(299, -1, -1)
    pairs = near_pairs(corpus, range(300), THRESHOLD, 0).tolist()
    dropped = crowded(corpus, newest, pairs, THRESHOLD, 3)
    likeness = Likeness(corpus, newest, THRESHOLD)
    stay = [i for i in newest if i not in dropped]
    close = {i: len(likeness.near(i, [j for j in stay if j > i])) for i in range(150, 300)}
    assert len(dropped) > 50
    assert all(close[i] >= 3 for i in dropped)
    assert sum(close[i] >= 3 for i in stay if i >= 150) <= 10  # pairs are found by chance


class Books:
    """What curation hands over."""

    def __init__(self):
        self.verdicts = []

    def taken_back(self, verdict, turns):
        self.verdicts.append(verdict)

    def summary(self):
        empty = {"read": 0, "kept": 0, "left_out": {}}
        return {"conversations": empty, "turns": empty, "unreadable": {}, "redacted": {}}


def test_a_dataset_holds_the_newest_of_a_burst_and_names_the_others(tmp_path):
    said = [*(asked(REQUEST, f"All fine {i}.") for i in range(60)), *others(random.Random(4), 140)]
    drafts = [
        Draft(
            Episode(source="s", path="p", thread=f"t{i}", messages=row, started_at=f"2026-10-01T00:00:00.{i:03}Z"),
            (0, 1),
            f"ep-{97 * i % 200:03}",
        )
        for i, row in enumerate(said)
    ]
    dataset = write_dataset(drafts, Books(), DatasetSettings(valid=0), tmp_path)
    burst = {draft.id for draft in drafts[:60]}
    kept = [row["id"] for row in read_jsonl(dataset.split("train")) if row["id"] in burst]
    assert kept == [draft.id for draft in drafts[57:60]]
    lines = list(read_jsonl(dataset.path / "dropped.jsonl"))
    assert {line["id"] for line in lines} == burst - set(kept)
    assert {(line["reason"], line["detail"]) for line in lines} == {("a near-duplicate of newer rows", "3 are kept")}
