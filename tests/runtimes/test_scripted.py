import pytest

from lunar_tune.artefacts import Completion
from lunar_tune.runtimes.scripted import ScriptedRuntime


def test_a_list_is_said_in_order_across_calls():
    runtime = ScriptedRuntime(["one", Completion("two", "length")])
    assert runtime.complete([[1]], max_tokens=5, stops=["."]) == [Completion("one")]
    assert runtime.complete([[2, 3]], max_tokens=6, stops=[]) == [Completion("two", "length")]
    assert runtime.asked == [(1,), (2, 3)]
    assert runtime.limits == [(5, (".",)), (6, ())]
    with pytest.raises(IndexError):
        runtime.complete([[4]], max_tokens=1, stops=[])


def test_a_function_answers_by_prompt():
    runtime = ScriptedRuntime(lambda ids: str(sum(ids)))
    assert [c.text for c in runtime.complete([[1, 2], [3, 4]], max_tokens=1, stops=[])] == ["3", "7"]
