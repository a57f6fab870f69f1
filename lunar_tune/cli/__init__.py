"""The command line: this file assembles; each command is a file of its own, its work imported in its body."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import click

from lunar_tune import __version__
from lunar_tune.errors import DiskFull, LunarError

INTERRUPTED = 130
# Each command and the first line of its help, so that `--help` imports none of them; a test compares.
COMMANDS = {
    "harvest": "Read agent logs, curate them and write a dataset.",
    "episodes": "Print the canonical episodes of logs as JSONL, unredacted.",
    "dataset": "Look at a dataset.",
    "review": "Page through a dataset, kept and dropped, with reasons; keep, drop or edit turns.",
    "advise": "Say whether to prompt, retrieve or fine-tune, with the evidence.",
    "train": "Train a LoRA adapter on a dataset, or go on with a stopped run.",
    "watch": "Draw the curves of a training run, and follow it while it goes on.",
    "export": "Fuse an adapter into its base; write GGUF and Modelfile.",
    "modelfile": "Print the Modelfile of a version, the newest unless named.",
    "evaluate": "Judge a version beside its base and the version in use.",
    "deploy": "Put a version into the registry without making it current.",
    "promote": "Make VERSION the one that the agent's next request meets.",
    "rollback": "Go back to the version that was current before.",
    "versions": "List the versions, newest first, and which one is current.",
    "serve": "Answer OpenAI-compatible requests with the current version.",
    "nightly": "Run the whole loop once and promote only what is better.",
    "sources": "Say which logs are here, what each holds, lacks and needs.",
    "forget": "Remove conversations from the workspace for good, and never read them again.",
    "runs": "List what ran in this workspace, newest first.",
    "doctor": "Check libraries, base model, disk, memory and registry.",
    "init": "Write a settings file that names every setting in a comment.",
}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the way."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None for a name that is none."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lunar-tune")
@click.option("--home", type=click.Path(path_type=Path), envvar="LUNAR_TUNE_HOME", help="Workspace folder.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file instead of ./lunar.toml.")
@click.option("--set", "values", multiple=True, metavar="SECTION.KEY=VALUE", help="One setting, over every file.")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, config: Path | None, values: tuple[str, ...]) -> None:
    """Turn an agent's own logs into a better model of that agent, and never a worse one.

    \b
    Example:
      lunar-tune harvest ~/lunar/logs.db
      lunar-tune nightly
    """
    from lunar_tune.cli.options import Context

    ctx.obj = Context(home or default_home(), config, values)


def default_home() -> Path:
    """Return the platform's user data folder for this program."""
    from platformdirs import user_data_path

    return user_data_path("lunar-tune", appauthor=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1, 2, 3 or 130; a bug keeps its traceback."""
    try:
        result = cli.main(args=arguments, prog_name="lunar-tune", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LunarError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Finished work is kept; the same command goes on from there.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing is left to tell it
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = DiskFull(Path(error.filename or Path.cwd()))
        click.echo(f"Error: {full.message}\n{full.hint}", err=True)
        return full.exit_code


def run() -> None:
    """Entry point of the `lunar-tune` program."""
    sys.exit(main())


def help_pages() -> list[tuple[str, str]]:
    """Return (command, help text) of the program and of every command, for the README."""
    pages: list[tuple[str, str]] = []
    _collect(cli, "lunar-tune", None, pages)
    return pages


def _collect(command: click.Command, name: str, parent: click.Context | None, pages: list[tuple[str, str]]) -> None:
    context = click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, max_content_width=100, terminal_width=100
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    pages.append((name, text + "\n"))
    if isinstance(command, click.Group):
        for key in sorted(command.list_commands(context)):
            inner = command.get_command(context, key)
            if inner is not None:
                _collect(inner, f"{name} {key}", context, pages)
