"""Which training rows there is room for, in which order, and what that cost."""

from dataclasses import replace

from lunar_tune.artefacts import Draft
from lunar_tune.dataset.budget import Load, choose, template
from lunar_tune.dataset.grouping.corpus import Corpus, turns_of
from lunar_tune.dataset.grouping.grams import Grams
from lunar_tune.dataset.grouping.leak import leak_score, near_share
from lunar_tune.dataset.grouping.split import Member
from lunar_tune.dataset.write import write_dataset
from lunar_tune.episodes import Episode, Message, ToolCall
from lunar_tune.files import read_jsonl
from lunar_tune.settings import DatasetSettings

PLENTY = DatasetSettings(near_identical=0, per_template=0, per_origin=0)


def member(i, day=None, thread=None):
    return Member(f"ep-{i:02}", f"2026-10-{day or i + 1:02}T00:00:00Z", thread or f"t{i}", ("s", "p"), ())


def kept(loads, crowded=(), splits=None, members=None, **settings):
    chosen = choose(
        members or [member(i) for i in range(len(loads))],
        loads,
        splits or ["train"] * len(loads),
        crowded,
        DatasetSettings(**{"near_identical": 0, "per_template": 0, "per_origin": 0, **settings}),
    )
    return [i for i in range(len(loads)) if i not in chosen.dropped], chosen


def load(tools=(), template="a", tokens=10, turns=1):
    return Load(tuple(tools), template, tokens, turns)


def test_without_caps_everything_stays():
    assert kept([load()] * 5)[0] == [0, 1, 2, 3, 4]


