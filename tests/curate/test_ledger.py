"""The books of curation: they balance, or no dataset is written."""

import dataclasses
import json
from pathlib import Path

import pytest

from lunar_tune.artefacts import Verdict
from lunar_tune.curate import Ledger, curate
from lunar_tune.dataset.write import write_dataset
from lunar_tune.episodes import from_dict
from lunar_tune.errors import BooksUnbalanced
from lunar_tune.settings import CurateSettings, DatasetSettings

GOLDEN = Path(__file__).parents[1] / "sources" / "golden"


def talk(make, thread="t1"):
    return make.episode(make.user(f"a {thread}"), make.says("b"), make.user("c"), make.says("d"), thread=thread)


def through(make, ledger, step, *threads):
    episodes = [talk(make, thread) for thread in threads or ("t1",)]
    return list(curate(episodes, CurateSettings(), ledger, [step]))


def plugin(work):
    class Step:
        name = "plugin"

        def __call__(self, drafts, report):
            for draft in drafts:
                yield from work(draft, report)

    return Step()


def left_out(ledger):
    return ledger.summary()["turns"]["left_out"]


def test_what_a_step_loses_without_a_word_is_counted_as_lost(make, ledger):
    kept = through(make, ledger, plugin(lambda d, _: [d] if d.episode.thread == "a" else []), "a", "b", "c")
    assert [draft.episode.thread for draft in kept] == ["a"]
    assert ledger.balanced()
    assert left_out(ledger) == {"unknown": {"lost by a step without a reason": 4}}
    assert ledger.summary()["conversations"] == {
        "read": 3, "kept": 1, "left_out": {"unknown": {"lost by a step without a reason": 2}},
    }  # fmt: skip


def test_a_turn_set_aside_in_silence_gets_a_verdict_of_its_own(make, ledger):
    through(make, ledger, plugin(lambda d, _: [dataclasses.replace(d, weights=(0, 0, 0, 1))]))
    assert [(v.reason, v.message) for v in ledger.verdicts] == [("set aside without a reason", 1)]
    assert left_out(ledger) == {"unknown": {"set aside without a reason": 1}}


def test_a_turn_that_is_learnt_against_its_verdict_is_an_error(make, ledger):
    def both(draft, report):
        report(Verdict(draft.id, "plugin", "bad", message=1))
        yield draft

    with pytest.raises(BooksUnbalanced, match="learnt against a verdict"):
        through(make, ledger, plugin(both))


@pytest.mark.parametrize("work", [lambda d, _: [d, d], lambda d, _: [d, dataclasses.replace(d, id="new")]])
def test_a_conversation_that_comes_out_twice_or_from_nowhere_is_an_error(make, ledger, work):
    with pytest.raises(BooksUnbalanced, match="did not go in"):
        through(make, ledger, plugin(work))


def test_a_conversation_with_a_verdict_that_goes_on_all_the_same_is_an_error(make, ledger):
    def both(draft, report):
        report(Verdict(draft.id, "plugin", "bad"))
        yield draft

    with pytest.raises(BooksUnbalanced):
        through(make, ledger, plugin(both))


def test_a_step_may_add_messages(make, ledger):
    def longer(draft, _):
        messages = (*draft.episode.messages, make.user("thanks"))
        episode = dataclasses.replace(draft.episode, messages=messages)
        yield dataclasses.replace(draft, episode=episode, weights=(*draft.weights, 0))

    assert len(through(make, ledger, plugin(longer))) == 1
    assert ledger.balanced()
    assert left_out(ledger) == {}


def test_a_dataset_without_room_gives_conversations_back(make, ledger):
    (draft,) = through(make, ledger, plugin(lambda d, _: [d]))
    ledger.taken_back(Verdict(draft.id, "budget", "over the token budget"), 2)
    assert ledger.balanced()
    assert ledger.summary()["turns"] == {"read": 2, "kept": 0, "left_out": {"budget": {"over the token budget": 2}}}


def test_a_count_that_does_not_come_out_is_said(ledger):
    ledger.turns_read = 1
    with pytest.raises(BooksUnbalanced, match="1 turns of 0 conversations were read"):
        ledger.settle()


def test_turns_read_are_turns_kept_and_turns_left_out_on_the_fixture(fixture_episodes):
    ledger = Ledger()
    drafts = list(curate(fixture_episodes, CurateSettings(), ledger))
    turns, talks = ledger.summary()["turns"], ledger.summary()["conversations"]
    assert turns["read"] == sum(m.role == "assistant" for e in fixture_episodes for m in e.messages)
    assert turns["kept"] == sum(weight == 1 for draft in drafts for weight in draft.weights)
    assert turns["read"] == turns["kept"] + sum(n for by in turns["left_out"].values() for n in by.values())
    assert talks["read"] == len(fixture_episodes)
    assert talks["read"] == len(drafts) + sum(n for by in talks["left_out"].values() for n in by.values())
    assert not left_out(ledger).get("unknown")


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.jsonl")))
def test_the_books_balance_on_the_example_of_every_reader_down_to_the_rows(name, tmp_path):
    lines = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    episodes = [from_dict(line) for line in lines if "lost" not in line]
    ledger = Ledger()
    drafts = curate(episodes, CurateSettings(), ledger)
    dataset = write_dataset(drafts, ledger, DatasetSettings(), tmp_path)
    turns = dataset.manifest["curation"]["turns"]
    assert turns["read"] == sum(m.role == "assistant" for e in episodes for m in e.messages)
    assert turns["read"] == turns["kept"] + sum(n for by in turns["left_out"].values() for n in by.values())
    assert turns["kept"] == sum(split["learnt"] for split in dataset.manifest["turns"].values())
    assert ledger.balanced()
