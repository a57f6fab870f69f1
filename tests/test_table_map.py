import json
import tomllib
from dataclasses import asdict

import pytest

from lunar_tune.errors import SettingsError
from lunar_tune.identity import canonical_json
from lunar_tune.settings import HarvestSettings, load_settings
from lunar_tune.table_map import EXAMPLE, FeedbackMap, TableMap, ThreadMap

CHAT = {"name": "bot", "table": "log", "thread": "s", "role": "who", "content": "body"}
QA = {"name": "x", "table": "t", "prompt": "p", "answer": "q"}


def problems(*maps):
    with pytest.raises(SettingsError) as caught:
        load_settings([], {"harvest": {"table_map": list(maps)}})
    return list(caught.value.problems)


def test_tables_of_toml_are_maps(tmp_path):
    (tmp_path / "lunar.toml").write_text(
        "[harvest]\nalso = true\n[[harvest.table_map]]\n"
        'name = "bot"\ntable = "log"\nthread = "s"\nrole = "who"\ncontent = "body"\nid = "id"\n'
        'roles = { H = "user" }\nratings = { up = 1 }\nthreads = { table = "sessions", id = "id", system = "p" }\n'
        'feedback = { table = "votes", message = "m", rating = "r" }\n[train]\nrank = 4\n'
        '[[harvest.table_map]]\nname = "qa"\ntable = "qa"\nprompt = "q"\nanswer = "a"\n'
    )
    settings = load_settings([tmp_path / "lunar.toml"]).harvest
    first, second = settings.table_map
    assert first == TableMap(
        **CHAT,
        id="id",
        roles={"H": "user"},
        ratings={"up": 1.0},
        threads=ThreadMap(table="sessions", id="id", system="p"),
        feedback=FeedbackMap(table="votes", message="m", rating="r"),
    )
    assert (second.name, second.prompt, settings.also) == ("qa", "q", True)
    assert first.columns() == {
        "log": {"s", "who", "body", "id"}, "sessions": {"id", "p"}, "votes": {"m", "r"},
    }  # fmt: skip
    assert load_settings([], {"harvest": {"table_map": settings.table_map}}).harvest.table_map == settings.table_map


def test_a_later_file_replaces_the_list(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(
            f'[[harvest.table_map]]\nname = "{name}"\ntable = "t"\nprompt = "q"\nanswer = "a"\n'
        )
    assert [m.name for m in load_settings([tmp_path / "a", tmp_path / "b"]).harvest.table_map] == ["b"]


def test_maps_are_part_of_ids():
    def canonical(**changes):
        return canonical_json(load_settings([], {"harvest": {"table_map": [CHAT | changes]}}).harvest)

    assert json.loads(canonical())["table_map"][0]["role"] == "who"
    assert canonical() != canonical(roles={"H": "user"})
    assert json.loads(json.dumps(asdict(HarvestSettings())))["table_map"] == []


def test_the_example_is_a_map():
    given = tomllib.loads(f"table_map = {EXAMPLE}")
    assert load_settings([], {"harvest": given}).harvest.table_map == (TableMap(**given["table_map"][0]),)


def test_all_mistakes_are_told_at_once():
    wrong = {
        "name": "mybot", "tabel": "x", "thread": "s", "role": "", "content": 5, "roles": {"h": "usr", "b": []},
        "ratings": {"x": "good", "y": float("inf")}, "threads": {"table": "t", "sytem": "x"}, "id": "a\x00b",
        "feedback": {"table": "v", "rating": 1},
    }  # fmt: skip
    here = "harvest.table_map 'mybot': "
    assert problems(wrong, {"name": ""}, 5) == [
        here + "unknown key tabel, did you mean 'table'?",
        here + "role must be a text, not ''",
        here + "content must be a text, not 5",
        here + "id must be a text, not 'a\\x00b'",
        here + "roles.h must be one of user, assistant, tool, system, not 'usr'",
        here + "roles.b must be one of user, assistant, tool, system, not []",
        here + "ratings.x must be a number, not 'good'",
        here + "ratings.y must be a number, not inf",
        here + "unknown key threads.sytem, did you mean 'system'?",
        here + "threads.id is missing",
        here + "feedback.rating must be a text, not 1",
        here + "feedback.message is missing",
        here + "table is missing",
        "harvest.table_map[1]: name must be a text, not ''",
        "harvest.table_map[1]: table is missing",
        "harvest.table_map[1]: role and content (a message a row) or prompt and answer (an exchange a row) are missing",
        "harvest.table_map[2]: must be a table, not 5",
    ]


@pytest.mark.parametrize("value", [{"name": "x"}, "x", 5])
def test_one_table_is_no_list_of_tables(value):
    with pytest.raises(
        SettingsError, match=r"harvest.table_map must be a list of tables \(\[\[harvest.table_map\]\]\)"
    ):
        load_settings([], {"harvest": {"table_map": value, "since": 5}})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (CHAT | {"content": None}, "content is missing"),
        (CHAT | {"thread": None}, "thread is missing: which column says of which conversation a message is"),
        (CHAT | QA, "role and content (a message a row) exclude prompt and answer (an exchange a row)"),
        (CHAT | {"prompt": "p"}, "role and content (a message a row) exclude prompt and answer (an exchange a row)"),
        (
            QA | {"feedback": {"table": "v", "message": "m", "rating": "r"}},
            "id is missing: feedback names messages by it",
        ),
        (QA | {"threads": {"table": "t", "id": "i"}}, "thread is missing: threads are joined by it"),
        (QA | {"threads": "t"}, "threads must be a table such as { table = … }, not 't'"),
        (QA | {"roles": 1}, 'roles must be a table such as { human = "user" }, not 1'),
        (QA | {"ratings": 1}, "ratings must be a table such as { like = 1, dislike = -1 }, not 1"),
    ],
)
def test_what_a_map_cannot_do_without(given, problem):
    given = {key: value for key, value in given.items() if value is not None}
    assert problems(given) == [f"harvest.table_map {given['name']!r}: {problem}"]
