import json
import stat

import pytest

from lunar_tune.artefacts import SPLITS, Draft, Verdict
from lunar_tune.dataset.card import card, summary
from lunar_tune.dataset.grouping.leak import leak_score
from lunar_tune.dataset.spool import UNDATED
from lunar_tune.dataset.write import latest_dataset, load_dataset, write_dataset
from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec
from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import read_jsonl
from lunar_tune.identity import file_sha256
from lunar_tune.settings import DatasetSettings

WEATHER = ToolSpec(name="get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})


class Books:
    """What curation hands over, as far as writing looks at it."""

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)
        self.turns_back = 0

    def taken_back(self, verdict, turns):
        self.verdicts.append(verdict)
        self.turns_back += turns

    def summary(self):
        left = {"signals": {"rated below the minimum": 2}}
        return {
            "conversations": {"read": 12, "kept": 10, "left_out": {}},
            "turns": {"read": 22, "kept": 20, "left_out": left},
            "unreadable": {"read": {"unreadable tools": 1}},
            "redacted": {"email": 3},
        }


def draft(day, **more):
    messages = (
        Message(role="user", content=f"Weather on day {day}?"),
        Message(role="assistant", tool_calls=(ToolCall(id="c", name="get_weather", arguments={"city": f"C{day}"}),)),
        Message(role="tool", content="4", tool_call_id="c", name="get_weather"),
        Message(role="assistant", content="Four."),
    )
    start = {"started_at": f"2026-10-{day:02}T08:00:00Z"} | more
    episode = Episode(
        source="lunar",
        path="log.db",
        thread=f"t{day}",
        messages=messages,
        tools=(WEATHER,),
        system="Be brief.",
        **start,
    )
    return Draft(episode, (0, 1, 0, 1 - day % 2), f"ep-{day}")


DRAFTS = [draft(day) for day in range(1, 11)]
LOGS = [{"source": "lunar", "path": "log.db", "watermark": "abc"}]


def write(home, drafts=DRAFTS, books=None, **settings):
    return write_dataset(iter(drafts), books or Books(), DatasetSettings(**settings), home, sources=LOGS)


def test_rows_are_the_contract(tmp_path):
    dataset = write(tmp_path)
    assert dataset.counts == {"train": 7, "valid": 1, "test": 2}
    row = next(read_jsonl(dataset.split("test")))
    assert row["id"] == "ep-9"
    assert row["date"] == "2026-10-09"
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert [m.get("weight") for m in row["messages"]] == [None, None, 1, None, 0]
    assert row["messages"][2]["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "C9"}}}
    ]
    assert row["tools"][0]["function"]["name"] == "get_weather"
    assert row["meta"] == {"source": "lunar", "thread": "t9", "group": "t9", "model": None}


def test_every_draft_is_one_row(tmp_path):
    dataset = write(tmp_path)
    ids = [row["id"] for split in SPLITS for row in read_jsonl(dataset.split(split))]
    assert sorted(ids) == sorted(d.id for d in DRAFTS)


def test_the_manifest_counts_and_hashes(tmp_path):
    verdicts = [
        Verdict("ep-x", "dedup", "a copy of another conversation", "of ep-1"),
        Verdict("ep-1", "turns", "empty", "", 3),
    ]
    dataset = write(tmp_path, books=Books(*verdicts))
    manifest = dataset.manifest
    assert manifest["counts"] == {"train": 7, "valid": 1, "test": 2, "dropped": 2}
    assert manifest["turns"]["test"] == {"learnt": 3, "calls": 2, "context": 1}
    assert manifest["dates"]["test"] == ["2026-10-09", "2026-10-10"]
    assert manifest["sources"] == [{**LOGS[0], "rows": 10}]
    assert manifest["settings"]["dataset"]["test"] == 0.2
    assert manifest["curation"]["redacted"] == {"email": 3}
    for name, facts in manifest["files"].items():
        assert facts["sha256"] == file_sha256(dataset.path / name)
    assert set(manifest["files"]) == {"train.jsonl", "valid.jsonl", "test.jsonl", "dropped.jsonl", "README.md"}
    assert list(read_jsonl(dataset.path / "dropped.jsonl")) == [
        {"id": "ep-x", "step": "dedup", "reason": "a copy of another conversation", "detail": "of ep-1"},
        {"id": "ep-1", "step": "turns", "reason": "empty", "detail": "", "message": 3},
    ]


