from pathlib import Path

from lunar_tune.sources.core.conversation import Conversation


def test_a_branch_goes_on_by_itself():
    told = Conversation("x", Path("log.db"), "s", lambda verdict: None, model="m", group="s")
    told.say("user", "Hi")
    told.judge("annotation", "greeting", 0)
    branch = told.branch("s#2")
    branch.say("assistant", "Hello")
    branch.judge("undo", message=1)
    told.say("assistant", "Good day")
    first, second = told.episode(), branch.episode()
    assert first is not None
    assert second is not None
    assert [m.content for m in first.messages] == ["Hi", "Good day"]
    assert [m.content for m in second.messages] == ["Hi", "Hello"]
    assert [s.kind for s in first.signals] == ["annotation"]
    assert [s.kind for s in second.signals] == ["annotation", "undo"]
    assert (first.thread, second.thread, second.group, second.model) == ("s", "s#2", "s", "m")
