"""The data card and what is counted for it: complete, honest, and readable by the hub."""

import re
import tomllib
from pathlib import Path

import pytest

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate import Ledger, curate
from lunar_tune.dataset.card import card
from lunar_tune.dataset.content import BOUNDS, Content, Histogram, group_sizes, script
from lunar_tune.dataset.tables import at_home, histograms, summary
from lunar_tune.dataset.write import write_dataset
from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec
from lunar_tune.files import read_jsonl
from lunar_tune.settings import CurateSettings, DatasetSettings

WEATHER = ToolSpec(name="get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})


def episode(day, month=10):
    asked = f"Is the weather of city number {day} any good in month {month}?"
    call = ToolCall(id="c", name="get_weather", arguments={"city": f"C{month}-{day}"})
    return Episode(
        source="lunar", path="log.db", thread=f"t{month}-{day}", tools=(WEATHER,), model="llama",
        started_at=f"2026-{month:02}-{day:02}T08:00:00Z",
        messages=(
            Message(role="user", content=asked),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content="4", tool_call_id="c", name="get_weather"),
            Message(role="assistant", content=f"Number {day} has four degrees, <EMAIL_1> says."),
        ),
    )  # fmt: skip


@pytest.fixture
def written(tmp_path):
    ledger = Ledger()
    ledger(Verdict("thread | x", "read", "unreadable tools", "place"))
    episodes = [*(episode(day) for day in range(1, 11)), episode(3, month=9), episode(3, month=9)]
    drafts = curate(episodes, CurateSettings(redact=False), ledger)
    logs = [{"source": "lunar", "path": str(Path.home() / "my logs" / "log.db"), "watermark": "w"}]
    recorded = {"curate": CurateSettings(), "harvest": {"since": None, "exclude": ["a"], "tools": []}}
    return write_dataset(drafts, ledger, DatasetSettings(), tmp_path, sources=logs, recorded=recorded)


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def test_the_head_is_valid_for_the_hub(written):
    from huggingface_hub import DatasetCard

    found = DatasetCard.load(written.path / "README.md").data.to_dict()
    assert found["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "train.jsonl"},
                {"split": "validation", "path": "valid.jsonl"},
                {"split": "test", "path": "test.jsonl"},
            ],
        }
    ]
    assert all((written.path / one["path"]).stat().st_size for one in found["configs"][0]["data_files"])
    assert found["size_categories"] == ["n<1K"]
    assert (found["license"], found["license_name"]) == ("other", "owner-only")
    assert "tool-calling" in found["tags"]


def test_a_split_without_rows_is_not_offered(tmp_path):
    from huggingface_hub import DatasetCard

    ledger = Ledger()
    dataset = write_dataset(curate([episode(1)], CurateSettings(), ledger), ledger, DatasetSettings(), tmp_path)
    assert [one["split"] for one in DatasetCard(card(dataset.manifest)).data.configs[0]["data_files"]] == ["train"]
    empty = write_dataset(iter(()), Ledger(), DatasetSettings(), tmp_path)
    text = card(empty.manifest)
    assert DatasetCard(text).data.to_dict().get("configs") is None
    assert "There are no test rows" in text


def test_the_words_say_what_was_read_kept_and_left_out(written):
    text = (written.path / "README.md").read_text()
    turns = written.manifest["curation"]["turns"]
    assert f"{turns['kept']} of {turns['read']} assistant turns" in text
    assert "24 = 22 + 2." in text
    assert "from 2026-09-03 to 2026-10-10" in text
    assert "| dedup | the same conversation in another log | 2 |" in section(text, "Turns left out")
    assert "unreadable tools" in section(text, "Left out while reading")
    assert "| get_weather | 11 | 11 | 100.0% |" in section(text, "Tools")
    for title in ("Rows", "Overlap", "Distributions", "Limits", "Privacy", "Licence", "Sources"):
        assert section(text, title).strip()
    assert str(Path.home()) not in text


def test_the_settings_in_the_card_make_the_same_dataset(written):
    recipe = section((written.path / "README.md").read_text(), "How to make it again")
    assert "lunar-tune harvest '~/my logs/log.db'" in recipe
    settings = tomllib.loads(re.search(r"```toml\n(.*?)```", recipe, re.DOTALL)[1])
    assert settings["dataset"]["seed"] == 0
    assert settings["harvest"] == {"exclude": ["a"]}
    from lunar_tune.settings import Settings, overlay

    assert overlay(Settings(), settings, "card", None).dataset == DatasetSettings()


def test_redaction_that_was_off_is_said(written):
    manifest = dict(written.manifest)
    manifest["settings"] = {**manifest["settings"], "curate": {"redact": False}}
    assert "Redaction was switched off" in card(manifest)
    assert "Redaction was switched off" not in card(written.manifest)


