from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.artefacts import Draft
from lunar_tune.dataset.grouping.split import Member, assign, components, member, oversized
from lunar_tune.episodes import Episode, Message, ToolCall
from lunar_tune.settings import DatasetSettings

LONG = "please find me a quiet hotel near the old harbour for three nights in late May"


def draft(thread, *said, call=None, start="2026-10-01T00:00:00Z", group=None):
    messages = []
    for text in said:
        messages.append(Message(role="user", content=text))
        messages.append(Message(role="assistant", content="ok"))
    if call:
        messages[1] = replace(messages[1], tool_calls=(ToolCall(name="t", arguments=call),))
    return Draft(
        Episode(source="s", path="p", thread=thread, messages=tuple(messages), started_at=start, group=group),
        (0, 1) * len(said), f"ep-{thread}",
    )  # fmt: skip


def together(*drafts):
    groups = components([member(d) for d in drafts])
    return [
        [d.episode.thread for d, g in zip(drafts, groups, strict=True) if g == group] for group in sorted(set(groups))
    ]


def test_what_belongs_together():
    assert together(draft("a", "Hi"), draft("b", "Hi")) == [["a"], ["b"]]  # short talk proves nothing
    assert together(draft("a", "Hi"), draft("b", "Ho", group="a")) == [["a", "b"]]  # a fork
    assert together(draft("a", LONG), draft("b", "Hello", LONG.upper() + "!")) == [["a", "b"]]  # one long request
    oslo = {"city": "Oslo"}
    assert together(draft("a", "Oslo?", call=oslo), draft("b", "oslo", "Thx", call=oslo)) == [
        ["a", "b"]
    ]  # same opening
    assert together(draft("a", "Oslo?", call=oslo), draft("b", "Oslo?", call={"city": "Rome"})) == [["a"], ["b"]]
    several = ("Weather in Oslo please?", "And then in Bergen?")
    assert together(draft("a", *several), draft("b", *several)) == [["a", "b"]]


def test_pairs_connect_too():
    members = [Member(str(i), "", str(i), ("s", "p"), (str(i),)) for i in range(4)]
    assert components(members, [(1, 3)]) == [0, 1, 2, 1]


def test_a_group_that_is_most_of_the_log_is_trained_on():
    members = [Member(str(i), f"{i:02}", str(i), ("s", "p"), ("one" if i % 2 else str(i),)) for i in range(40)]
    groups = components(members)
    splits = assign(members, groups, DatasetSettings(test=0.2, valid=0.1))
    assert {s for s, g in zip(splits, groups, strict=True) if g == 1} == {"train"}
    assert splits[34:40:2] == ["test"] * 3  # the newest of the others
    splits = assign(members, groups, DatasetSettings(test=0.2, valid=0.1, largest_group=0.6))
    assert {s for s, g in zip(splits, groups, strict=True) if g == 1} == {"test"}


def test_components_are_transitive():
    members = [
        Member(str(i), "", str(i), ("s", "p"), keys)
        for i, keys in enumerate((("x",), ("y",), ("x", "z"), ("z", "y"), ("q",)))
    ]
    assert components(members) == [0, 0, 0, 0, 4]


def test_the_newest_groups_are_test_and_a_group_is_as_new_as_its_newest_member():
    drafts = [draft(f"t{day:02}", f"Hi {day}", start=f"2026-10-{day:02}T00:00:00Z") for day in range(1, 11)]
    drafts.append(draft("fork", "Ho", start="2026-10-20T00:00:00Z", group="t01"))
    members = [member(d) for d in drafts]
    splits = assign(members, components(members), DatasetSettings(test=0.2, valid=0.1))
    assert [m.thread for m, s in zip(members, splits, strict=True) if s == "test"] == ["t01", "t10", "t01"]
    assert splits.count("valid") == 1


def test_validation_groups_keep_their_place_while_the_log_grows():
    def valid(days):
        members = [Member(str(d), f"{d:03}", f"t{d}", ("s", "p"), (str(d),)) for d in range(days)]
        splits = assign(members, components(members), DatasetSettings())
        return {m.thread for m, s in zip(members, splits, strict=True) if s == "valid"}

    assert len(valid(100) & valid(101)) >= len(valid(100)) - 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sets(st.sampled_from("abcdefgh"), max_size=2)), max_size=30),
    st.floats(0, 0.9), st.floats(0, 0.9),
)  # fmt: skip
def test_no_group_spans_splits_and_training_is_never_empty(rows, test, valid):
    members = [Member(str(i), str(day), str(i), ("s", "p"), (f"own{i}", *keys)) for i, (day, keys) in enumerate(rows)]
    groups = components(members)
    settings = DatasetSettings(test=test, valid=valid)
    splits = assign(members, groups, settings)
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == group}) == 1 for group in set(groups))
    for key in "abcdefgh":
        assert len({s for m, s in zip(members, splits, strict=True) if key in m.keys}) <= 1
    assert not rows or "train" in splits
    newest = {g: max(m.started_at for m, h in zip(members, groups, strict=True) if h == g) for g in set(groups)}
    judged = [newest[g] for s, g in zip(splits, groups, strict=True) if s == "test"]
    large = oversized(groups, settings.largest_group)
    assert all(s == "train" for s, g in zip(splits, groups, strict=True) if g in large)
    others = [newest[g] for s, g in zip(splits, groups, strict=True) if s != "test" and g not in large]
    assert not judged or not others or min(judged) >= max(others)
