from dataclasses import fields
from pathlib import Path

import pytest

from lunar_tune.errors import SettingsError
from lunar_tune.settings import Settings, load_settings


def test_files_then_flags(tmp_path):
    (tmp_path / "a.toml").write_text("[train]\nrank = 4\nepochs = 3\n")
    (tmp_path / "b.toml").write_text("[train]\nrank = 5\n")
    settings = load_settings(
        [tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "none.toml"], {"train": {"epochs": 1}}
    )
    assert (settings.train.rank, settings.train.epochs, settings.train.alpha) == (5, 1, 8.0)


def test_all_wrong_settings_are_told_at_once(tmp_path):
    path = tmp_path / "lunar.toml"
    path.write_text(
        '[train]\nlearning_rte = 1\nrank = "six"\nlayers = true\nbackend = "jax"\n'
        'modules = ["q_proj", "z"]\ndropout = 2\n'
        "[trian]\na = 1\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_settings([path])
    text = str(caught.value)
    assert len(caught.value.problems) == 7
    assert "did you mean 'learning_rate'" in text
    assert "did you mean 'train'" in text
    assert "a whole number, not 'six'" in text
    assert "one of auto, peft, mlx" in text
    assert "from 0 to 0.99" in text


def test_not_toml(tmp_path):
    (tmp_path / "lunar.toml").write_text("[train\n")
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings([tmp_path / "lunar.toml"])


def test_paths_are_relative_to_their_file(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "lunar.toml").write_text('[train]\nbase = "base"\n[harvest]\nlogs = ["/x/y.db", "org/repo"]\n')
    settings = load_settings([tmp_path / "lunar.toml"])
    assert Path(settings.train.base) == tmp_path / "base"
    assert settings.harvest.logs == ("/x/y.db", "org/repo")
    (tmp_path / "lunar.toml").write_text('[harvest]\ntools = ""\n')
    assert load_settings([tmp_path / "lunar.toml"]).harvest.tools == ""


def test_whole_numbers_are_numbers():
    assert load_settings([], {"train": {"alpha": 16}}).train.alpha == 16.0


def test_every_setting_has_a_help_line():
    for section in fields(Settings()):
        for item in fields(getattr(Settings(), section.name)):
            assert item.metadata["help"].endswith("."), item.name


def test_a_setting_without_a_flag_has_an_example():
    items = [item for section in fields(Settings()) for item in fields(getattr(Settings(), section.name))]
    assert [item.name for item in items if not item.metadata["flag"]] == ["table_map"]
    assert all(item.metadata["flag"] or item.metadata["example"] for item in items)