def test_the_same_input_is_the_same_dataset_and_other_input_another(tmp_path):
    first = write(tmp_path)
    assert write(tmp_path).id == write(tmp_path, list(reversed(DRAFTS))).id == first.id
    assert write(tmp_path, seed=1).id != first.id
    assert write(tmp_path, DRAFTS[1:]).id != first.id
    assert write(tmp_path, books=Books(Verdict("a", "b", "c"))).id != first.id
    assert latest_dataset(tmp_path).id != first.id
    write(tmp_path)
    assert latest_dataset(tmp_path).id == first.id  # made again, so the newest again


def test_a_folder_is_whole_private_and_leaves_no_work(tmp_path):
    dataset = write(tmp_path)
    assert stat.S_IMODE(dataset.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in dataset.path.iterdir()} == {0o600}
    assert list((tmp_path / "work").iterdir()) == []


def test_a_crash_leaves_no_dataset(tmp_path):
    def crashing():
        yield DRAFTS[0]
        raise RuntimeError("pulled plug")

    with pytest.raises(RuntimeError, match="pulled plug"):
        write(tmp_path, crashing())
    assert latest_dataset(tmp_path) is None
    assert write(tmp_path).counts["train"] == 7


def test_a_damaged_dataset_says_so(tmp_path):
    dataset = write(tmp_path)
    assert load_dataset(dataset.path) == dataset
    with (dataset.path / "train.jsonl").open("a") as handle:
        handle.write("{}\n")
    with pytest.raises(ArtefactBroken, match=r"train\.jsonl"):
        load_dataset(dataset.path)
    (dataset.path / "manifest.json").write_text('{"kind": "model"}')
    with pytest.raises(ArtefactBroken, match="not that of a dataset"):
        load_dataset(dataset.path)


def test_nothing_at_all_is_a_dataset_too(tmp_path):
    dataset = write(tmp_path, [])
    assert dataset.counts == {"train": 0, "valid": 0, "test": 0}
    assert card(dataset.manifest)


def test_rows_without_a_date_are_counted_and_trained_on(tmp_path):
    dataset = write(tmp_path, [draft(1, started_at=None), *DRAFTS[1:]], valid=0.0)
    assert dataset.manifest["undated"] == 1
    assert next(read_jsonl(dataset.split("train")))["date"] == UNDATED


def test_letters_beyond_ascii_and_lone_surrogates_come_through(tmp_path):
    odd = Episode(
        source="lunar", path="log.db", thread="t", started_at="2026-10-01T00:00:00Z",
        messages=(Message(role="user", content="Zoë \U0001f319 \ud800"), Message(role="assistant", content="ok")),
    )  # fmt: skip
    dataset = write(tmp_path, [Draft(odd, (0, 1), "ep-odd")])
    assert next(read_jsonl(dataset.split("train")))["messages"][0]["content"] == "Zoë \U0001f319 \ud800"


def row(*said):
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def test_the_leak_score_is_the_share_of_test_ngrams_in_train():
    words = [f"w{i}" for i in range(26)]
    train = [row(("user", " ".join(words[:15])), ("tool", " ".join(words)))]
    test = [row(("user", " ".join(words[:16]).upper()), ("assistant", "Short."))]
    score = leak_score(train, test)
    assert (score["test_ngrams"], score["raw_shared"], score["raw_score"]) == (4, 3, 0.75)
    assert (score["test_requests"], score["repeated_requests"]) == (1, 0)
    assert leak_score(train, train)["raw_score"] == 1.0
    assert leak_score(train, train)["repeated_requests"] == 1
    assert leak_score(train, [row(("user", "Hi"))])["raw_score"] == 0.0


def test_a_call_s_arguments_count_as_words():
    call = {"type": "function", "function": {"name": "t", "arguments": {"text": " ".join(f"w{i}" for i in range(13))}}}
    said = {"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]}
    assert leak_score([said], [said])["raw_shared"] > 0


def test_the_card_and_the_tables_say_what_is_in_it(tmp_path):
    dataset = write(tmp_path)
    text = (dataset.path / "README.md").read_text()
    assert text == card(dataset.manifest)
    assert "20 of 22 assistant turns" in text
    assert "| signals | rated below the minimum | 2 |" in text
    tables = {title: rows for title, _, rows in summary(dataset.manifest)}
    assert tables["Rows"][2] == ["test", 2, 2, 3, 2, "2026-10-09", "2026-10-10"]
    assert tables["Redacted"] == [["email", 3]]
    assert tables["Sources"] == [["lunar", "log.db", 10]]
    json.dumps(tables)
