from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.sources.core.trees import leaf_paths, not_repeated, path_to, root


def test_every_leaf_has_its_path():
    parents = {"a": None, "b": "a", "c": "b", "d": "b", "e": None}
    assert [p.nodes for p in leaf_paths(parents)] == [("a", "b", "c"), ("a", "b", "d"), ("e",)]
    assert [p.nodes for p in leaf_paths(parents, ["b"])] == [("a", "b")]


def test_a_missing_parent_ends_a_path_and_says_so():
    (path,) = leaf_paths({"b": "gone", "c": "b"})
    assert (path.nodes, path.problem) == (("b", "c"), "missing parent")


def test_cycles_are_cut_with_and_without_a_leaf():
    with_leaf = list(leaf_paths({"a": "b", "b": "a", "c": "b"}))
    assert [(p.nodes, p.problem) for p in with_leaf] == [(("a", "b", "c"), "cycle")]
    without = list(leaf_paths({"a": "c", "b": "a", "c": "b", "d": None}))
    assert [(p.nodes, p.problem) for p in without] == [(("d",), None), (("a", "b", "c"), "cycle")]
    assert path_to({"a": "a"}, "a").problem == "cycle"


@given(st.dictionaries(st.integers(0, 12), st.none() | st.integers(0, 14), max_size=13))
def test_no_node_is_lost_and_none_repeats_in_a_path(parents):
    paths = list(leaf_paths(parents))
    assert {node for path in paths for node in path.nodes} == set(parents)
    assert all(len(set(path.nodes)) == len(path.nodes) for path in paths)


def test_histories_that_others_begin_with_are_left_out():
    histories = [["a"], ["a", "b"], ["a", "b", "c"], ["a", "x"], ["a", "b", "c"], [], ["z"]]
    assert not_repeated(histories) == [3, 4, 6]


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=4), max_size=8))
def test_kept_histories_are_not_beginnings_and_cover_all(histories):
    kept = [histories[n] for n in not_repeated(histories)]
    assert all(not (a is not b and b[: len(a)] == a) for a in kept for b in kept)
    assert all(any(k[: len(h)] == h for k in kept) for h in histories if h)


def test_the_root_of_a_way_and_of_a_ring():
    parents = {"a": None, "b": "a", "c": "b", "d": "gone", "x": "y", "y": "z", "z": "y", "own": "own"}
    roots = {node: root(parents, node) for node in (*parents, "new")}
    assert roots == {
        "a": "a", "b": "a", "c": "a", "d": "gone", "x": "y", "y": "y", "z": "y", "own": "own", "new": "new",
    }  # fmt: skip
