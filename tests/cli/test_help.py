import pytest

from lunar_tune.cli import COMMANDS, cli, help_pages, main


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_each_command_says(name):
    command = cli.get_command(None, name)
    assert command.name == name
    assert command.help.strip().splitlines()[0] == COMMANDS[name]


def test_every_command_has_a_page():
    names = [name for name, _ in help_pages()]
    assert [f"lunar-tune {name}" in names for name in COMMANDS] == [True] * len(COMMANDS)


def test_an_unknown_command_is_wrong_usage(capsys):
    assert main(["trian"]) == 2
    assert "No such command 'trian'" in capsys.readouterr().err
