"""On every log of the tests the ledger adds up: turns read are turns kept and turns left out, each with a reason."""

import sys
from pathlib import Path

import pytest

from lunar_tune import plugins
from lunar_tune.curate import Ledger, curate
from lunar_tune.settings import CurateSettings, HarvestSettings
from lunar_tune.sources.read import open_logs

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "sources"))

import examples  # noqa: E402  # the readers' examples, one module a format

UNSAID = "unknown"  # the step of what was left out without a reason


def check(episodes, settings=None):
    ledger = Ledger()
    drafts = list(curate(episodes, settings or CurateSettings(), ledger))
    turns = ledger.summary()["turns"]
    out = sum(number for reasons in turns["left_out"].values() for number in reasons.values())
    assert ledger.balanced()
    assert turns["read"] == sum(m.role == "assistant" for e in episodes for m in e.messages)
    assert turns["read"] == turns["kept"] + out
    assert turns["kept"] == sum(weight == 1 for d in drafts for weight in d.weights)
    assert UNSAID not in turns["left_out"]
    return drafts, turns


@pytest.mark.parametrize("name", examples.names())
def test_every_sample_adds_up(name, tmp_path):
    settings = getattr(examples.example(name), "SETTINGS", HarvestSettings())
    with open_logs([examples.build(name, tmp_path)], plugins.sources(), settings) as (log,):
        episodes = list(log.read(lambda verdict: None, None))
    assert episodes
    check(episodes)
    check(episodes, CurateSettings(redact=False, doubt=0.3, burst=1, own_model=""))


def test_the_fixture_adds_up_and_loses_nothing_to_the_checks_of_content(fixture_episodes):
    _, turns = check(fixture_episodes)
    left = set(turns["left_out"])
    assert not left & {"scaffolding", "cutoff", "fleeting", "refusals", "injections", "bursts"}


def test_checks_that_are_skipped_set_nothing_aside(make):
    said = make.episode(make.user("What is the weather in Oslo?"), make.says("It is raining in Oslo."))
    drafts, turns = check([said], CurateSettings(skip=("fleeting",)))
    assert turns["kept"] == len(drafts) == 1
    assert check([said])[1]["left_out"] == {
        "fleeting": {"true only that day, and rests on nothing that was looked up": 1}
    }
