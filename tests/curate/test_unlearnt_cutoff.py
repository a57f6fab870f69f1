import pytest

from lunar_tune.curate.unlearnt.cutoff import FENCE, JSON, PROSE, CutOff, breaks_off

PROSE_BEGUN = (
    "The moon orbits the earth in about a month. It always shows the same side to us. That is because its rotation is "
    "bound to its orbit. The far side was first seen in a picture of a probe that flew around it in order to reach "
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Here it is:\n```python\nprint(1)\nfor x in", FENCE),
        ("```\na\n```\nand\n```\nb", FENCE),
        ("~~~\na", FENCE),
        ('{"city": "Oslo", "days": [1, 2', JSON),
        ('[{"a": "unfinis', JSON),
        (PROSE_BEGUN + "the", PROSE),
        (PROSE_BEGUN + "a place, and", PROSE),
        (PROSE_BEGUN + "a place,", PROSE),
    ],
)
def test_texts_that_break_off(text, reason):
    assert breaks_off(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Playing Silver Harbor",
        "That is what it is for",
        "```python\nprint(1)\n```",
        "````\n```\n````",
        "```\na\n```\nand\n~~~\nb\n~~~",
        "Use ``` to open a block.",
        '{"city": "Oslo"}',
        "{city} is a placeholder, and",
        "[Note] this is prose, not JSON",
        '{"a": 1} is what came back',
        PROSE_BEGUN + "it.",
        PROSE_BEGUN + "it\n- one\n- two and",
        "Dear Ann,\n\nthank you.\n\nYours,",
    ],
)
def test_texts_that_end(text):
    assert breaks_off(text) is None


def test_a_known_end_is_believed(make):
    text = "```\nx"
    messages = (make.user("a"), make.says(text), make.user("b"), make.says(text, finish="stop"))
    (draft,), told = make.run(CutOff(), make.episode(*messages))
    assert told == [(1, FENCE)]
    assert draft.weights == (0, 0, 0, 1)


def test_a_very_long_text_does_not_hang():
    assert breaks_off("```\nx\n```\n" * 100_000) is None
    assert breaks_off('{"a": [' + "1, " * 1_000_000) is None
    assert breaks_off("[" * 900_000) is None
