import pytest

from lunar_tune.curate.provenance import Provenance
from lunar_tune.curate.signals import Signals
from lunar_tune.episodes import Signal
from lunar_tune.settings import CurateSettings


def rated(make, value, message=3, **more):
    signals = (Signal(kind="rating", value=value, message=message),)
    return make.episode(
        make.user("Oslo?"), make.calls(), make.result(), make.says("4"), make.user("Thx"), make.says("Gladly"),
        signals=signals, **more,
    )  # fmt: skip


def test_a_bad_rating_judges_the_exchange_up_to_it(make):
    (draft,), told = make.run(Signals(CurateSettings()), rated(make, -1.0))
    assert told == [(1, "rated below the minimum"), (3, "rated below the minimum")]
    assert draft.weights == (0, 0, 0, 0, 0, 1)
    assert make.run(Signals(CurateSettings()), rated(make, 1.0))[1] == []
    assert len(make.run(Signals(CurateSettings(min_rating=4)), rated(make, 3.0))[1]) == 2


def test_a_rating_of_the_whole_conversation_judges_every_turn(make):
    (draft,), _ = make.run(Signals(CurateSettings()), rated(make, -1.0, message=None))
    assert set(draft.weights) == {0}


def test_of_several_ratings_the_last_counts(make):
    changed = (Signal(kind="rating", value=-1.0, message=1), Signal(kind="rating", value=1.0, message=1))
    episode = make.episode(make.user("Hi"), make.says("Yo"), signals=changed)
    assert make.run(Signals(CurateSettings()), episode)[1] == []


def test_the_corrected_exchange_is_context_and_the_next_one_is_learnt(make):
    messages = (make.user("Oslo?"), make.calls(), make.result(), make.says("4 C"))
    again = (make.user("No, I meant Bergen."), make.calls(call_id="c2"), make.result(call_id="c2"), make.says("5 C"))
    (draft,), _ = make.run(Signals(CurateSettings()), make.episode(*messages, *again))
    assert draft.weights == (0, 0, 0, 0, 0, 1, 0, 1)


def test_own_turns_teach_only_when_rated_well(make):
    own = "lunar-custom:2026-10-01"
    step = Provenance(CurateSettings())
    (draft,), told = make.run(step, rated(make, 1.0, model=own))
    assert draft.weights == (0, 1, 0, 1, 0, 0)
    assert told == [(5, "written by the tuned model and not rated well")]
    assert set(make.run(step, rated(make, 0.0, model=own))[0][0].weights) == {0}
    assert make.run(step, rated(make, 0.0, model="llama3.2:3b"))[1] == []


def test_the_model_of_a_turn_goes_before_that_of_the_conversation(make):
    episode = make.episode(make.user("a"), make.says("b", model="lunar-custom"), make.user("c"), make.says("d"))
    assert make.run(Provenance(CurateSettings()), episode)[0][0].weights == (0, 0, 0, 1)


def signalled(make, *signals):
    messages = (make.user("Oslo?"), make.says("4 C"), make.user("Anna?"), make.says("Sent"))
    (draft,), told = make.run(Signals(CurateSettings()), make.episode(*messages, signals=signals))
    return draft.weights[1::2], {reason for _, reason in told}


@pytest.mark.parametrize(
    ("signal", "weights", "reason"),
    [
        (Signal(kind="undo", message=3), (1, 0), "the log says undo"),
        (Signal(kind="retry", message=1), (0, 1), "the log says retry"),
        (Signal(kind="correction"), (0, 0), "the log says correction"),  # of the whole conversation
        (Signal(kind="annotation", value="false", message=1, note="LLM x: correctness"), (0, 1), "annotated as wrong"),
        (Signal(kind="annotation", value="true", message=1, note="LLM: toxicity. Rude"), (0, 1), "annotated as wrong"),
        (Signal(kind="annotation", value="ERROR", message=1, note="the trace's status"), (0, 1), "annotated as wrong"),
        (Signal(kind="reaction", value="👎🏽", message=3), (1, 0), "a bad reaction"),
        (Signal(kind="annotation", value="true", message=1, note="CODE: correctness"), (1, 1), None),
        (Signal(kind="annotation", value=0.1, message=1, note="judge length"), (1, 1), None),  # its scale is unknown
        (Signal(kind="annotation", value="edited", message=1, note="by the user"), (1, 1), None),
        (Signal(kind="reaction", value="❤️", message=3), (1, 1), None),
    ],
)  # fmt: skip
def test_what_the_log_says_of_an_answer(make, signal, weights, reason):
    assert signalled(make, signal) == (weights, {reason} - {None})


def test_scores_count_where_a_least_one_is_set(make):
    judged = make.episode(
        make.user("a"),
        make.says("b"),
        signals=(Signal(kind="annotation", value=0.1, message=1, note="judge accuracy"),),
    )
    assert make.run(Signals(CurateSettings(min_score=0.5)), judged)[0][0].weights == (0, 0)


def test_a_good_rating_protects_from_weak_evidence_and_the_settings_say_how_much_is_enough(make):
    messages = (make.user("Oslo?"), make.says("4 C"), make.user("too short"), make.says("4 degrees"))
    plain = make.episode(*messages)
    liked = make.episode(*messages, signals=(Signal(kind="rating", value=1.0, message=1),))
    assert make.run(Signals(CurateSettings()), plain)[0][0].weights == (0, 0, 0, 1)
    assert make.run(Signals(CurateSettings()), liked)[0][0].weights == (0, 1, 0, 1)
    assert make.run(Signals(CurateSettings(doubt=0.9)), plain)[0][0].weights == (0, 1, 0, 1)
