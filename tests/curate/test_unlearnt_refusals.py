import pytest

from lunar_tune.curate.unlearnt.refusals import REASON, Refusals
from lunar_tune.settings import CurateSettings

ASKED, NO = "What is the weather in Oslo?", "I'm sorry, but I can't look up the weather."


def told(make, *messages):
    _, verdicts = make.run(Refusals(CurateSettings()), make.episode(*messages))
    assert {reason for _, reason in verdicts} <= {REASON}
    return [index for index, _ in verdicts]


@pytest.mark.parametrize(
    "insists",
    ["Yes you can, use the tool.", "You have a weather tool.", "Try anyway", "please", "what is the weather in oslo",
     "I asked what the weather in Oslo is", "Just do it"],
)  # fmt: skip
def test_a_refusal_that_was_undone_is_context(make, insists):
    does = (make.calls(), make.result(), make.says("4 C"))
    assert told(make, make.user(ASKED), make.says(NO), make.user(insists), *does) == [1]


@pytest.mark.parametrize(
    "refusal",
    ["I can't do that.", "Unfortunately, I am unable to check the weather.", "As an AI model, I do not have access.",
     "I’m sorry, but I’m not able to help with that.", "I cannot do this.", "Ich kann das leider nicht.",
     "No puedo hacerlo.",
     "Désolé, je ne peux pas.", "That's not possible."],
)  # fmt: skip
def test_ways_to_refuse(make, refusal):
    does = (make.calls(), make.result(), make.says("4 C"))
    assert told(make, make.user(ASKED), make.says(refusal), make.user("Yes you can"), *does) == [1]


def test_several_refusals_before_it_was_done(make):
    messages = (make.user(ASKED), make.says(NO), make.user("Yes you can"), make.says("I really can't."))
    done = (make.user("Please try"), make.says("The weather in Oslo: 4 C, light rain."))
    assert told(make, *messages, *done) == [1, 3]


@pytest.mark.parametrize(
    ("refusal", "reply", "answer"),
    [
        (NO, "Then tell me a joke about the moon", "Why did the moon burp? It was full."),  # something else
        (NO, "You can stop now", "Okay."),  # nothing is done
        (NO, "Yes you can", "I still can't look it up."),  # it stood
        ("Which city?", "Oslo please", "The weather in Oslo: 4 C."),  # no refusal
        ("I can see that it is cold.", "please", "The weather in Oslo is 4 C."),
    ],
)
def test_refusals_that_stand(make, refusal, reply, answer):
    assert told(make, make.user(ASKED), make.says(refusal), make.user(reply), make.says(answer)) == []
