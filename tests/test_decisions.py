"""The owner's decisions on disk."""

import stat

import pytest

from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import lock
from lunar_tune.store.decisions import Decision, Decisions, decisions_mark


def decision(action="drop", *keys, **more):
    return Decision(action=action, keys=keys or ("k1",), **{"thread": "t", "at": "2026-10-01T00:00:00Z"} | more)


def test_decisions_are_kept_in_a_file_of_the_owner_alone(tmp_path):
    decisions = Decisions(tmp_path)
    assert decisions.all() == []
    made = [decision("drop", "k1", "k2", until="k2"), decision("edit", "k3", text="Zoë", names=frozenset({"ab", "cd"}))]
    for one in made:
        decisions.decide(one)
    assert Decisions(tmp_path).all() == made
    assert stat.S_IMODE(decisions.path.stat().st_mode) == 0o600


def test_the_last_decision_about_a_turn_counts(tmp_path):
    decisions = Decisions(tmp_path)
    decisions.decide(decision("drop", "k1", "k2", "k3"))
    decisions.decide(decision("keep", "k2"))
    assert [(one.action, one.keys) for one in decisions.all()] == [("drop", ("k1", "k3")), ("keep", ("k2",))]
    decisions.decide(decision("edit", "k1", "k2", "k3", text="x"))
    assert [(one.action, one.keys) for one in decisions.all()] == [("edit", ("k1", "k2", "k3"))]


def test_a_decision_is_taken_back_in_part_or_whole(tmp_path):
    decisions = Decisions(tmp_path)
    decisions.decide(decision("drop", "k1", "k2"))
    assert decisions.undo(["k1", "other"]) == 1
    assert decisions.all()[0].keys == ("k2",)
    assert decisions.undo(["k2"]) == 1
    assert decisions.undo(["k2"]) == 0
    assert decisions.all() == []


def test_forgetting_a_conversation_takes_its_decisions_and_the_texts_in_them(tmp_path):
    decisions = Decisions(tmp_path)
    decisions.decide(decision("edit", "k1", text="my secret plan", names=frozenset({b"one".hex(), b"two".hex()})))
    decisions.decide(decision("keep", "k2", names=frozenset({b"three".hex()})))
    assert decisions.forget({b"two", b"none"}) == 1
    assert [one.keys for one in decisions.all()] == [("k2",)]
    assert "secret plan" not in decisions.path.read_text()
    assert decisions.forget({b"two"}) == 0


def test_the_mark_is_that_of_what_was_decided_not_of_when():
    a, b = decision("drop", "k1", "k2"), decision("keep", "k3")
    assert decisions_mark([]) is None
    assert decisions_mark([a, b]) == decisions_mark([b, decision("drop", "k2", "k1", at="later")])
    others = [decision("drop", "k1"), decision("keep", "k1", "k2"), decision("drop", "k1", "k2", until="k2")]
    assert len({decisions_mark([one]) for one in (a, *others)}) == 4
    assert decisions_mark([decision("edit", text="a")]) != decisions_mark([decision("edit", text="b")])


def test_a_file_of_something_else_is_said(tmp_path):
    for text in ('{"a": 1}\n', "[]\n", "no\n", '{"action":"burn","keys":[],"thread":"","at":"","names":[]}\n'):
        (tmp_path / "decisions.jsonl").write_text(text)
        with pytest.raises(ArtefactBroken, match=r"decisions\.jsonl"):
            Decisions(tmp_path).all()


def test_two_do_not_write_at_once(tmp_path):
    from lunar_tune.errors import WorkspaceBusy

    with lock(tmp_path / "decisions.lock"), pytest.raises(WorkspaceBusy):
        Decisions(tmp_path).decide(decision())
    assert Decisions(tmp_path).all() == []
