"""What is a near-duplicate, what is the same phrase with other values, and what a shared passage does."""

import itertools
import random

import pytest

from lunar_tune.dataset.grouping.arrange import arrange
from lunar_tune.dataset.grouping.corpus import Corpus, turns_of, words
from lunar_tune.dataset.grouping.grams import Grams
from lunar_tune.dataset.grouping.leak import leak_score, near_share
from lunar_tune.dataset.grouping.near import near_pairs, one_letter_apart
from lunar_tune.dataset.grouping.split import Member
from lunar_tune.episodes import Message, ToolCall
from lunar_tune.settings import DatasetSettings

NOUNS = """lamp ladder violin garden teapot basket anchor blanket scarf jacket mirror candle bucket shovel piano
drawer""".split()  # noqa: SIM905
NAMES = """Maren Tomas Britan Olsa Grelin Isren Velford Norsund Kaldnes Skarby Eldfjord Mosdale Lunheim
Bjornes""".split()  # noqa: SIM905


def asked(request, answer="Done.", **arguments):
    call = (ToolCall(name="send_message", arguments=arguments),) if arguments else ()
    return (Message(role="user", content=request), Message(role="assistant", content=answer, tool_calls=call))


def messages(number):
    """Return the same phrase with other values, so many times."""
    pairs = list(itertools.product(NAMES, NOUNS))
    random.Random(0).shuffle(pairs)
    return [
        asked(
            f"Please write to {a} that the {b} is standing beside the gate until tomorrow evening.",
            to=a,
            text=f"the {b}",
        )
        for a, b in pairs[:number]
    ]


def corpus_of(rows):
    corpus = Corpus()
    for row in rows:
        corpus.add(turns_of(row))
    return corpus


THRESHOLD = DatasetSettings().near_duplicate


def near(rows, threshold=THRESHOLD):
    names = [f"{i:04}" for i in range(len(rows))]
    return [tuple(pair) for pair in near_pairs(corpus_of(rows), names, threshold, 0).tolist()]


ORIGINAL = "Ask Wilhelmina whether the turquoise saddle still fits the pony from Appledore before Thursday."


@pytest.mark.parametrize(
    "cousin",
    [
        "ASK WILHELMINA WHETHER THE TURQUOISE SADDLE STILL FITS THE PONY FROM APPLEDORE BEFORE THURSDAY",
        "Before Thursday, ask Wilhelmina whether the pony from Appledore still fits the turquoise saddle!",
        "Hi, can you please ask Wilhelmina if the turquoise saddle still fits the pony from Appledore before Thursday?",
        "Ask Wilhelmina wether the turquiose saddle still fits the pony from Appledore before Thursday.",
        "Find out from Wilhelmina before Thursday: does the turquoise saddle still fit the Appledore pony?",
    ],
)
def test_the_same_task_in_other_words_is_near(cousin):
    rows = [*messages(60), asked(ORIGINAL), asked(cousin)]
    assert near(rows) == [(60, 61)]


def test_the_same_phrase_with_other_values_is_another_task():
    assert near(messages(120)) == []
    call = asked(ORIGINAL, to="Wilhelmina", day="Thursday"), asked(ORIGINAL, to="Wilhelmina", day="Friday")
    assert near([*messages(60), *call]) == []  # the words are the same, what was done is not


def test_small_talk_proves_nothing():
    assert near([asked("Hello there!", "Hi. What can I do?")] * 3 + messages(20)) == []


def test_the_threshold_is_a_setting():
    rows = [
        *messages(60),
        asked(ORIGINAL),
        asked("Find out before Thursday from Wilhelmina about the turquoise saddle."),
    ]
    assert near(rows, 0.95) == []
    assert near(rows, 0.3) == [(60, 61)]


def test_a_long_request_of_another_conversation_is_found():
    rows = [*messages(60), asked(ORIGINAL), (*messages(61)[60], *asked("Hi! " + ORIGINAL.lower(), "Yes."))]
    assert near(rows) == [(60, 61)]


def test_words_that_half_of_a_log_has_are_compared_where_there_are_no_others():
    request = "Summarise the backup report of the archive server, list failures first and keep it under twenty lines"
    chance = random.Random(5)
    rows = [asked(prose(chance, 44)) for _ in range(100)]
    rows += [asked(f"{request} {('', 'now', 'again', 'today')[i % 4]}") for i in range(100)]
    endings = {i: rows[i][0].content[len(request) :] for i in range(100, 200)}
    assert {frozenset((endings[i], endings[j])) for i, j in near(rows)} >= {
        frozenset((" now", end)) for end in (" ", " now", " again", " today")
    }


