import pytest

from lunar_tune.curate.unlearnt.fleeting import Fleeting, fleeting


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("What is the weather in Oslo?", "It is 4 C with light rain in Oslo."),
        ("Do I need an umbrella?", "Yes. It is raining."),
        ("Hi", "Hello! It's sunny today, enjoy it."),
        ("How is bitcoin doing?", "Bitcoin is trading at $64,210."),
        ("Tell me about Apple", "Apple shares are currently priced at 180 dollars."),
        ("Who won last night?", "The Lakers won 112-108."),
        ("Any news?", "Breaking news: the senate passed the bill."),
        ("What time is it?", "The current time is 14:05."),
        ("What day is it?", "Today is Monday."),
        ("Wie ist das Wetter in Wien?", "Es ist sonnig bei 21 Grad."),
        ("¿Qué tiempo hace en Madrid?", "Está soleado."),
        ("what's the exchange rate to the euro", "The exchange rate is 1.08 USD."),
    ],
)
def test_answers_of_the_day(request_, answer):
    assert fleeting(request_, answer)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("Hello!", "What can I do for you today?"),
        ("Hi", "Good morning! How can I help you right now?"),
        ("What is the weather in Oslo?", "I don't have access to live weather. Check yr.no."),
        ("What is the weather like in Oslo in July on average?", "It is usually around 18 °C."),
        ("At what temperature does water boil?", "Water boils at 100 °C."),
        ("How hot should the oven be?", "Preheat it to 200 °C."),
        ("Who won the World Cup in 1998?", "France won 3-0."),
        ("Write a short story about a storm", "It is raining tonight in the old town."),
        ("Write an email about prices", "Currently our prices start at $10."),
        ("Apples cost $2 each, what is the price of 3 shares of them?", "The price is $6."),
        ("What did bitcoin cost then?", "In 2010 bitcoin was worth $0.08."),
        ("How do I show the latest headlines?", "Use the `headlines` component, today's state is kept in it."),
        ("Translate 'it is sunny today' to German", "Es ist heute sonnig."),
        ("How do I parse dates?", "Use `date.today()`; it is currently the simplest way."),
        ("Set an alarm", "Done, set for 07:45 tomorrow."),
        ("Convert 20 C to F", "20 C is 68 F."),
        ("", ""),
    ],
)
def test_what_stays_true(request_, answer):
    assert not fleeting(request_, answer)


def test_an_answer_that_rests_on_a_result_stays_and_an_invented_one_is_context(make):
    asked, told = make.user("What is the weather in Oslo?"), make.says("It is 4 C in Oslo.")
    (rests,), nothing = make.run(Fleeting(), make.episode(asked, make.calls(), make.result(), told))
    assert (nothing, rests.weights) == ([], (0, 1, 0, 1))
    (invented,), verdicts = make.run(Fleeting(), make.episode(asked, told, make.user("Hi"), make.says("Hello")))
    assert invented.weights == (0, 0, 0, 1)
    assert verdicts == [(1, "true only that day, and rests on nothing that was looked up")]


def test_what_was_given_before_may_be_told(make):
    told = make.says("It is 4 C in Oslo.")
    by_user = make.episode(
        make.user("My thermometer in Oslo says 4 C."), make.says("Cold!"), make.user("Weather?"), told
    )
    by_prompt = make.episode(make.user("What day is it?"), make.says("Today is 21 November."), system="Date: 21 Nov")
    earlier = make.episode(
        make.user("Oslo?"), make.calls(), make.result(), make.says("4"), make.user("The weather?"), told
    )
    for episode in (by_user, by_prompt, earlier):
        assert make.run(Fleeting(), episode)[1] == []


def test_a_very_long_answer_is_read_quickly():
    assert not fleeting("weather " * 500_000, "word 4 " * 1_500_000)
