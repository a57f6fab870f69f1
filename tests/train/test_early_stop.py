"""Training ends when validation no longer gets better, and at the same step however often it was interrupted."""

import json

import pytest

from lunar_tune.train import backends
from lunar_tune.train.adapter import WEIGHTS


class Killed(Exception):
    """Stands for kill -9 between two events."""


@pytest.fixture
def hasty(recipe):
    """Return a recipe that soon knows its rows by heart."""
    return recipe(learning_rate=0.1, epochs=30, max_steps=40, evaluate_every=2, save_every=3, clip=0.0, patience=3)


def steps(events, kind="step"):
    return [event.step for event in events if event.kind == kind]


def judged(events):
    return {event.step: event.valid_loss for event in events if event.kind == "valid" and event.step}


def test_it_stops_after_so_many_validations_without_a_better_loss(backend, train, make_rows, hasty, tmp_path):
    adapter, events = train(backend, make_rows(4), make_rows(4, seed=5), hasty, tmp_path)
    losses = judged(events)
    best = min(losses, key=losses.get)
    end = events[-1]
    assert end.kind == "end"
    assert (end.step, end.best_step, end.steps) == (best + 3 * 2, best, 30)
    assert f"stopped early: 3 validations brought no better loss than that of step {best}" in end.note
    assert steps(events) == list(range(1, end.step + 1))
    kept = tmp_path / "checkpoints" / f"step-{best:07d}" / WEIGHTS
    assert (adapter.path / WEIGHTS).read_bytes() == kept.read_bytes()


def test_without_patience_or_validation_it_never_does(train, make_rows, hasty, recipe, tmp_path):
    from dataclasses import replace

    peft = backends.make_peft()
    _, events = train(
        peft, make_rows(4), make_rows(4, seed=5), replace(hasty, patience=0, max_steps=20), tmp_path / "0"
    )
    assert (steps(events)[-1], events[-1].note) == (20, "")
    _, events = train(peft, make_rows(4), [], replace(hasty, max_steps=20), tmp_path / "none")
    assert (steps(events)[-1], events[-1].note) == (20, "")


def test_an_interrupted_run_stops_at_the_same_step(train, make_rows, hasty, tmp_path):
    peft, rows, valid = backends.make_peft(), make_rows(4), make_rows(4, seed=5)
    whole, events = train(peft, rows, valid, hasty, tmp_path / "whole")
    last, best = events[-1].step, events[-1].best_step
    for deadly in (("step", best + 1), ("valid", best + 2), ("checkpoint", last - 2), ("checkpoint", last), None):

        def kill(event, deadly=deadly):
            if (event.kind, event.step) == deadly:
                raise Killed

        if deadly:
            with pytest.raises(Killed):
                train(peft, rows, valid, hasty, tmp_path / "cut", kill)
    resumed, after = train(peft, rows, valid, hasty, tmp_path / "cut")
    assert steps(after) == []  # killed between the last checkpoint and the end: nothing is trained any more
    assert (after[-1].step, after[-1].best_step, after[-1].note) == (last, best, events[-1].note)
    assert (resumed.path / WEIGHTS).read_bytes() == (whole.path / WEIGHTS).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == steps(events)
