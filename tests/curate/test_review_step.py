"""What the owner decided about turns, by content."""

from dataclasses import replace

from lunar_tune.artefacts import Verdict
from lunar_tune.curate import Ledger, curate
from lunar_tune.curate.marks import OUT, Marker, place, prune, start
from lunar_tune.curate.review import DROPPED, EDITED, KEPT, UNMET, decided, safe_edit, turn_keys
from lunar_tune.episodes import Signal
from lunar_tune.settings import CurateSettings
from lunar_tune.store.decisions import Decision


def decision(action, episode, *turns, whole=False, text=None):
    """Return a decision about some turns of an episode, all of them when none is named."""
    keys = turn_keys(episode.messages)
    chosen = [keys[turn] for turn in turns] or list(keys.values())
    until = chosen[-1] if whole else None
    return Decision(action=action, keys=tuple(chosen), thread=episode.thread, at="", until=until, text=text)


def curated(ledger, decisions, *episodes, **settings):
    drafts = list(curate(episodes, CurateSettings(redact=False, **settings), ledger, decisions=decisions))
    assert ledger.balanced()
    return drafts


def left_out(ledger):
    return {
        f"{step}: {reason}": n for step, by in ledger.summary()["turns"]["left_out"].items() for reason, n in by.items()
    }


def disliked(make, **more):
    rating = Signal(kind="rating", value=-1.0, message=1)
    return make.episode(
        make.user("Oslo?"), make.says("4 C"), make.user("Rome?"), make.says("20 C"), signals=(rating,), **more
    )


def test_a_key_is_what_was_said_and_everything_before_it(make):
    said = (make.user("Oslo?"), make.calls(call_id="1"), make.result(call_id="1"), make.says("4 C"))
    keys = turn_keys(said)
    assert list(keys) == [1, 3]
    other = (
        make.user("Oslo?", created_at="2026-10-02T00:00:00Z"), make.calls(call_id="9", model="other"),
        make.result(call_id="9"), make.says("4 C"), make.user("And more"),
    )  # fmt: skip
    assert turn_keys(other) == keys  # ids, times, models and what comes later make no difference
    assert turn_keys((make.user("Rome?"), *said[1:])).items().isdisjoint(keys.items())
    changed = turn_keys((*said[:2], make.result("5 C"), said[3]))
    assert changed[1] == keys[1]
    assert changed[3] != keys[3]
    assert turn_keys((said[0], make.calls(arguments={"city": "Rome"})))[1] != keys[1]


def test_a_dropped_turn_is_context_with_the_reason(make, ledger):
    episode = make.episode(make.user("Oslo?"), make.says("4 C"), make.user("Rome?"), make.says("20 C"))
    (draft,) = curated(ledger, [decision("drop", episode, 1)], episode)
    assert draft.weights == (0, 0, 0, 1)
    assert ledger.verdicts == [Verdict(draft.id, "review", DROPPED, "", 1)]
    assert left_out(ledger) == {"review: dropped by you": 1}
    assert ledger.summary()["review"] == {DROPPED: 1, UNMET: 0}


def test_a_kept_turn_is_set_aside_by_no_judgement(make):
    episode = disliked(make)
    before, after = Ledger(), Ledger()
    assert curated(before, [], episode)[0].weights == (0, 0, 0, 1)
    assert curated(after, [decision("keep", episode, 1)], episode)[0].weights == (0, 1, 0, 1)
    assert left_out(before) == {"signals: rated below the minimum": 1}
    assert left_out(after) == {}
    assert after.summary()["review"][KEPT] == 1
    own = make.episode(make.user("Oslo?"), make.says("4 C", model="lunar-custom"))
    assert curated(Ledger(), [], own) == []
    assert len(curated(Ledger(), [decision("keep", own, 1)], own)) == 1


def test_a_broken_turn_stays_out_even_when_it_is_kept(make, ledger):
    episode = make.episode(
        make.user("Oslo?"), make.calls("nothing"), make.result(), make.says("4"), make.user("So?"),
        make.says("It was cut", finish="length"), make.user("Yes?"), make.says("Yes."),
    )  # fmt: skip
    (draft,) = curated(ledger, [decision("keep", episode)], episode)
    assert draft.weights == (0, 0, 0, 1, 0, 0, 0, 1)
    assert left_out(ledger) == {"toolcalls: unknown tool": 1, "turns: cut off": 1}


def test_an_edit_is_the_answer_as_it_should_have_been(make, ledger):
    episode = make.episode(
        make.user("Oslo?"), make.says("It was c", finish="length"), make.user("Thx"), make.says("Bye")
    )
    (draft,) = curated(ledger, [decision("edit", episode, 1, text="It was cold.")], episode)
    assert draft.weights == (0, 1, 0, 1)
    assert draft.episode.messages[1].content == "It was cold."
    assert draft.episode.messages[1].finish is None
    assert draft.id == episode.id  # the name of what came in
    assert ledger.summary()["review"] == {EDITED: 1, UNMET: 0}


def test_the_turns_after_an_edit_are_known_by_what_was_logged(make, ledger):
    episode = make.episode(make.user("Oslo?"), make.says("4"), make.user("Rome?"), make.says("20"))
    decisions = [decision("edit", episode, 1, text="4 C"), decision("drop", episode, 3)]
    (draft,) = curated(ledger, decisions, episode)
    assert draft.weights == (0, 1, 0, 0)


