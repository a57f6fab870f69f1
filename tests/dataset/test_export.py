"""The shapes of the exports, without the consumers: weights, ids, arguments, recipes, and what has no place in them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lunar_tune.artefacts import Dataset
from lunar_tune.cli import main
from lunar_tune.dataset.export import consumers, export_dataset
from lunar_tune.dataset.export.recipe import recipe, yaml_text
from lunar_tune.dataset.export.shape import with_ids
from lunar_tune.errors import UsageError
from lunar_tune.files import finish_artefact, read_jsonl, write_jsonl
from lunar_tune.prompts.jinja import pieces
from lunar_tune.settings import PromptSettings, Settings, TrainSettings

ROOT = Path(__file__).parents[2]
NANO = str(ROOT / "fixtures/nano")
SETTINGS = Settings(train=TrainSettings(base=NANO, layers=2, learning_rate=1e-5, quantize_base="4bit", max_steps=70))
ONE_ANSWER_A_ROW = ("trl", "unsloth", "mlx-lm", "llama-factory")


def tool(name, **properties):
    parameters = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [tool("get_weather", city="string"), tool("add", a="number", b="number")]


def call(name, id_=None, **arguments):
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": id_, **made} if id_ else made


def user(text):
    return {"role": "user", "content": text}


def said(text, *calls, weight=1):
    message = {"role": "assistant", "content": text}
    return {**message, **({"tool_calls": list(calls)} if calls else {}), "weight": weight}


def result(text, id_=None):
    return {"role": "tool", "content": text, **({"tool_call_id": id_} if id_ else {}), "name": "get_weather"}


def row(number, *messages, tools=TOOLS):
    system = {"role": "system", "content": "You are Lunar."}
    meta = {"source": "lunar", "thread": f"t{number}", "group": "", "model": None}
    return {"id": f"ep-{number}", "date": "2026-09-13", "messages": [system, *messages], "tools": tools, "meta": meta}


ROWS = [
    row(0, user("Oslo?"), said("", call("get_weather", "a", city="Oslo")), result('{"c":3}', "a"), said("3 degrees.")),
    row(
        1, user("Hi"), said("No.", weight=0), user("Hi!"), said("Hello."), user("1+2?"), said("", call("add", a=1, b=2))
    ),
    row(
        2,
        user("Rome and Oslo?"),
        said("", call("get_weather", city="Rome"), call("get_weather", city="Oslo")),
        result("20"),
        result("3"),
        said("20 and 3.", weight=0),
    ),
    row(3, user("Good night"), said("Sleep well."), tools=[]),
]
LEARNT = 6  # answers of weight 1


@pytest.fixture
def dataset(tmp_path):
    return made(tmp_path, ROWS)


def made(folder, rows, held_out=None):
    work = folder / "work"
    work.mkdir()
    counts = {"train": write_jsonl(work / "train.jsonl", rows)}
    for split in ("valid", "test"):
        usual = [row(f"{split}-0", user("Hey"), said("Hey you."))]
        counts[split] = write_jsonl(work / f"{split}.jsonl", held_out if held_out and split == "test" else usual)
    write_jsonl(work / "dropped.jsonl", [])
    path = finish_artefact(work, folder / "home/datasets/ds-1", {"kind": "dataset", "id": "ds-1", "counts": counts})
    return Dataset("ds-1", path, counts, {"counts": counts})


def exported(dataset, name, tmp_path, settings=SETTINGS):
    done = export_dataset(dataset, name, settings, tmp_path / name)
    return done, list(read_jsonl(done.path / "train.jsonl"))


@pytest.mark.parametrize("name", consumers())
def test_every_answer_to_learn_survives_and_the_readme_says_what_does_not(dataset, tmp_path, name):
    done, rows = exported(dataset, name, tmp_path)
    assert done.turns["train"] == LEARNT
    assert len(rows) == done.rows["train"]
    readme = (done.path / "README.md").read_text(encoding="utf-8")
    assert all(note in readme for note in done.notes)
    assert f"| train.jsonl | {len(rows)} | {LEARNT} |" in readme
    assert json.loads((done.path / "export.json").read_text(encoding="utf-8"))["turns_to_learn"]["train"] == LEARNT


@pytest.mark.parametrize("name", consumers())
def test_held_out_rows_are_in_no_file_that_is_trained_on(dataset, tmp_path, name):
    done, _ = exported(dataset, name, tmp_path)
    for split, file in done.files.items():
        text = (done.path / file).read_text(encoding="utf-8")
        assert ("Hey you." in text) == (split != "train")
    assert ("test" in done.files) == (name == "mlx-lm")
    assert done.files.get("test", "test.jsonl") == "test.jsonl"
    assert any("1 of test" in note for note in done.notes) == (name != "mlx-lm")


@pytest.mark.parametrize("name", ONE_ANSWER_A_ROW)
def test_one_answer_a_row_never_ends_in_context(dataset, tmp_path, name):
    _, rows = exported(dataset, name, tmp_path)
    last = [json.dumps(list(r.get("completion", ()) or r.get("messages", ()) or r["conversations"])[-1]) for r in rows]
    assert len(rows) == LEARNT
    assert not [text for text in last if "No." in text or "20 and 3." in text]
    assert any("No." in json.dumps(r) for r in rows)  # it is still what was said before


@pytest.mark.parametrize(("trained", "heads"), [("Brief.", ["Brief."]), ("", [])])
def test_held_out_rows_have_the_prompt_that_was_trained_with(tmp_path, trained, heads):
    named = [{**one, "meta": {**one["meta"], "system": trained}} for one in ROWS]
    done = export_dataset(made(tmp_path, ROWS, named), "mlx-lm", SETTINGS, tmp_path / "out")
    for one in read_jsonl(done.path / "test.jsonl"):
        assert [m["content"] for m in one["messages"] if m["role"] == "system"] == heads
        assert one["messages"][0]["date_string"] == "13 Sep 2026"
    assert next(read_jsonl(done.path / "train.jsonl"))["messages"][0]["content"] == "You are Lunar."


def test_trl_rows_are_the_prompt_of_our_own_template(dataset, tmp_path):
    from lunar_tune.prompts import load_prompt

    done, rows = exported(dataset, "trl", tmp_path)
    template = (done.path / "chat_template.jinja").read_text(encoding="utf-8")
    first = rows[0]
    assert first["chat_template_kwargs"] == {"date_string": "13 Sep 2026"}
    assert first["completion"][0]["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    variables = {"messages": first["prompt"], "tools": first["tools"], "bos_token": "<|begin_of_text|>"}
    text = "".join(pieces(template, variables | first["chat_template_kwargs"] | {"add_generation_prompt": True}))
    assert text == load_prompt(PromptSettings()).text(ROWS[0]["messages"][:2], TOOLS, "2026-09-13")
    header = yaml.safe_load((done.path / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert [column["name"] for column in header["dataset_info"]["features"]] == list(first)


@pytest.mark.parametrize("name", ["mlx-lm", "axolotl"])
def test_a_row_brings_its_own_date_where_the_trainer_has_none(dataset, tmp_path, name):
    done, rows = exported(dataset, name, tmp_path)
    template = (done.path / "chat_template.jinja").read_text(encoding="utf-8")
    text = "".join(pieces(template, {"messages": rows[0]["messages"], "tools": None, "bos_token": ""}))
    assert "Today Date: 13 Sep 2026" in text
    undated = [{k: v for k, v in message.items() if k != "date_string"} for message in rows[0]["messages"]]
    assert "13 Sep 2026" not in "".join(pieces(template, {"messages": undated, "tools": None, "bos_token": ""}))


def test_axolotl_marks_every_message_and_keeps_arguments_as_text(dataset, tmp_path):
    _, rows = exported(dataset, "axolotl", tmp_path)
    assert [m["training"] for m in rows[1]["messages"]] == [False, False, False, False, True, False, True]
    arguments = rows[1]["messages"][-1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"a": 1, "b": 2}
    assert json.loads(rows[0]["tools"]) == TOOLS
    assert len({type(r["tools"]) for r in rows}) == 1


def test_llama_factory_turns_take_turns(dataset, tmp_path):
    done, rows = exported(dataset, "llama-factory", tmp_path)
    for made_row in rows:
        who = [turn["from"] for turn in made_row["conversations"]]
        assert set(who[0::2]) <= {"human", "observation"}
        assert set(who[1::2]) <= {"gpt", "function_call"}
        assert len(who) % 2 == 0
    assert json.loads(rows[0]["conversations"][1]["value"]) == [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
    assert rows[-1]["tools"] == ""
    info = json.loads((done.path / "dataset_info.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((done.path / "train.yaml").read_text(encoding="utf-8"))
    assert {info[config["dataset"]]["file_name"], info[config["eval_dataset"]]["file_name"]} == set(done.files.values())
    assert config["mask_history"] is True


def test_llama_factory_says_what_its_turns_cannot_hold(tmp_path):
    beside = row(0, user("Oslo?"), said("One moment.", call("add", "a", a=1)), result("3", "a"), said("3 degrees."))
    late = row(1, user("Hi"), said("Hello."), {"role": "system", "content": "Be brief."}, user("So?"), said("So."))
    done, rows = exported(made(tmp_path, [beside, late]), "llama-factory", tmp_path)
    assert [r["conversations"][-1]["value"] for r in rows] == ["3 degrees.", "Hello."]
    told = " ".join(done.unsaid)
    assert sorted(done.unsaid.values()) == [1, 1, 1]
    assert "text beside a call" in told
    assert "system message in the middle" in told


@pytest.mark.parametrize("name", ["openai", "together"])
def test_services_get_weights_text_arguments_and_ids_that_pair(dataset, tmp_path, name):
    _, rows = exported(dataset, name, tmp_path)
    assert len(rows) == len(ROWS)
    for made_row in rows:
        assert set(made_row) <= {"messages", "tools"}
        assert made_row.get("tools") != []
        asked = [c["id"] for m in made_row["messages"] for c in m.get("tool_calls", ())]
        answered = [m["tool_call_id"] for m in made_row["messages"] if m["role"] == "tool"]
        assert answered == asked[: len(answered)]
        assert len(set(asked)) == len(asked)
        for message in made_row["messages"]:
            assert all(isinstance(c["function"]["arguments"], str) for c in message.get("tool_calls", ()))
            weighted = message["role"] == "assistant" or name == "together"
            assert ("weight" in message) == weighted
            assert message["role"] == "assistant" or message.get("weight", 0) == 0
        assert made_row["messages"][-1]["weight"] == 1
    assert [m["weight"] for m in rows[1]["messages"] if m["role"] == "assistant"] == [0, 1, 1]


def test_rows_that_a_service_refuses_are_left_out_and_counted(tmp_path):
    odd = row(0, user("Hi"), said("", call("mail.send", "a", to="x")), result("ok", "a"), said("Sent."))
    lost = row(1, user("Hi"), said("", call("add", "a", a=1)), user("And?"), said("Sorry."))
    stray = row(2, user("Hi"), result("ok", "z"), said("Sent."))
    done, rows = exported(made(tmp_path, [odd, lost, stray, ROWS[3]]), "openai", tmp_path)
    assert len(rows) == 1
    by_words = {what.split(",")[0]: number for what, number in done.unsaid.items()}
    assert by_words["rows with a tool whose name is not 1 to 64 of a-z"] == 1
    assert by_words["rows in which a call has no result right after it"] == 2
    assert by_words["rows for training"] == 1


def test_ids_are_given_and_paired_in_order():
    messages = [said("", call("add", a=1), call("add", "x", a=2)), result("2", "x"), result("1")]
    paired = with_ids(messages)
    given = paired[0]["tool_calls"][0]["id"]
    assert [m["tool_call_id"] for m in paired[1:]] == ["x", given]
    assert with_ids([said("", call("add", "x", a=1), call("add", "x", a=2))]) is None
    assert with_ids([result("3", "y")]) is None


def test_what_the_prompt_cannot_write_is_context_here_too(tmp_path):
    pi = row(0, user("Pi?"), said("", call("add", "a", a=3.14159265, b=1)), result("ok", "a"), said("Done."))
    done, rows = exported(made(tmp_path, [pi]), "trl", tmp_path)
    assert [r["completion"][0]["content"] for r in rows] == ["Done."]
    assert list(done.unsaid.values()) == [1]


def test_the_meta_style_is_exported_in_its_own_shape(dataset, tmp_path):
    settings = replace(SETTINGS, prompt=PromptSettings(style="meta"))
    _, rows = exported(dataset, "trl", tmp_path, settings)
    assert all(len(r["completion"][0].get("tool_calls", ())) <= 1 for r in rows)
    assert len(rows) == LEARNT + 1  # two calls in a turn are two answers in this style


def neutral_axolotl(config):
    layers = config.get("peft_layers_to_transform") or []
    return {
        "base": config["base_model"],
        "rank": config["lora_r"],
        "alpha": config["lora_alpha"],
        "dropout": config["lora_dropout"],
        "adapted": {(n, m) for n in layers for m in config["lora_target_modules"]}
        or {(None, m) for m in config["lora_target_modules"]},
        "four_bit": config["load_in_4bit"] and config["adapter"] == "qlora",
        "learning_rate": config["learning_rate"],
        "schedule": config["lr_scheduler"],
        "warmup": config["warmup_ratio"],
        "batch": (config["micro_batch_size"], config["gradient_accumulation_steps"]),
        "epochs": config["num_epochs"],
        "steps": config.get("max_steps", 0),
        "window": config["sequence_len"],
        "clip": config["max_grad_norm"],
        **{key: config[key] for key in ("weight_decay", "bf16", "seed", "eval_steps", "save_steps")},
        "optimizer": config["optimizer"],
    }


def neutral_llama_factory(config):
    names = [name.split(".") for name in config["lora_target"].split(",")]
    return {
        "base": config["model_name_or_path"],
        "rank": config["lora_rank"],
        "alpha": config["lora_alpha"],
        "dropout": config["lora_dropout"],
        "adapted": {(int(parts[1]) if len(parts) > 1 else None, parts[-1]) for parts in names},
        "four_bit": config.get("quantization_bit") == 4,
        "learning_rate": config["learning_rate"],
        "schedule": config["lr_scheduler_type"],
        "warmup": config["warmup_ratio"],
        "batch": (config["per_device_train_batch_size"], config["gradient_accumulation_steps"]),
        "epochs": config["num_train_epochs"],
        "steps": config.get("max_steps", 0),
        "window": config["cutoff_len"],
        "clip": config["max_grad_norm"],
        **{key: config[key] for key in ("weight_decay", "bf16", "seed", "eval_steps", "save_steps")},
        "optimizer": config["optim"],
    }


@pytest.mark.parametrize(
    "train",
    [
        SETTINGS.train,
        TrainSettings(base=NANO, layers=0, alpha=32.0, rank=16, dropout=0.0, precision="bfloat16", clip=0.0),
        TrainSettings(base=NANO, layers=3, modules=("q_proj", "down_proj"), learning_rate=3e-3, seed=7, batch=4),
        TrainSettings(base="nobody/none", layers=12, epochs=5, accumulation=2, warmup=0.0, weight_decay=0.01),
    ],
    ids=["4 bit", "all layers", "few modules", "a base that is not here"],
)
def test_axolotl_and_llama_factory_name_the_recipe_of_the_workspace(dataset, tmp_path, train):
    settings = replace(SETTINGS, train=train)
    axolotl, _ = exported(dataset, "axolotl", tmp_path, settings)
    factory, _ = exported(dataset, "llama-factory", tmp_path, settings)
    ours = neutral_axolotl(yaml.safe_load((axolotl.path / "axolotl.yaml").read_text(encoding="utf-8")))
    theirs = neutral_llama_factory(yaml.safe_load((factory.path / "train.yaml").read_text(encoding="utf-8")))
    assert ours == theirs
    here = train.base == NANO
    layers = range(4 - train.layers, 4) if here and train.layers else [None]
    assert ours == {
        "base": train.base,
        "rank": train.rank,
        "alpha": train.alpha,
        "dropout": train.dropout,
        "adapted": {(n, m) for n in layers for m in train.modules},
        "four_bit": train.quantize_base == "4bit",
        "learning_rate": train.learning_rate,
        "schedule": "cosine",
        "warmup": train.warmup,
        "batch": (train.batch, train.accumulation),
        "epochs": train.epochs,
        "steps": train.max_steps,
        "window": settings.dataset.window,
        "clip": train.clip,
        "weight_decay": train.weight_decay,
        "bf16": train.precision == "bfloat16",
        "seed": train.seed,
        "eval_steps": train.evaluate_every,
        "save_steps": train.save_every,
        "optimizer": "adamw_torch",
    }
    assert any("train.layers" in note for note in axolotl.notes) == (not here)


@pytest.mark.parametrize("name", ["trl", "mlx-lm"])
def test_the_other_configs_name_it_too(dataset, tmp_path, name):
    done, _ = exported(dataset, name, tmp_path)
    file = {"trl": "sft.yaml", "mlx-lm": "lora.yaml"}[name]
    config = yaml.safe_load((done.path / file).read_text(encoding="utf-8"))
    assert config["learning_rate"] == 1e-5
    if name == "trl":
        assert (config["lora_r"], config["lora_alpha"], len(config["lora_target_modules"])) == (6, 8, 6)
    else:
        scale = config["lora_parameters"]["scale"]
        assert (config["lora_parameters"]["rank"], scale, config["num_layers"]) == (6, 8 / 6, 2)


@pytest.mark.parametrize("value", [1e-5, 3e-3, 7.5e-05, 1e-20, 1e16, 0.1, 2.0, -1e-7])
def test_yaml_reads_a_float_as_a_float(value):
    assert yaml.safe_load(yaml_text({"value": value, "nested": {"a": [value]}}, "")) == {
        "value": value,
        "nested": {"a": [value]},
    }


def test_the_recipe_of_a_base_that_is_not_here_says_so():
    unknown = recipe(Settings(train=TrainSettings(base="nobody/none", layers=12)))
    assert unknown.layers == ()
    assert "12" in unknown.unknown[0]
    assert recipe(Settings(train=TrainSettings(base="nobody/none", layers=0))).unknown == ()


def test_a_folder_of_something_else_is_left_alone(dataset, tmp_path):
    kept = tmp_path / "trl"
    kept.mkdir()
    (kept / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no export"):
        exported(dataset, "trl", tmp_path)
    assert [path.name for path in kept.iterdir()] == ["thesis.txt"]


def test_an_export_is_written_again_and_what_a_trainer_put_there_stays(dataset, tmp_path):
    done, rows = exported(dataset, "axolotl", tmp_path)
    (done.path / "out").mkdir()
    (done.path / "out/adapter").write_text("hours of work")
    again, same = exported(dataset, "axolotl", tmp_path)
    assert same == rows
    assert (again.path / "out/adapter").read_text() == "hours of work"


def test_the_command(dataset, tmp_path, capsys):
    home = dataset.path.parents[1]
    code = main(["--home", str(home), "dataset", "export", "--for", "openai", "--out", str(tmp_path / "o"), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    document = json.loads(captured.out)
    assert document["rows"] == {"train": len(ROWS), "valid": 1}
    assert document["no_place_for"]
    assert main(["--home", str(home), "dataset", "export", "--for", "openai", "--out", str(tmp_path / "o")]) == 0
    assert "no place for: " in capsys.readouterr().out
    assert main(["--home", str(home), "dataset", "export", "--for", "nobody"]) == 2
    assert "llama-factory" in capsys.readouterr().err
    assert main(["--home", str(home), "dataset", "export", "--for", "trl", "ds-none"]) == 1
    assert "No dataset 'ds-none'" in capsys.readouterr().err
