"""What a user's next words say of an answer."""

import pytest

from lunar_tune.curate.feedback.reading import REASONS, read
from lunar_tune.episodes import ToolCall
from lunar_tune.settings import CurateSettings

REQUEST, ANSWER, QUESTION = "What is the weather in Oslo?", "It is 4 C in Oslo.", "In which city? -- Lunar"
SETTINGS = CurateSettings()


def judge(request, answer, reply, then=""):
    found = read(request, answer, reply, then, similarity=SETTINGS.similarity)
    return REASONS[found.kind] if found is not None and found.weight >= SETTINGS.doubt else None


@pytest.mark.parametrize(
    "reply",
    [
        "No, I meant in Bergen.",
        "no i meant bergen",
        "I meant Bergen",
        "Wrong tool. What is the weather in Bergen?",
        "Wrong city",
        "That's wrong, it is 5 C.",
        "thats wrong its 5",
        "No, not Oslo, Bergen",
        "Sorry, I meant Bergen",
        "You misunderstood me: Bergen",
        "I said celsius",
        "Thanks, but I asked about Bergen",
        "Hmm. That is not what I asked for, I wanted Bergen.",
        "You forgot the unit",
        "It should be 5 C",
        "Bergen, not Oslo",
        "the 4 C is wrong",
        "*Bergen",
        "No, Bergen.",
        "Nein, ich meinte Bergen",
        "Das stimmt nicht, es sind 5 Grad",
        "No, quise decir Bergen",
        "Non, je voulais dire Bergen",
        "Lunar, that's not right. It is 5.",
    ],
)
def test_corrections_with_information(reply):
    assert judge(REQUEST, ANSWER, reply) == "corrected by the user"


@pytest.mark.parametrize(
    "reply",
    ["Incorrect.", "That's wrong!", "No that's not right", "Not what I asked", "This doesn't work", "No.",
     "Still wrong", "Das ist falsch.", "c'est faux", "eso está mal", "wtf"],
)  # fmt: skip
def test_rejections_without(reply):
    assert judge(REQUEST, ANSWER, reply) == "called wrong by the user"


@pytest.mark.parametrize(
    "reply",
    [
        "No, thanks.",
        "No problem!",
        "No just that one thanks.",
        "No, that is all.",
        "No worries, that's fine",
        "Nothing is wrong with that, play some music",
        "Actually, what about tomorrow?",
        "Actually that is perfect",
        "Wrong answers only: what is the moon made of?",
        "I said to Maria that I would come, remind me",
        "I said I would call her, remind me",
        "I meant to thank you earlier",
        "Tell me what is wrong with my code",
        "Thanks! That's right",
        "That's not bad at all!",
        "It's wrong to lie, right?",
        'How do I say "that\'s wrong" in French?',
        '"That\'s wrong" - translate it to French',
        "My boss said: that's wrong. How do I answer?",
        "> that's wrong\nWho wrote this?",
        "And in Bergen?",
        "What is the weather in Bergen?",
        "what is the weather in oslo tomorrow morning",
        "",
        "What does incorrect mean?",
        "Never mind, you were right",
        "Great, now the same for Bergen",
        "You only live once, book it",
        "Are you sure?",
        "Why?",
        "What you said yesterday was wrong, by the way",
        "my landlord is wrong about the deposit, draft a letter",
    ],
)
def test_what_is_no_correction(reply):
    assert judge(REQUEST, ANSWER, reply) is None


def test_no_to_a_question_is_an_answer_unless_beyond_doubt():
    assert judge("Weather?", QUESTION, "No, not today") is None
    assert judge("Weather?", QUESTION, "No.") is None
    assert judge("Weather?", QUESTION, "No, I meant the news") == "corrected by the user"
    assert judge("Weather?", "Sunny. Shall I look at tomorrow?", "No, use Bergen") is None


def test_asked_again_in_the_same_words_and_in_others():
    assert judge(REQUEST, ANSWER, "what is the weather in oslo") == "asked again in the same words"
    long = "How can I remove duplicates from a list of dictionaries in Python?"
    again = "In Python, how do I remove the duplicates from my dictionaries list?"
    assert judge(long, "Use a set.", again) == "asked again in other words"
    assert judge(REQUEST, ANSWER, "I asked: how is the weather in Oslo") == "asked again in other words"
    assert judge("Next song", "Playing", "Next song") is None


