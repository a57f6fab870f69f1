import pytest

from lunar_tune.curate.provenance import Provenance
from lunar_tune.curate.signals import Signals, judge
from lunar_tune.episodes import Signal
from lunar_tune.settings import CurateSettings

REQUEST, ANSWER, QUESTION = "What is the weather in Oslo?", "It is 4 C in Oslo.", "In which city? -- Lunar"


@pytest.mark.parametrize(
    "reply",
    [
        "No, I meant in Bergen.",
        "no i meant bergen",
        "I meant Bergen",
        "Wrong tool. What is the weather in Bergen?",
        "Wrong city",
        "That's wrong, it is 5 C.",
        "That is not what I asked for.",
        "Not what I meant",
        "No, not Oslo, Bergen",
        "Sorry, I meant Bergen",
        "You misunderstood me: Bergen",
        "I said celsius",
        "No that's not right",
        "Incorrect.",
    ],
)
def test_corrections(reply):
    assert judge(REQUEST, ANSWER, reply) == "corrected by the user"


@pytest.mark.parametrize(
    "reply",
    [
        "No, thanks.",
        "No problem!",
        "No just that one thanks.",
        "No, that is all.",
        "Nothing is wrong with that, play some music",
        "Actually, what about tomorrow?",
        "Wrong answers only: what is the moon made of?",
        "I said to Maria that I would come, remind me",
        "I said I would call her, remind me",
        "Tell me what is wrong with my code",
        "Thanks! That's right",
        "And in Bergen?",
        "",
        "What does incorrect mean?",
    ],
)
def test_what_is_no_correction(reply):
    assert judge(REQUEST, ANSWER, reply) is None


def test_no_to_a_question_is_an_answer_unless_beyond_doubt():
    assert judge("Weather?", QUESTION, "No, not today") is None
    assert judge("Weather?", QUESTION, "No, I meant the news") == "corrected by the user"


def test_repeated_and_undone():
    assert judge(REQUEST, ANSWER, "what is the weather in oslo") == "asked again in the same words"
    assert judge("Next song", "Playing", "Next song") is None
    assert judge("Send it", "Sent", "Undo that!") == "undone by the user"


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