def test_a_cap_keeps_the_newest_and_says_which_one_it_is():
    stay, chosen = kept([load(template="a")] * 4 + [load(template="b")], per_template=2)
    assert stay == [2, 3, 4]
    assert {(v.id, v.step, v.reason, v.detail) for v in chosen.dropped.values()} == {
        (f"ep-{i:02}", "budget", "over the cap of its template", "2 rows") for i in (0, 1)
    }
    assert kept([load(["t"])] * 3, per_tool=1)[0] == [2]
    assert kept([load()] * 3, members=[member(i, thread="one") for i in range(3)], per_origin=2)[0] == [1, 2]
    assert kept([load()] * 4, members=[member(i, day=1 + i // 2) for i in range(4)], per_day=1)[0] == [1, 3]


def test_a_row_that_calls_a_rare_tool_too_is_kept():
    loads = [load(["rare", "often"]), load(["often"]), load(["often"])]
    assert kept(loads, per_tool=1)[0] == [0, 2]


def test_test_and_valid_stay_as_they_are():
    assert kept([load()] * 3, splits=["test", "valid", "train"], per_template=1, budget=1)[0] == [0, 1]


def test_the_budget_takes_what_is_rare_and_new_first():
    loads = [load(["often"], "a"), load(["often"], "a"), load(["rare"], "b"), load(["often"], "a")]
    stay, chosen = kept(loads, budget=20)
    assert stay == [2, 3]
    assert chosen.facts == {
        "limit": 20, "tokens": 20, "estimated": True,
        "dropped": {"over the token budget": {"rows": 2, "turns": 2, "tokens": 20}},
    }  # fmt: skip


def test_a_smaller_row_may_fit_where_a_larger_one_does_not():
    assert kept([load(tokens=5), load(tokens=50), load(tokens=10)], budget=16)[0] == [0, 2]


def test_near_identical_rows_go_before_the_caps_are_asked():
    stay, chosen = kept([load()] * 5, crowded={0, 4}, near_identical=2, per_template=2)
    assert stay == [2, 3]
    reasons = {i: (v.reason, v.detail) for i, v in chosen.dropped.items()}
    assert reasons[0] == reasons[4] == ("a near-duplicate of newer rows", "2 are kept")
    assert kept([load()] * 3, crowded={0, 1, 2}, splits=["test", "valid", "train"])[0] == [0, 1]
    owned = Load((), "a", 10, 1, kept=True)
    assert kept([owned, load()], crowded={0, 1})[0] == [0]


def test_a_template_is_the_request_without_its_values():
    def asked(text, **arguments):
        call = ToolCall(name="t", arguments=arguments)
        return turns_of((Message(role="user", content=text), Message(role="assistant", tool_calls=(call,))))

    same = {
        template(asked("Weather in Oslo at 7?", city="Oslo", hour=7)),
        template(asked("weather in Lake Velnes at 12", city="Lake Velnes", hour=12)),
    }
    assert same == {"weather in _ at _"}
    assert template(asked("Write to <EMAIL_1> now", to="<EMAIL_1>")) == "write to _ now"


class Books:
    """What curation hands over."""

    def __init__(self):
        self.verdicts, self.back = [], 0

    def taken_back(self, verdict, turns):
        self.verdicts.append(verdict)
        self.back += turns

    def summary(self):
        empty = {"read": 0, "kept": 0, "left_out": {}}
        return {"conversations": empty, "turns": empty, "unreadable": {}, "redacted": {}}


def drafts(number, system="Be brief, be kind, and copy every value."):
    for i in range(number):
        said = (Message(role="user", content=f"Item {i}?"), Message(role="assistant", content=f"Item {i}."))
        start = f"2026-10-{i + 1:02}T00:00:00Z"
        episode = Episode(source="s", path="p", thread=f"t{i}", messages=said, started_at=start, system=system)
        yield Draft(episode, (0, 1), f"ep-{i:02}")


def test_what_is_dropped_is_told_and_not_written(tmp_path):
    books = Books()
    dataset = write_dataset(drafts(10), books, DatasetSettings(per_template=3), tmp_path)
    assert dataset.counts == {"train": 3, "valid": 1, "test": 2}
    assert books.back == 4
    assert dataset.manifest["budget"]["dropped"]["over the cap of its template"]["rows"] == 4
    assert {line["step"] for line in read_jsonl(dataset.path / "dropped.jsonl")} == {"budget"}
    dates = [row["date"] for row in read_jsonl(dataset.split("train"))]
    assert dates == sorted(dates)
    assert dates[-1] >= "2026-10-07"


def test_figures_of_overlap_and_groups_are_those_of_the_finished_rows(tmp_path):
    def repeated():
        first, *others = drafts(20)
        said = (Message(role="user", content="Item 19?"), first.episode.messages[1])
        return [replace(first, episode=replace(first.episode, messages=said)), *others]

    whole = write_dataset(repeated(), Books(), DatasetSettings(per_template=0, valid=0), tmp_path)
    assert whole.manifest["leak"]["repeated_requests"] == 1
    assert whole.manifest["grouping"]["rows"] == 20
    few = write_dataset(repeated(), Books(), DatasetSettings(per_template=3, valid=0), tmp_path)
    assert few.counts == {"train": 3, "valid": 0, "test": 4}
    plain = leak_score(read_jsonl(few.split("train")), read_jsonl(few.split("test")))
    leak, grouping = few.manifest["leak"], few.manifest["grouping"]
    assert leak["repeated_requests"] == plain["repeated_requests"] == 0
    assert (leak["test_requests"], leak["test_rows"]) == (4, 4)
    assert grouping["rows"] == grouping["by_keys"] == grouping["with_shared_sequences"] == 7
    assert "word for word | 0 | 4 |" in (few.path / "README.md").read_text()


def test_sequences_of_dropped_rows_are_not_counted():
    passage = " ".join(f"w{i}" for i in range(20))
    said = [(Message(role="user", content=f"{passage} {i}"), Message(role="assistant", content="Yes.")) for i in (1, 1)]
    corpus = Corpus()
    for messages in said:
        corpus.add(turns_of(messages))
    grams = Grams(corpus, range(2), 10)
    assert grams.shared(["train", "test"])["shared"] > 0
    left = grams.shared([None, "test"])
    assert (left["shared"], left["raw_shared"], left["test_ngrams"]) == (0, 0, 9)
    assert near_share([(0, 1)], [None, "test"])["near_duplicates"] == 0


def test_a_group_that_is_too_large_to_be_held_out_is_shown_with_the_rows_that_are_left(tmp_path):
    def threads():
        for number, draft in enumerate(drafts(28)):
            family = "one" if number < 14 else draft.episode.thread
            yield replace(draft, episode=replace(draft.episode, group=family))

    dataset = write_dataset(threads(), Books(), DatasetSettings(per_template=0, per_origin=0), tmp_path)
    assert dataset.manifest["grouping"]["never_held_out"] == [14]
    capped = write_dataset(threads(), Books(), DatasetSettings(per_template=0, per_origin=3), tmp_path)
    assert capped.manifest["grouping"]["never_held_out"] == [3]
    assert capped.manifest["grouping"]["largest"] == 3
    assert "(3 rows here;" in (capped.path / "README.md").read_text()