@pytest.mark.parametrize(
    "reply",
    [
        "How can I remove duplicates from a list of dictionaries in Ruby?",
        "How can I remove duplicates from a list of tuples in Python?",
        "Now remove duplicates from a list of dictionaries by their Python id",
        "Tell me more about duplicates in a list of dictionaries",
        "When were lists of dictionaries and duplicates introduced in Python 3?",
    ],
)
def test_a_request_like_the_one_before_is_a_new_one(reply):
    assert judge("How can I remove duplicates from a list of dictionaries in Python?", "Use a set.", reply) is None


def test_undone_and_tried_again():
    assert judge("Send it", "Sent", "Undo that!") == "undone by the user"
    assert judge("Send it", "Sent", "please put it back") == "undone by the user"
    assert judge("Send it", "Sent", "Undo my last commit in git") is None
    assert judge("Send it", "Could not.", "Try again") == "the user asked to try again"


def test_praise_protects_from_weak_evidence_and_not_from_a_correction():
    assert judge(REQUEST, ANSWER, "too short") == "corrected by the user"
    assert judge(REQUEST, ANSWER, "Perfect, a bit too short") is None
    assert judge(REQUEST, ANSWER, "Great, but that's wrong, it is 5 C") == "corrected by the user"


def test_a_doubt_and_an_admitted_mistake_convict_together():
    assert judge(REQUEST, ANSWER, "Are you sure?", "You're right, it is 5 C.") == "questioned by the user"
    assert judge(REQUEST, ANSWER, "Are you sure?", "Yes, 4 C.") is None
    assert judge(REQUEST, ANSWER, "I see 5 C on my thermometer.", "My mistake, 5 C.") == "the agent admitted a mistake"
    assert judge(REQUEST, ANSWER, "And the wind?", "Sorry, I cannot see the wind.") is None


def redo(reply, then="Done.", first="Maya", second="Priya"):
    request = "Add lunch with Priya at noon."
    before, after = (
        ToolCall(name="create_event", arguments={"title": who, "time": "12:00"}) for who in (first, second)
    )
    found = read(request, "Added.", reply, then, similarity=0.75, calls=[before], again=[after])
    return found is not None and found.weight >= SETTINGS.doubt


def test_a_call_made_again_as_it_was_first_asked_for_tells_of_a_mistake():
    assert redo("who is she?")
    assert not redo("who is she? thanks")
    assert not redo("With Omar, too", second="Omar")  # another wish
    assert not redo("And again", first="Priya")  # it was right


def test_weak_signs_convict_together():
    assert (
        judge("Scale this for 6: 150 g rice", "300 g rice.", "that's for 4", "450 g rice.") == "corrected by the user"
    )
    assert judge("Scale this for 6: 150 g rice", "300 g rice.", "that's for 4", "Yes, for four people.") is None
    assert judge(REQUEST, ANSWER, "that's Oslo in Wisconsin!!", "It is 9 C.") is None


def test_a_change_of_mind_is_no_correction():
    assert judge("Send it", "Sent", "Measured. Undo it now.") is None
    assert judge("Move it to 9:30", "Moved.", "Actually make it 10, I have to drop off the kids.") is None
    assert judge("Set the heating to 20", "Set to 20.", "Set the heating to 21, it's colder than I thought") is None


def test_who_names_something_else_does_not_judge_the_answer():
    request, answer = "Write a function that parses the date", "```python\ndef parse_date(text): ...\n```"
    assert judge(request, answer, "The function is broken for empty text") == "corrected by the user"
    assert judge(request, answer, "the login page is broken too, have a look") is None


def test_a_very_long_reply_is_read_quickly():
    assert judge(REQUEST, ANSWER, "that's wrong. " * 800_000) == "corrected by the user"
    assert judge("a b c d " * 1_000_000, ANSWER, "x y z w " * 1_000_000) is None
