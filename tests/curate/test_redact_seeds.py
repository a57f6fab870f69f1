# ruff: noqa: E501 (an example is one line)
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.curate.redact import redacted
from lunar_tune.curate.redact.scan import search
from lunar_tune.curate.redact.seeds import mnemonic, words_of
from lunar_tune.episodes import Episode, Message, ToolCall, to_dict

# test vectors of BIP-39 (https://github.com/trezor/python-mnemonic/blob/master/vectors.json)
VECTORS = [
    "legal winner thank year wave sausage worth useful legal winner thank yellow",
    "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
    "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic",
    "gravity machine north sort system female filter attitude volume fold club stay feature office ecology stable narrow fog",
    "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
]
SAID = VECTORS[2]
WRITTEN = {
    "plain": SAID,
    "commas": SAID.replace(" ", ", "),
    "lines": SAID.replace(" ", "\n"),
    "dashes": SAID.replace(" ", "-"),
    "capitals": SAID.upper(),
    "numbered": " ".join(f"{n}. {word}" for n, word in enumerate(SAID.split(), 1)),
    "numbered lines": "\n".join(f"{n}) {word}" for n, word in enumerate(SAID.split(), 1)),
    "quoted": ", ".join(f'"{word}"' for word in SAID.split()),
    "table": "\n".join(f"| {n} | {word} |" for n, word in enumerate(SAID.split(), 1)),
    "after words of the list": f"this phrase {SAID} can open about all",
}


def spoken(*messages: Message) -> tuple[Message, ...]:
    return redacted(Episode(source="s", path="p", thread="t", messages=messages))[0].messages


@pytest.mark.parametrize("phrase", VECTORS)
def test_the_checksum_of_a_phrase_is_known(phrase):
    words = phrase.split()
    assert mnemonic(words)
    assert not mnemonic([*words[:-1], "zoo"])
    assert not mnemonic(words[:-1])
    assert words_of("1. Zoo\\n2. wrong%20zone") == ("zoo", "wrong", "zone")


@pytest.mark.parametrize("way", WRITTEN)
def test_a_phrase_needs_no_word_about_it_however_it_is_written(way):
    said = WRITTEN[way]
    call = ToolCall(name="t", arguments={"text": said, "deep": [json.dumps({"text": said, "size": 12})]})
    episode = redacted(
        Episode(
            source="s",
            path="p",
            thread="t",
            messages=(
                Message(role="user", content=f"Here: {said}"),
                Message(role="assistant", tool_calls=(call,)),
                Message(role="tool", content=json.dumps({"id": 1, "text": said, "all": "any"})),
            ),
        )
    )[0]
    text = json.dumps(to_dict(episode, with_id=False)).lower()
    assert "pudding" not in text
    assert json.loads(episode.messages[2].content)["all"] == "any"


def test_words_in_a_list_become_one_placeholder():
    words = SAID.split()
    call = ToolCall(name="t", arguments={"mnemonic": words, "n": 12})
    result = json.dumps({"rows": ["first", *words, "last"], "deep": json.dumps({"words": words})})
    said, called, told = spoken(
        Message(role="user", content=f"It is {SAID}, all of it"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content=result),
    )
    assert said.content == "It is <SEED_PHRASE_1>, all of it"
    assert called.tool_calls[0].arguments == {"mnemonic": ["<SEED_PHRASE_1>"], "n": 12}
    rows = json.loads(told.content)
    assert rows["rows"] == ["first", "<SEED_PHRASE_1>", "last"]
    assert json.loads(rows["deep"]) == {"words": ["<SEED_PHRASE_1>"]}


def test_a_phrase_without_a_checksum_goes_where_it_is_alone_or_told():
    wrong = " ".join([*SAID.split()[:-1], "zoo"])
    assert [found.kind for found in search(f"({wrong})")] == ["SEED_PHRASE"]
    other = "blorp quibble snark fizzle wobble grumble zonk plonk twerk yodel glimp frobs"
    assert [found.kind for found in search(f"my seed phrase: {other}")] == ["SEED_PHRASE"]
    assert not search(other)


def test_word_lists_and_sentences_are_no_phrases():
    every = (Path(__file__).parents[2] / "lunar_tune/curate/redact/bip39_english.txt").read_text(encoding="ascii")
    assert len(every.split()) == 2048
    assert not search(every)
    assert not search("about all people like good food when they also have time, and more people know this one day")
    assert not search("year, month, day):\n    year = index(year)\n    month = index(month)\n    day = index(day")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(VECTORS), st.sampled_from([" ", ", ", "\n", " - "]), st.text("ab .\n", max_size=900))
def test_a_phrase_is_found_wherever_it_stands(phrase, joint, before):
    text = f"{before}\n\n{phrase.replace(' ', joint)}."
    assert any(text[one.begin : one.end].split(joint)[-1] == phrase.split()[-1] for one in search(text))
