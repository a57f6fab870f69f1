"""What an owner would want, case by case."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.artefacts import Paired
from lunar_tune.evaluate.gate import decide
from lunar_tune.settings import GateSettings

SETTINGS = GateSettings(min_turns=30, margin=0.03, probe_margin=0.02, confidence=0.95)
TOOLS = "tool_call_accuracy"
LOWER = ("nll", "over_call", "answers_cut_off")


def pair(delta, half=0.02, n=132):
    return Paired(delta, delta - half, delta + half, 0.01, n)


def case(base=None, current=None, turns=200, conversations=60):
    """Arms and pairs of a good candidate, but for what `base` and `current` say."""
    good = {TOOLS: pair(0.74, 0.07), "nll": pair(-0.4, 0.1, 60), "probes": pair(-0.005, 0.01, 120)}
    good |= {"over_call": pair(0.0, 0.01), "answers_cut_off": pair(0.0, 0.01)}
    sides = {"base": good | (base or {})}
    if current is not None:
        sides["current"] = {**good, TOOLS: pair(0.01, 0.02), "nll": pair(-0.01, 0.01, 60), **current}
    sides = {other: {k: v for k, v in pairs.items() if v is not None} for other, pairs in sides.items()}
    tuned = {TOOLS: 0.86, "nll": 1.2, "probes": 0.91, "over_call": 0.05, "answers_cut_off": 0.01}
    tuned |= {"turns": float(turns), "conversations": float(conversations)}
    arms = {"tuned": tuned}
    for other, pairs in sides.items():
        arms[other] = {metric: tuned[metric] - p.delta for metric, p in pairs.items()}
    return arms, {f"tuned-{other}": pairs for other, pairs in sides.items()}


TABLE = {
    # name: (what differs from a good candidate, verdict, words of the first reason)
    "better, no current version": ({}, "promote", "better than the base"),
    "better, as good as the current version": ({"current": {}}, "promote", "better than the base"),
    "29 turns": ({"turns": 29}, "not-enough-evidence", "29 held-out turns; at least 30 are needed"),
    "30 turns": ({"turns": 30}, "promote", "better"),
    "no turns": ({"turns": 0, "conversations": 0}, "not-enough-evidence", "0 held-out turns"),
    "few conversations": ({"conversations": 9}, "not-enough-evidence", "come from 9 conversations"),
    "few turns, and worse": (
        {"turns": 29, "base": {TOOLS: pair(-0.5, 0.1, 10)}}, "not-enough-evidence", "29 held-out turns",
    ),
    # against the base
    "interval touches zero": ({"base": {TOOLS: Paired(0.1, 0.0, 0.2, 0.1, 90)}},
                              "not-enough-evidence", "not shown to be better than the base"),
    "interval just above zero": ({"base": {TOOLS: Paired(0.1, 0.001, 0.2, 0.04, 90)}}, "promote", "better"),
    "equal to a perfect base": ({"base": {TOOLS: pair(0.0, 0.0)}}, "refuse", "no better than the base"),
    "a little lower than the base": ({"base": {TOOLS: pair(-0.01)}}, "refuse", "no better than the base"),
    "clearly worse than the base": ({"base": {TOOLS: pair(-0.2)}}, "refuse", "worse than the base"),
    # against the current version
    "loss within the margin": ({"current": {TOOLS: pair(-0.005, 0.02)}}, "promote", "better"),
    "loss of the margin not ruled out": ({"current": {TOOLS: pair(0.0, 0.05)}},
                                         "not-enough-evidence", "a loss of more than 0.03 is not ruled out"),
    "more than the margin lost": ({"current": {TOOLS: pair(-0.04, 0.06)}},
                                  "refuse", "worse than the current version"),
    "small but certain loss": ({"current": {TOOLS: pair(-0.01, 0.005)}},
                               "refuse", "worse than the current version"),
    "better than both": ({"current": {TOOLS: pair(0.1, 0.05)}}, "promote", "better than the base"),
    "better than current, not than base": (
        {"base": {TOOLS: pair(-0.1)}, "current": {TOOLS: pair(0.1)}},
        "refuse", "worse than the base",
    ),
    # probes
    "probes at the margin": ({"base": {"probes": pair(-0.02, 0.05, 50)}}, "promote", "better"),
    "probes past the margin": ({"base": {"probes": pair(-0.025, 0.01, 120)}}, "refuse", "more than the 0.02"),
    "probes gained": ({"base": {"probes": pair(0.1)}}, "promote", "better"),
    "no probes": ({"base": {"probes": None}}, "not-enough-evidence", "no probes were asked"),
    "probes lost against current alone": ({"current": {"probes": pair(-0.1)}}, "promote", "better"),
    # what accuracy must not be bought with
    "calls nobody asked for": ({"base": {"over_call": pair(0.3, 0.1)}}, "refuse", "turns with a call nobody asked for"),
    "a few calls nobody asked for": ({"base": {"over_call": pair(0.03, 0.02)}}, "promote", "better"),
    "never stops": ({"base": {"answers_cut_off": pair(0.9, 0.05)}}, "refuse", "answers cut off"),
    "more cut off than current": ({"current": {"answers_cut_off": pair(0.2, 0.05)}}, "refuse", "answers cut off"),
    "fewer calls nobody asked for": ({"base": {"over_call": pair(-0.3, 0.1)}}, "promote", "better"),
    "log without offered tools": ({"base": {"over_call": None}}, "promote", "better"),
    # logs in which tools are rare or absent: the loss decides
    "no tool turns, lower loss": ({"base": {TOOLS: None}}, "promote", "loss in nats per token"),
    "no tool turns, higher loss": ({"base": {TOOLS: None, "nll": pair(0.1, 0.05)}},
                                   "refuse", "worse than the base"),
    "no tool turns, loss open": ({"base": {TOOLS: None, "nll": pair(-0.1, 0.2)}},
                                 "not-enough-evidence", "not shown to be better"),
    "no tool turns, current": (
        {"base": {TOOLS: None}, "current": {TOOLS: None, "nll": pair(0.05, 0.02)}},
        "refuse", "worse than the current version",
    ),
    "few tool turns, no lower": ({"base": {TOOLS: pair(0.2, 0.4, 5)}}, "promote", "loss in nats per token"),
    "few tool turns, lower": ({"base": {TOOLS: pair(-0.2, 0.4, 5)}}, "not-enough-evidence", "lower, on few turns"),
    "few tool turns, clearly lower": ({"base": {TOOLS: pair(-0.6, 0.2, 9)}}, "refuse", "lower, on few turns"),
    "neither tools nor loss": ({"base": {TOOLS: None, "nll": None}},
                               "not-enough-evidence", "neither enough turns that call tools nor a loss"),
    # a harm decides over a doubt, a doubt over what is good
    "harm and doubt": ({"base": {TOOLS: pair(0.01, 0.1), "probes": pair(-0.3)}}, "refuse", "probes answered"),
}  # fmt: skip


@pytest.mark.parametrize(("differs", "verdict", "words"), TABLE.values(), ids=TABLE.keys())
def test_verdict(differs, verdict, words):
    found, reasons = decide(*case(**differs), SETTINGS)
    assert found == verdict, reasons
    assert words in reasons[0]


def test_reasons_have_figures():
    arms, pairs = case()
    arms["tuned"][TOOLS], arms["base"][TOOLS] = 0.86, 0.12
    pairs["tuned-base"][TOOLS] = Paired(0.74, 0.66, 0.81, 0.0, 132)
    assert decide(arms, pairs, SETTINGS)[1] == [
        "tool-call accuracy 0.86 against 0.12 for the base (+0.74, 95 % interval 0.66 to 0.81, n=132): "
        "better than the base",
        "probes answered 0.910 against 0.915 for the base (-0.005, 95 % interval -0.015 to 0.005, n=120): "
        "within the 0.02 that may be lost",
    ]


def test_a_loss_is_shown_as_measured():
    _, reasons = decide(*case({TOOLS: None}), SETTINGS)
    assert reasons[0].startswith(
        "loss in nats per token 1.200 against 1.600 for the base (-0.400, 95 % interval -0.500 to -0.300, n=60): better"
    )


def test_every_check_is_told_and_the_level_is_the_settings():
    over = pair(0.03, 0.02)
    _, reasons = decide(*case({"over_call": over}, {}), replace(SETTINGS, confidence=0.9))
    assert len(reasons) == 4
    assert all("90 % interval" in reason for reason in reasons)
    assert any("more than the base, within the 0.03 allowed" in reason for reason in reasons)
    assert any("not worse than the current version" in reason for reason in reasons)


def test_fewer_turns_may_be_allowed():
    arms, pairs = case(turns=4, conversations=4)
    assert decide(arms, pairs, replace(SETTINGS, min_turns=4))[0] == "promote"
    assert decide(arms, pairs, replace(SETTINGS, min_turns=5))[0] == "not-enough-evidence"


def test_an_arm_without_differences_is_a_mistake_of_the_caller():
    arms, pairs = case(current={})
    with pytest.raises(KeyError):
        decide(arms, {"tuned-base": pairs["tuned-base"]}, SETTINGS)


deltas = st.builds(lambda d, h, n: pair(d, h, n), st.floats(-1, 1), st.floats(0, 0.5), st.integers(1, 300))


@given(st.dictionaries(st.sampled_from([TOOLS, "probes", *LOWER]), deltas), st.booleans(), deltas)
def test_never_a_worse_one(base, with_current, against_current):
    arms, pairs = case(base, {TOOLS: against_current} if with_current else None)
    verdict, reasons = decide(arms, pairs, SETTINGS)
    assert reasons
    if verdict == "promote":
        found = pairs["tuned-base"]
        by_tools = found[TOOLS].n >= 30
        assert found[TOOLS].low > 0 if by_tools else found["nll"].high < 0
        assert found[TOOLS].delta >= -1e-9
        assert found["probes"].delta >= -0.02 - 1e-9
        assert all(found[metric].low <= 0.03 for metric in ("over_call", "answers_cut_off"))
        if with_current and against_current.n >= 30:
            assert against_current.low > -0.03 - 1e-9
            assert against_current.high >= 0
