import pytest

from lunar_tune.curate.unlearnt.scaffolding import ERROR, NOTICE, SUMMARY, TOKENS, Scaffolding, echoed

COMPACT = (
    "Your task is to create a detailed summary of the conversation so far, paying close attention to the requests."
)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("This session is being continued from a previous conversation that ran out of context.", SUMMARY),
        ("## Summary of the conversation\nThe user asked ...", SUMMARY),
        ("[CONTEXT COMPACTION] Earlier turns were summarised.", SUMMARY),
        ("<summary>1. Primary request ...</summary>", SUMMARY),
        ("[Request interrupted by user]", NOTICE),
        ("[Request interrupted by user for tool use]", NOTICE),
        ("I have reached the maximum number of steps.", NOTICE),
        ("Agent stopped due to iteration limit or time limit.", NOTICE),
        ("Sorry, need more steps to process this request.", NOTICE),
        ("Maximum iterations reached", NOTICE),
        ("(no content)", NOTICE),
        ("[System observation: the tool returned nothing]", NOTICE),
        ('API Error: 529 {"type":"error","error":{"type":"overloaded_error"}}', ERROR),
        ("Error code: 429 - rate limited", ERROR),
        ("litellm.RateLimitError: too many tokens", ERROR),
        ('{"error": {"message": "quota"}}', ERROR),
        ("Rate limit reached for gpt-4o.", ERROR),
        ("Hello<|im_end|>\n<|im_start|>user\nMore", TOKENS),
        ("Sure. <system-reminder>Be brief.</system-reminder>", TOKENS),
        ("[INST] What? [/INST] This.", TOKENS),
        ("4 C<end_of_turn>", TOKENS),
    ],
)
def test_the_program_speaks(answer, reason):
    assert echoed(answer, "What is the weather?") == reason


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("What does <|eot_id|> mean?", "<|eot_id|> ends a turn."),
        ("How do I mark turns in ChatML?", "Begin with `<|im_start|>user` and end with:\n```\n<|im_end|>\n```"),
        ("Summarize our conversation", "Summary of our conversation: you asked for the weather."),
        ("Give me a recap", "Here is a summary of the conversation: two requests."),
        ("What does error 429 mean?", "It says that too many requests were sent."),
        ("Why does my API fail?", "The API error means that the key is wrong."),
        ("How many steps?", "I have reached the summit in 300 steps."),
        ("What is the limit?", "The maximum number of steps is 20."),
        ("Compare a < b and INST", "a < b holds."),
        ("Write HTML", "<section><p>Hi</p></section>"),
        ("What happened?", "No, the output was right."),
        ("Look into the service", "The service is unavailable since the disk is full; I restarted it."),
    ],
)
def test_the_model_speaks(request_, answer):
    assert echoed(answer, request_) is None


def test_the_answer_to_the_programs_own_request_for_a_summary_is_context(make):
    (draft,), told = make.run(
        Scaffolding(),
        make.episode(make.user("Hi"), make.says("Yo"), make.user(COMPACT), make.says("The user said hi."))
    )  # fmt: skip
    assert told == [(3, SUMMARY)]
    assert draft.weights == (0, 1, 0, 0)
