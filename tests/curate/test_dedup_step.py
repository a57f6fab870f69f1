"""A turn that conversations have in common is learnt once where it is the same turn, not where it is said again."""

import pytest

from lunar_tune.curate.dedup import FORK, LONG, SIBLING, Dedup

ONE, TWO = "2026-10-01T08:00:00Z", "2026-10-02T08:00:00Z"
LONG_REQUEST = "Please read this report and tell me what it is about. " + "It goes on and on. " * 10


def paths(make, asked, moment, other, **more):
    """Return two conversations that begin the same and end differently; the second began at another moment or not."""
    first = make.episode(
        make.user(asked), make.says("4 C", created_at=moment), make.user("Thx"), make.says("Gladly"), thread="a"
    )
    second = make.episode(
        make.user(asked), make.says("4 C", created_at=other), make.user("Rome?"), make.says("20 C"), thread="b", **more
    )
    return first, second


@pytest.mark.parametrize(
    ("asked", "moment", "other", "shared"),
    [
        ("Oslo?", ONE, ONE, True),  # the same moment: a fork that the log wrote as a conversation of its own
        ("Oslo?", ONE, TWO, False),
        ("Oslo?", None, None, False),  # a log without times says nothing
        ("Oslo?", ONE, None, False),
        (LONG_REQUEST, ONE, TWO, True),  # too long to be asked twice by chance
        (LONG_REQUEST, None, None, True),
        (LONG_REQUEST[: LONG - 1], ONE, TWO, False),
        (LONG_REQUEST[:LONG], ONE, TWO, True),
    ],
)
def test_an_equal_beginning_in_another_thread_is_learnt_once_where_it_is_the_same(make, asked, moment, other, shared):
    first, second = paths(make, asked, moment, other)
    drafts, verdicts = make.run(Dedup(), first, second)
    assert [d.weights for d in drafts] == [(0, 1, 0, 1), (0, 0 if shared else 1, 0, 1)]
    assert verdicts == ([(1, SIBLING)] if shared else [])


def test_what_follows_a_long_request_is_shared_too_until_the_paths_part(make):
    begin = (make.user(LONG_REQUEST), make.says("It is about rain."), make.user("Where?"), make.says("In Oslo."))
    first = make.episode(*begin, thread="a")
    second = make.episode(*begin, make.user("When?"), make.says("On Monday."), thread="b")
    drafts, verdicts = make.run(Dedup(), first, second)
    assert drafts[1].weights == (0, 0, 0, 0, 0, 1)
    assert verdicts == [(1, SIBLING), (3, SIBLING)]


def test_the_same_answer_to_another_request_at_the_same_moment_is_no_copy(make):
    first, _ = paths(make, "Oslo?", ONE, ONE)
    _, second = paths(make, "Bergen?", ONE, ONE)
    assert make.run(Dedup(), first, second)[1] == []


def test_a_fork_of_the_same_family_is_called_one(make):
    assert make.run(Dedup(), *paths(make, LONG_REQUEST, ONE, ONE, group="a"))[1] == [(1, FORK)]