def test_edits_are_said(written):
    manifest = dict(written.manifest)
    manifest["curation"] = {**manifest["curation"], "review": {"edited by you": 2, "met no turn": 0}}
    assert "but for 2 answers that its owner rewrote" in card(manifest)
    assert section(card(manifest), "Decided by you").strip().endswith("| edited by you | 2 |")


def test_names_from_the_log_do_not_break_the_tables(written):
    manifest = dict(written.manifest)
    tools = {"a|b\n<script>": {"offered": 1, "learnt_calls": 1}}
    manifest["content"] = {**manifest["content"], "tools": tools}
    assert "| a\\|b &lt;script> | 1 | 1 | 100.0% |" in card(manifest)


def test_a_manifest_of_an_earlier_version_is_shown_too(written):
    manifest = {key: value for key, value in written.manifest.items() if key != "content"}
    curation = {key: value for key, value in manifest["curation"].items() if key != "review"}
    leak = {"ngram": 13, "test_ngrams": 4, "shared": 3, "score": 0.75, "test_requests": 1, "repeated_requests": 0}
    manifest |= {"curation": curation, "leak": leak}
    assert histograms(manifest) == []
    assert card(manifest)
    overlap = next(rows for title, _, rows in summary(manifest) if title == "Overlap")
    assert overlap[0][1:] == [3, 4, 0.75]


def test_the_manifest_counts_what_the_rows_hold(written):
    content = written.manifest["content"]
    rows = [row for split in ("train", "valid", "test") for row in read_jsonl(written.split(split))]
    assert content["months"] == {"2026-09": 1, "2026-10": 10}
    assert content["sources"] == {"lunar": 11}
    assert content["models"] == {"llama": 11}
    assert content["learnt"] == {"2": 11}
    assert content["tools"] == {"get_weather": {"offered": 11, "learnt_calls": 11}}
    assert sum(content["tokens"]["rows"]["up_to"].values()) == len(rows)
    assert sum(int(size) * number for size, number in content["group_sizes"].items()) == len(rows)
    learnt = sum(turns["learnt"] for turns in written.manifest["turns"].values())
    assert learnt == written.manifest["curation"]["turns"]["kept"]


def test_months_of_rows_without_a_date_are_not_made_up():
    content = Content()
    row = {"date": "2024-07-26", "messages": [], "tools": [], "meta": {"source": "s", "model": None}}
    content.add(content.read(row, ""))
    assert content.facts()["months"] == {"undated": 1}
    assert content.facts()["models"] == {"unknown": 1}


def test_histograms_hold_every_number_once():
    histogram = Histogram()
    for number in (1, BOUNDS[0], BOUNDS[0] + 1, BOUNDS[-1] + 1):
        histogram.add(number)
    facts = histogram.facts()
    assert (facts["sum"], facts["longest"]) == (1 + 2 * BOUNDS[0] + 1 + BOUNDS[-1] + 1, BOUNDS[-1] + 1)
    assert {name: n for name, n in facts["up_to"].items() if n} == {str(BOUNDS[0]): 2, str(BOUNDS[1]): 1, "longer": 1}
    assert Histogram().facts() == {"sum": 0, "longest": 0, "up_to": {}}
    assert group_sizes([7, 7, 3, 3, 1]) == {"1": 1, "2": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Hello", "Latin"), ("Zoë été", "Latin"), ("Привет, Ann", "Cyrillic"), ("123 ?!", "none"), ("— 5 €", "other"),
     ("こんにちは世界", "Japanese"), ("你好世界", "Chinese or Japanese"), ("שלום", "Hebrew")],
)  # fmt: skip
def test_writing_systems(text, expected):
    assert script([{"role": "assistant", "content": "Hello"}, {"role": "user", "content": text}]) == expected


def test_home_folders_are_not_told():
    assert at_home(str(Path.home() / "a.db")) == "~/a.db"
    assert at_home("/elsewhere/a.db") == "/elsewhere/a.db"


def test_a_draft_without_tools_has_a_card(tmp_path):
    plain = Episode(
        source="s",
        path="p",
        thread="t",
        messages=(Message(role="user", content="a"), Message(role="assistant", content="b")),
    )
    dataset = write_dataset([Draft(plain, (0, 1), "ep-1")], Ledger(), DatasetSettings(), tmp_path)
    assert "tool-calling" not in card(dataset.manifest)


def test_groups_that_are_never_held_out_and_what_caps_cost_are_said(written):
    assert "too large to be held out" not in card(written.manifest)
    assert "caps and budget" not in card(written.manifest)
    cost = {"over the cap of its tool": {"rows": 3, "turns": 5, "tokens": 700}}
    manifest = {**written.manifest, "grouping": {"never_held_out": [1200, 40]}, "budget": {"dropped": cost}}
    text = card(manifest)
    assert "2 groups are too large to be held out (1,200, 40 rows" in section(text, "Limits")
    table = section(text, "Training rows left out by caps and budget")
    assert "| over the cap of its tool | 3 | 5 | 700 |" in table
    assert "`dropped.jsonl`" in table
