"""Words are numbered the same whether they come alone or by the million, and texts become sorted sets of them."""

import random

import pytest

from lunar_tune.dataset.grouping import corpus as corpus_module
from lunar_tune.dataset.grouping import vocabulary as vocabulary_module
from lunar_tune.dataset.grouping.corpus import TURN, Corpus, plain, turns_of, words
from lunar_tune.dataset.grouping.vocabulary import Vocabulary
from lunar_tune.episodes import Message, ToolCall


@pytest.mark.parametrize("bits", [22, 3])
def test_a_word_keeps_its_number(monkeypatch, bits):
    monkeypatch.setattr(vocabulary_module, "SLOT_BITS", bits)  # with 8 slots nearly every word has none of its own
    vocabulary = Vocabulary(TURN)
    chance = random.Random(0)
    known = {}
    for _ in range(20):
        said = [f"w{chance.randrange(500)}" for _ in range(300)] + ["é", "a" * 90, "ab", "ba"]
        found, starts = vocabulary.numbers(f" {'  '.join(said)} ".encode(), b" ")
        assert len(found) == len(starts) == len(said)
        for word, number in zip(said, found.tolist(), strict=True):
            assert known.setdefault(word, number) == number > 0
            assert vocabulary.texts[number] == word
    assert len(set(known.values())) == len(known) == len(vocabulary) - 1


def test_hashes_do_not_depend_on_what_stands_around():
    one, other = Vocabulary(TURN), Vocabulary(TURN)
    (a, b), _ = one.numbers(b" oslo bergen ", b" ")
    (c, *_, d), _ = other.numbers(b" bergen " + b"x " * 200_000 + b"oslo ", b" ")
    assert one.hashes[a] == other.hashes[d]
    assert one.hashes[b] == other.hashes[c]
    assert one.hashes[a] != one.hashes[b]


@pytest.mark.parametrize("text", ["Hello, WORLD_1!", "\x1c\x85a\tb\n", "Straße ÉTÉ", "東京 is nice", "\ud800 x", ""])
def test_plain_text_has_the_words(text):
    assert plain(text).decode("utf-8", "surrogatepass").split() == words(text)


def conversation(chance):
    messages = [Message(role="assistant", tool_calls=(ToolCall(name="early", arguments={"a": "before"}),))]
    for _ in range(chance.randint(0, 3)):
        asked = " ".join(f"q{chance.randrange(40)}" for _ in range(chance.randint(1, 20)))
        call = ToolCall(
            name="find it", arguments={"city": f"C{chance.randrange(9)}", "n": [1, {"deep": "x y z u v w"}]}
        )
        messages += [Message(role="user", content=asked), Message(role="assistant", tool_calls=(call,))]
        messages.append(Message(role="assistant", content=f"Answer a{chance.randrange(9)}."))
    return tuple(messages)


def expected(messages):
    """Return the sets of a row by the definition: all of it, its task, each long request of several."""
    whole, requests = set(), []
    for turn in turns_of(messages):
        content, called = turn.content.decode().split(), turn.called.decode().split()
        values = [value.decode() for value in turn.values]
        whole |= {*content, *called, *values}
        if turn.role == "user":
            requests.append((content, set(content)))
        elif requests:
            requests[-1][1].update(called, values)
    long = [asked for content, asked in requests if len(content) >= corpus_module.LONG_REQUEST]
    return whole, [set().union(*(asked for _, asked in requests)), *(long if len(requests) > 1 else [])]


@pytest.mark.parametrize("size", [1, 1 << 19])
def test_documents_are_those_of_the_definition(monkeypatch, size):
    monkeypatch.setattr(corpus_module, "TEXT_AT_ONCE", size)
    chance = random.Random(4)
    rows = [conversation(chance) for _ in range(40)]
    corpus = Corpus()
    for row in rows:
        corpus.add(turns_of(row))
    texts = corpus.vocabulary.texts

    def sets(documents):
        numbers, ends, owners = (part.tolist() for part in documents)
        starts = [0, *ends[:-1]]
        return [(row, {texts[n] for n in numbers[a:b]}) for a, b, row in zip(starts, ends, owners, strict=True)]

    assert len(corpus) == 40
    assert sets(corpus.wholes()) == [(i, expected(row)[0]) for i, row in enumerate(rows)]
    assert sets(corpus.tasks()) == [(i, one) for i, row in enumerate(rows) for one in expected(row)[1]]
    said, ends = corpus.said()
    first = [texts[n] for n in said[: ends[0]].tolist()]
    turns = turns_of(rows[0])
    assert first == [w for t in turns for w in [*t.content.decode().split(), *t.called.decode().split(), ""]]
    assert corpus.spread().sum() == sum(len(expected(row)[0]) for row in rows)
