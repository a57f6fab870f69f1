"""Presets are complete recipes with reasons, and what somebody set wins over them."""

import json
import typing
from dataclasses import fields

import pytest

from lunar_tune.cli import main
from lunar_tune.errors import SettingsError
from lunar_tune.presets import changed, preset_values, presets
from lunar_tune.settings import TrainSettings, load_settings


def train(files=(), **flags):
    return load_settings(list(files), {"train": flags} if flags else None).train


def test_every_value_of_every_preset_is_a_setting_and_has_a_reason():
    names = {field.name for field in fields(TrainSettings)}
    assert tuple(presets()) == typing.get_args(typing.get_type_hints(TrainSettings)["preset"])
    settings = {frozenset(preset.settings) for preset in presets().values()}
    assert len(settings) == 1  # the same ones in each, or going from one to another would leave something behind
    assert settings.pop() <= names - {"preset", "base", "backend", "seed"}
    for name, preset in presets().items():
        assert preset.about.endswith(".")
        assert all(len(said.reason) > 5 for said in preset.settings.values())
        made = train(preset=name)  # every value is of its type and in its range
        assert {key: getattr(made, key) for key in preset.settings} == preset_values(name)


def test_the_default_is_gentle():
    gentle = preset_values("gentle")
    assert {key: getattr(TrainSettings(), key) for key in gentle} == gentle
    assert train() == train(preset="gentle")
    assert (gentle["rank"], gentle["alpha"], gentle["dropout"], gentle["epochs"]) == (6, 8.0, 0.1, 2)
    assert (gentle["batch"], gentle["accumulation"], gentle["evaluate_every"]) == (1, 8, 50)


def test_saga_is_mlx_lms_run_in_our_terms():
    saga = train(preset="saga")
    assert (saga.learning_rate, saga.alpha / saga.rank, saga.adapted(28)) == (5e-6, 20.0, 12)
    gentle = train()
    ours, theirs = gentle.learning_rate * gentle.alpha / gentle.rank, saga.learning_rate * 20
    assert ours == pytest.approx(theirs)  # AdamW moves B by its rate, whatever the gradient's size


def test_what_is_set_wins_wherever_it_is_set(tmp_path):
    (tmp_path / "a.toml").write_text("[train]\nrank = 4\n")
    (tmp_path / "b.toml").write_text('[train]\npreset = "balanced"\nepochs = 7\n')
    files = [tmp_path / "a.toml", tmp_path / "b.toml"]
    made = train(files, dropout=0.3)
    assert (made.rank, made.epochs, made.dropout, made.alpha) == (4, 7, 0.3, 20.0)
    assert sorted(changed(made)) == ["dropout", "epochs", "rank"]
    bold = train(files, preset="bold")  # the last one named, under all that is set
    assert (bold.preset, bold.rank, bold.epochs, bold.alpha) == ("bold", 4, 7, 32.0)
    assert changed(train(preset="saga")) == []


@pytest.mark.parametrize("preset", ["brave", 3, ["bold"]])
def test_an_unknown_preset_is_wrong(preset):
    with pytest.raises(SettingsError, match=r"train\.preset must be one of gentle, saga, balanced, bold"):
        train(preset=preset)


@pytest.mark.parametrize(
    ("layers", "total", "adapted"),
    [(0.43, 28, 12), (0.43, 16, 7), (0.43, 4, 2), (0.43, 1, 1), (0.01, 28, 1), (12, 28, 12), (12, 4, 4), (0, 28, 28)],
)
def test_layers_are_a_share_or_a_number(layers, total, adapted):
    assert train(layers=layers).adapted(total) == adapted


def test_layers_are_no_number_and_a_half():
    with pytest.raises(SettingsError, match=r"train\.layers must be a share below 1 or a whole number, not 1\.5"):
        train(layers=1.5)


def test_presets_are_printed_with_reasons(tmp_path, capsys):
    assert main(["--home", str(tmp_path), "train", "--presets"]) == 0
    printed = capsys.readouterr().out
    for name, preset in presets().items():
        assert f"{name}: {preset.about}" in printed
    assert "mlx-lm does not stop early" in printed
    assert main(["--home", str(tmp_path), "train", "--presets", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bold"]["settings"]["rank"] == {"value": 16, "reason": "room for more tools and formats"}
