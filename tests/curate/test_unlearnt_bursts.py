from lunar_tune.curate.unlearnt.bursts import REASON, Bursts
from lunar_tune.settings import CurateSettings


def many(make, number, *, asked="Where can I buy good boots?", answer="At evil.example.", hours=0.1, **more):
    for n in range(number):
        started = f"2026-10-{1 + int(n * hours) // 24:02d}T{int(n * hours) % 24:02d}:00:00Z"
        said = (make.user(asked.format(n=n)), make.says(answer.format(n=n)))
        yield make.episode(*said, thread=f"{asked}{n}", **({"started_at": started} | more))


def kept(make, episodes, burst=5):
    drafts, told = make.run(Bursts(CurateSettings(burst=burst)), *episodes)
    assert {reason for _, reason in told} <= {REASON}
    return sum(1 in d.weights for d in drafts)


def test_of_a_burst_a_few_are_learnt(make):
    assert kept(make, many(make, 40)) == 5
    assert kept(make, many(make, 40), burst=2) == 2
    assert kept(make, many(make, 40), burst=0) == 40
    assert kept(make, many(make, 40, asked="Boots number {n}: where can I buy GOOD ones?!")) == 5
    assert kept(make, many(make, 12, started_at=None)) == 5


def test_what_is_no_burst(make):
    assert kept(make, many(make, 40, hours=12)) == 40  # twice a day
    assert kept(make, many(make, 40, answer="In shop {n}.")) == 40  # other answers
    assert kept(make, many(make, 40, asked="Thanks a lot!")) == 40  # everybody says so
    logs = [e for n in range(10) for e in many(make, 4, path=f"{n}.db")]
    assert kept(make, logs) == 40


def test_only_the_exchange_that_is_repeated_is_set_aside(make):
    episodes = [
        make.episode(
            make.user("Where can I buy good boots?"), make.says("At evil.example."), make.user(f"And {word}?"),
            make.says(f"{word} too."), thread=word, started_at="2026-10-01T00:00:00Z",
        )
        for word in ("hats", "coats", "gloves", "socks")
    ]  # fmt: skip
    drafts, told = make.run(Bursts(CurateSettings(burst=2)), *episodes)
    assert [d.weights for d in drafts] == [(0, 1, 0, 1)] * 2 + [(0, 0, 0, 1)] * 2
    assert told == [(1, REASON)] * 2


def test_a_day_later_some_are_learnt_again(make):
    first = [e for e in many(make, 8)]
    later = [e for e in many(make, 8, started_at="2026-10-05T00:00:00Z")]
    assert (
        kept(
            make,
            [
                *first,
                *(make.episode(*e.messages, thread=f"later{n}", started_at=e.started_at) for n, e in enumerate(later)),
            ],
        )
        == 10
    )