def test_pairs_do_not_depend_on_the_order_of_rows():
    rows = [*messages(40), *[asked(f"{ORIGINAL} {word}") for word in NOUNS[:4]]]
    names = [f"{i:04}" for i in range(len(rows))]
    forward = {(names[a], names[b]) for a, b in near_pairs(corpus_of(rows), names, 0.45, 0)}
    turned = near_pairs(corpus_of(rows[::-1]), names[::-1], 0.45, 0)
    assert forward == {tuple(sorted((names[::-1][a], names[::-1][b]))) for a, b in turned}
    assert len({row for pair in forward for row in pair}) == 4


@pytest.mark.parametrize(("a", "b", "apart"), [
    ("saddle", "sadle", True), ("saddle", "saddel", True), ("saddle", "sabble", False), ("pony", "pony", True),
    ("pony", "ponies", False), ("whether", "wether", True), ("fits", "fit", True),
])  # fmt: skip
def test_one_letter_apart(a, b, apart):
    assert one_letter_apart(a, b) is one_letter_apart(b, a) is apart


def test_letters_without_spaces_are_words():
    assert words("東京の天気, Oslo!") == ["東", "京", "の", "天", "気", "oslo"]


def prose(chance, number):
    return " ".join(f"w{chance.randrange(3000)}" for _ in range(number))


def members_of(number):
    return [Member(f"ep-{i:04}", f"{i:04}", f"t{i}", ("s", "p"), (f"own{i}",)) for i in range(number)]


def test_a_passage_that_a_few_rows_share_ties_them():
    chance = random.Random(1)
    passage = prose(chance, 20)
    rows = [asked(prose(chance, 12), prose(chance, 40)) for _ in range(30)]
    for i in (3, 28):
        rows[i] = asked(prose(chance, 12), f"{prose(chance, 60)} {passage} {prose(chance, 60)}")
    arranged = arrange(members_of(30), corpus_of(rows), DatasetSettings())
    assert arranged.groups[28] == 3
    assert arranged.splits[3] == arranged.splits[28]
    assert arranged.leak()["score"] == arranged.leak()["raw_score"] == 0.0
    assert arranged.near == []


def test_a_standing_phrase_ties_nothing_and_is_counted_apart():
    chance = random.Random(2)
    phrase = "I am happy to help. The weather in {} on {} is {} degrees with a gentle wind from the {} side of the bay."
    rows = [
        asked(prose(chance, 12), phrase.format(*(chance.choice(NAMES[:4]) for _ in range(4))) + " " + prose(chance, 30))
        for _ in range(200)
    ]
    corpus = corpus_of(rows)
    arranged = arrange(members_of(200), corpus, DatasetSettings())
    assert len(set(arranged.groups)) == 200
    leak = arranged.leak()
    assert leak["boilerplate"] > 0 < leak["raw_shared"]
    assert leak["shared"] == 0
    few = arrange(members_of(200), corpus_of(rows), DatasetSettings(boilerplate=10**6))
    assert few.grouping()["largest"] > 60  # without it the phrase makes one group of everything
    assert few.grouping()["never_held_out"][0] == few.grouping()["largest"]
    assert few.leak()["raw_score"] == 0.0


def test_the_figures_are_those_of_a_plain_count():
    chance = random.Random(3)
    pool = [prose(chance, 16) for _ in range(40)]
    rows = [asked(chance.choice(pool), f"{chance.choice(pool)} {chance.choice(pool)}") for _ in range(60)]
    corpus, splits = corpus_of(rows), ["test" if i % 4 == 0 else "train" for i in range(60)]
    found = Grams(corpus, range(60), 10**6).shared(splits)
    wire = [{"messages": [{"role": m.role, "content": m.content} for m in row]} for row in rows]
    plain = leak_score(
        [row for row, split in zip(wire, splits, strict=True) if split != "test"],
        [row for row, split in zip(wire, splits, strict=True) if split == "test"],
    )
    assert {key: found[key] for key in ("ngram", "test_ngrams", "raw_shared", "raw_score")} == {
        key: plain[key] for key in ("ngram", "test_ngrams", "raw_shared", "raw_score")
    }
    assert found["score"] == found["raw_score"] > 0  # nothing is a standing phrase here, and nothing was tied


def test_near_share_counts_test_rows_with_a_cousin_elsewhere():
    assert near_share([(0, 1), (1, 2), (2, 3)], ["train", "test", "test", "test"]) == {
        "test_rows": 3, "near_duplicates": 1, "near_score": 0.333333,
    }  # fmt: skip
