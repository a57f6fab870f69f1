import pytest

from lunar_tune.sources.core.blocks import result_text
from lunar_tune.sources.core.forks import copies, root


def test_copies_begin_at_the_same_time_with_the_same_words():
    words = {"a": ["hi"], "b": ["bye", "hi"], "c": ["bye"], "d": [], "e": [], "f": ["other"]}
    begun = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1), ("g", None), ("h", None)]
    assert copies(begun, words.__getitem__) == {"b": "a", "c": "a"}


def test_what_begins_alone_is_not_looked_into():
    assert copies([("a", 1), ("b", 2)], lambda thread: pytest.fail(thread)) == {}


def test_the_root_of_forks_of_forks():
    above = {"b": "a", "c": "b", "x": "y", "y": "x", "lost": "gone"}
    assert [root(name, above) for name in ("a", "c", "lost", "x", "y")] == ["a", "a", "gone", "x", "x"]


def test_results_within_results_are_told_as_they_stand():
    deep = "x"
    for _ in range(400):
        deep = [{"type": "tool_result", "content": deep}]
    assert result_text(deep)[0].startswith('[{"type": "tool_result", "content": [')
    assert result_text([{"type": "text", "text": "a"}, "b"]) == ("a\nb", ())