def test_a_dropped_conversation_is_gone_whole_and_as_it_grows(make, ledger):
    episode = make.episode(make.user("Oslo?"), make.says("4"), thread="a")
    grown = make.episode(*episode.messages, make.user("Rome?"), make.says("20"), thread="a")
    renamed = replace(episode, thread="b", path="moved.db")
    stranger = make.episode(*episode.messages, make.user("Bergen?"), make.says("5"), thread="c")
    drop = decision("drop", episode, whole=True)
    assert curated(ledger, [drop], grown) == []
    assert ledger.verdicts == [Verdict(grown.id, "review", DROPPED)]
    assert curated(Ledger(), [drop], renamed) == []
    assert [d.weights for d in curated(Ledger(), [drop], stranger)] == [(0, 0, 0, 1)]  # "Hi" begins many conversations


def test_a_kept_conversation_keeps_what_was_seen_and_no_more(make):
    episode = disliked(make)
    more = Signal(kind="rating", value=-1.0, message=5)
    grown = make.episode(
        *episode.messages, make.user("Bergen?"), make.says("5 C"), signals=(*episode.signals, more)
    )  # fmt: skip
    (draft,) = curated(Ledger(), [decision("keep", episode, whole=True)], grown)
    assert draft.weights == (0, 1, 0, 1, 0, 0)


def test_a_later_turn_may_be_kept_in_a_dropped_conversation(make):
    episode = make.episode(make.user("Oslo?"), make.says("4"), thread="a")
    turns = [part for city in ("Rome", "Bergen", "Bonn") for part in (make.user(f"{city}?"), make.says(city))]
    grown = make.episode(*episode.messages, *turns, thread="a")
    drop, keep = decision("drop", episode, whole=True), decision("keep", grown, 5)
    keys = turn_keys(grown.messages)
    found = decided(keys, "a", {key: one for one in (drop, keep) for key in one.keys})
    assert {index: one.action for index, one in found.items()} == {1: "drop", 3: "drop", 5: "keep", 7: "drop"}


def test_a_shared_turn_of_a_fork_is_learnt_once_though_it_is_kept(make, ledger):
    shared = (make.user("Oslo?"), make.says("4 C"))
    first = make.episode(*shared, make.user("Thx"), make.says("Gladly"), thread="a")
    fork = make.episode(*shared, make.user("Rome?"), make.says("20 C"), thread="b", group="a")
    drafts = curated(ledger, [decision("keep", first, 1)], first, fork)
    assert [d.weights for d in drafts] == [(0, 1, 0, 1), (0, 0, 0, 1)]


def test_what_met_no_turn_is_counted(make, ledger):
    gone = make.episode(make.user("Hi"), make.says("Yo"))
    curated(ledger, [decision("drop", gone)], make.episode(make.user("Oslo?"), make.says("4")))
    assert ledger.summary()["review"] == {UNMET: 1}


def test_verdicts_after_pruning_name_the_place_in_the_conversation_as_it_came(make):
    episode = make.episode(make.says("early"), make.user("Oslo?"), make.says("4"), make.user("Rome?"), make.says("20"))
    draft = prune(replace(start(episode), id="e", weights=(OUT, 0, 1, 0, 1), kept=frozenset({2})))
    assert [place(draft, i) for i in range(4)] == [1, 2, 3, 4]
    assert draft.kept == {1}
    verdicts = []
    marker = Marker(draft, "caps", verdicts.append)
    marker.set_aside(1, "too many")
    marker.set_aside(3, "too many")
    assert [(v.step, v.message) for v in verdicts] == [("caps", 4)]
    assert marker.done().weights == (0, 1, 0, 0)


def test_a_step_that_changes_nothing_needs_no_decision(make):
    episode = disliked(make)
    other = make.episode(make.user("Hi"), make.says("Yo"), thread="o")
    a, b = Ledger(), Ledger()
    plain = curated(a, [], episode)
    assert [d.weights for d in curated(b, [decision("drop", other)], episode)] == [d.weights for d in plain]


def test_an_edit_is_redacted_and_its_secrets_get_numbers_of_their_own(make):
    episode = make.episode(make.user("I am <EMAIL_1>, write to <EMAIL_2>"), make.says("Done, <EMAIL_1>."))
    assert safe_edit("Done, <EMAIL_1>.", episode) == "Done, <EMAIL_1>."
    edited = safe_edit("Told <EMAIL_1> and ann.lee@example.org, and ann.lee@example.org again", episode)
    assert edited == "Told <EMAIL_1> and <EMAIL_3>, and <EMAIL_3> again"


def test_whatever_is_decided_the_books_balance_and_decisions_hold(fixture_episodes):
    import random

    chance = random.Random(7)
    decisions = []
    for episode in fixture_episodes:
        for turn in turn_keys(episode.messages):
            if chance.random() < 0.3:
                action = chance.choice(["keep", "drop", "edit"])
                text = "As it should have been." if action == "edit" else None
                decisions.append(decision(action, episode, turn, text=text))
        if episode.messages and turn_keys(episode.messages) and chance.random() < 0.1:
            decisions.append(decision("drop", episode, whole=True))
    ledger, plain = Ledger(), Ledger()
    drafts = list(curate(fixture_episodes, CurateSettings(), ledger, decisions=decisions))
    list(curate(fixture_episodes, CurateSettings(), plain))
    assert ledger.balanced()
    assert ledger.turns_read == plain.turns_read
    assert ledger.turns_kept == sum(weight == 1 for draft in drafts for weight in draft.weights)
    learnt = [m.content for d in drafts for m, w in zip(d.episode.messages, d.weights, strict=True) if w]
    assert learnt.count("As it should have been.") > 50
    assert ledger.summary()["turns"]["left_out"]["review"][DROPPED] > 100
