"""Promote, refuse, or wait for more evidence. Pure: figures in, a verdict and its reasons in words out.

A candidate is promoted only when nothing speaks against it and nothing is left open. It is refused when something is
shown or measured to be worse. Else there is not enough evidence yet, and what is in use stays in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from lunar_tune.artefacts import Outcome, Paired
from lunar_tune.settings import GateSettings

MIN_CONVERSATIONS = 10  # intervals from fewer clusters are too narrow (Cameron, Gelbach and Miller 2008)
LOWER_IS_BETTER = frozenset({"nll", "over_call", "under_call", "answers_cut_off"})
GUARDS = ("over_call", "answers_cut_off")  # what a better tool-call accuracy must not be bought with
NAMES = {
    "tool_call_accuracy": "tool-call accuracy",
    "nll": "loss in nats per token",
    "probes": "probes answered",
    "over_call": "turns with a call nobody asked for",
    "answers_cut_off": "answers cut off",
}
VERSUS = {"base": "the base", "current": "the current version"}
ROUNDING = 1e-9  # a loss of exactly the margin is within it, whatever binary fractions make of it

Arms = Mapping[str, Mapping[str, float]]
Pairs = Mapping[str, Mapping[str, Paired]]


@dataclass(frozen=True, slots=True)
class _Check:
    state: Literal["harm", "doubt", "good"]
    reason: str


def decide(arms: Arms, paired: Pairs, settings: GateSettings) -> tuple[Outcome, list[str]]:
    """Return the verdict on the arm `tuned` and why, what decided it first.

    Args:
        arms: figures of `base`, `tuned` and, where a version is in use, `current` (`ArmResult.figures`).
        paired: differences `tuned-base` and, with a current version, `tuned-current` (`compare.compare_arms`).
        settings: margins and the least number of turns.

    The deciding metric is tool-call accuracy where at least `min_turns` held-out turns call tools, else the loss, and
    then tool-call accuracy must not fall on the few turns there are. It must be better than the base with an interval
    above zero, and not worse than the current version: no loss shown, and a loss of `margin` ruled out. Probes may lose
    `probe_margin` against the base. Unasked-for calls and answers cut off must not clearly rise by more than `margin`.

    Raises:
        KeyError: an arm has no paired differences.
    """
    tuned = arms["tuned"]
    if few := _too_few(tuned, settings):
        return "not-enough-evidence", [few]
    others = [name for name in ("base", "current") if name in arms]
    checks: list[_Check] = []
    for other in others:
        checks += _checks(_Side(tuned, arms[other], paired[f"tuned-{other}"], other, settings))
    ranked = sorted(checks, key=lambda check: ("harm", "doubt", "good").index(check.state))
    verdicts: dict[str, Outcome] = {"harm": "refuse", "doubt": "not-enough-evidence", "good": "promote"}
    return verdicts[ranked[0].state], [check.reason for check in ranked]


def _too_few(tuned: Mapping[str, float], settings: GateSettings) -> str | None:
    turns, conversations = round(tuned.get("turns", 0)), round(tuned.get("conversations", 0))
    if turns < settings.min_turns:
        return f"{turns} held-out turns; at least {settings.min_turns} are needed"
    needed = min(MIN_CONVERSATIONS, settings.min_turns)
    if conversations < needed:
        return f"the {turns} held-out turns come from {conversations} conversations; at least {needed} are needed"
    return None


@dataclass(frozen=True, slots=True)
class _Side:
    """The candidate beside one other arm."""

    tuned: Mapping[str, float]
    figures: Mapping[str, float]
    pairs: Mapping[str, Paired]
    other: str
    settings: GateSettings

    @property
    def versus(self) -> str:
        return VERSUS[self.other]

    def gain(self, metric: str) -> Paired:
        """The difference turned so that more is better."""
        pair = self.pairs[metric]
        if metric not in LOWER_IS_BETTER:
            return pair
        return replace(pair, delta=-pair.delta, low=-pair.high, high=-pair.low)

    def check(self, state: Literal["harm", "doubt", "good"], metric: str, finding: str) -> _Check:
        """A finding with its figures, as measured."""
        pair, digits = self.pairs[metric], 2 if metric == "tool_call_accuracy" else 3
        figures = f"{self.tuned[metric]:.{digits}f} against {self.figures[metric]:.{digits}f} for {self.versus}"
        level = f"{100 * self.settings.confidence:g} %"
        interval = f"{level} interval {pair.low:z.{digits}f} to {pair.high:z.{digits}f}"
        spread = f"({pair.delta:+z.{digits}f}, {interval}, n={pair.n})"
        return _Check(state, f"{NAMES[metric]} {figures} {spread}: {finding}")


def _checks(side: _Side) -> list[_Check]:
    tools = side.pairs.get("tool_call_accuracy")
    deciding = "tool_call_accuracy" if tools and tools.n >= side.settings.min_turns else "nll"
    if deciding not in side.pairs:
        return [_Check("doubt", f"neither enough turns that call tools nor a loss to set against {side.versus}")]
    checks = [_better(side, deciding) if side.other == "base" else _not_worse(side, deciding)]
    if deciding == "nll" and tools:
        checks.append(_few_tools(side))
    if side.other == "base":
        checks.append(_probes(side))
    return checks + _guards(side)


def _few_tools(side: _Side) -> _Check:
    gain = side.gain("tool_call_accuracy")
    if gain.delta >= -ROUNDING:
        return side.check("good", "tool_call_accuracy", "no lower; too few turns to decide by, so the loss decides")
    return side.check("harm" if gain.high < 0 else "doubt", "tool_call_accuracy", "lower, on few turns")


def _better(side: _Side, metric: str) -> _Check:
    gain = side.gain(metric)
    if gain.low > 0:
        return side.check("good", metric, f"better than {side.versus}")
    if gain.delta <= 0:
        return side.check("harm", metric, f"{'worse' if gain.high < 0 else 'no better'} than {side.versus}")
    return side.check("doubt", metric, f"not shown to be better than {side.versus}")


def _not_worse(side: _Side, metric: str) -> _Check:
    gain, margin = side.gain(metric), side.settings.margin
    if gain.high < 0 or gain.delta < -margin - ROUNDING:
        return side.check("harm", metric, f"worse than {side.versus}")
    if gain.low > -margin - ROUNDING:
        return side.check("good", metric, f"not worse than {side.versus}")
    return side.check("doubt", metric, f"a loss of more than {margin:g} is not ruled out")


def _probes(side: _Side) -> _Check:
    margin = side.settings.probe_margin
    if "probes" not in side.pairs:
        return _Check("doubt", "no probes were asked, so what the candidate forgot is not known")
    if -side.pairs["probes"].delta > margin + ROUNDING:
        return side.check("harm", "probes", f"more than the {margin:g} that may be lost")
    return side.check("good", "probes", f"within the {margin:g} that may be lost")


def _guards(side: _Side) -> list[_Check]:
    """Name only what clearly rose; a rise within the margin is told and does not decide."""
    found = []
    for metric in GUARDS:
        if metric in side.pairs and side.pairs[metric].low > 0:
            harm = side.pairs[metric].low > side.settings.margin
            finding = (
                f"more than {side.versus}, {'by more than' if harm else 'within'} the {side.settings.margin:g} allowed"
            )
            found.append(side.check("harm" if harm else "good", metric, finding))
    return found
