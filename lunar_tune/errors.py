"""Every error a user can meet, each written by its own class.

LunarError                       exit 1
├── UsageError                   exit 2: a flag or a setting that does not exist or does not fit
│   └── SettingsError            all wrong settings at once
├── RefusedError                 exit 3: the gate said no, or too few examples
│   └── TooFewExamples
├── SourceError                  a log that cannot be read
│   ├── SourceMissing · SourceLocked · NotSqlite · LogEncrypted · UnknownSchema · UnknownFiles · EmptyLog
├── WorkspaceError               the workspace itself
│   ├── WorkspaceBusy · DiskFull · ArtefactMissing · RunMissing · ArtefactBroken · EpisodesBroken
├── BaseError                    a base model that cannot be used
│   ├── BaseMissing · BaseNotExportable
├── BooksUnbalanced              curation lost count of turns: a step breaks its contract
├── MissingExtra                 a library that is not installed
├── TrainingError                training could not start or go on
│   └── DoesNotFit · OutOfMemory
├── RuntimeFailure               llama.cpp or a worker did not answer
├── ExportError                  weights that could not be written faithfully
└── RegistryError                the place a model is deployed to
    └── OllamaDown · VersionMissing

`message` says what happened and to what; `hint` is the command or step that helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TABLES_SHOWN = 20


class LunarError(Exception):
    """What happened, to what, and the command that helps."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(LunarError):
    """A call that cannot be understood."""

    exit_code = 2


class SettingsError(UsageError):
    """Every wrong setting at once, before any work."""

    def __init__(self, problems: Sequence[str], origin: str) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(
            f"{len(problems)} wrong setting(s) in {origin}:\n{listed}", "`lunar-tune init --show` prints every setting."
        )
        self.problems = tuple(problems)


class RefusedError(LunarError):
    """The program could go on and will not."""

    exit_code = 3


class TooFewExamples(RefusedError):
    """Fewer distinct tasks than fine-tuning can use."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(
            f"{found} usable distinct tasks to train on; fine-tuning needs at least {needed}.",
            "Collect more conversations first (`lunar-tune advise` says what these are good for, `lunar-tune dataset "
            "show` why rows were left out), or pass --force to train anyway.",
        )


class SourceError(LunarError):
    """A log that cannot be read."""


class SourceMissing(SourceError):
    """No file at the path."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"No log at {str(path)!r}.", "`lunar-tune sources` lists the logs found on this machine.")


class SourceLocked(SourceError):
    """Another program holds the database."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"The log {str(path)!r} is locked by another program ({detail}).",
            "Nothing was changed. Run the same command again once the agent has finished writing.",
        )


class NotSqlite(SourceError):
    """The file is something else."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{str(path)!r} is not a readable SQLite database ({detail}).",
            "Pass the agent's database file; `lunar-tune sources` lists the logs found on this machine.",
        )


class LogEncrypted(SourceError):
    """A database whose key only the agent has."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{str(path)!r} seems to be encrypted (SQLCipher and its kin), and is not read.",
            "Only the agent has the key: export a plain copy with the agent's own tools and pass that.",
        )


class UnknownSchema(SourceError):
    """A database whose tables no reader recognises.

    Args:
        suggestion: TOML that would map its tables, "" where none looks like a conversation's.
        misfits: why each table map of the settings does not fit.
    """

    def __init__(
        self,
        path: Path,
        tables: Sequence[str],
        readers: Sequence[str],
        suggestion: str = "",
        misfits: Sequence[str] = (),
    ) -> None:
        shown = [repr(table) for table in tables if not table.startswith("sqlite_")]
        more = f" and {len(shown) - TABLES_SHOWN} more" if len(shown) > TABLES_SHOWN else ""
        seen = ", ".join(shown[:TABLES_SHOWN]) + more or "no tables"
        told = [f"No reader recognises {str(path)!r}; its tables: {seen}.", *misfits]
        hint = f"Readers here: {', '.join(readers)}. A plugin can add one (hook `register_sources`)."
        if suggestion:
            hint += (
                "\nTo read its tables, add the lines below to lunar.toml in the workspace (`lunar-tune init` says "
                f"where it is and makes it if need be), look them over and run the command again:\n\n{suggestion}\n"
            )
        super().__init__("\n".join(told), hint)
        self.suggestion = suggestion


class UnknownFiles(SourceError):
    """A file or folder of files that no reader recognises."""

    def __init__(self, path: Path, readers: Sequence[str]) -> None:
        super().__init__(
            f"No reader of files recognises {str(path)!r}.",
            f"Readers of files here: {', '.join(readers)}. For a database pass its file, not its folder.",
        )


class EmptyLog(SourceError):
    """A log with nothing in it."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(
            f"No conversation in {', '.join(repr(path) for path in paths)}.",
            "Talk to the agent first, then run `lunar-tune harvest` again.",
        )


class WorkspaceError(LunarError):
    """Something is wrong with the workspace."""


class WorkspaceBusy(WorkspaceError):
    """Another run holds the workspace's lock."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"Another run is using the workspace ({holder}; lock {str(path)!r}).", "Wait for it to end, then run again."
        )


class DiskFull(WorkspaceError):
    """Not enough room, before or while writing."""

    def __init__(self, path: Path, needed: int | None = None, free: int | None = None) -> None:
        told = [(needed, "needed"), (free, "free")]
        figures = ", ".join(f"{size / 1e6:.0f} MB {what}" for size, what in told if size is not None)
        super().__init__(
            f"The disk that holds {str(path)!r} is full{': ' + figures if figures else ''}.",
            "Free some space and run the same command again; finished work is kept.",
        )


class ArtefactMissing(WorkspaceError):
    """A step's input does not exist yet."""

    def __init__(self, kind: str, name: str, command: str) -> None:
        super().__init__(
            f"No {kind} {name!r} in this workspace." if name else f"No {kind} in this workspace yet.",
            f"Run `{command}` first.",
        )


class RunMissing(WorkspaceError):
    """No training run of that name, finished or not."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known)
        super().__init__(
            f"No training run {name!r} in this workspace." if name else "No training run in this workspace yet.",
            f"Runs here, newest first: {listed}." if listed else "Run `lunar-tune train` first.",
        )


class ArtefactBroken(WorkspaceError):
    """A finished artefact whose files are not what its manifest says."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"The artefact {str(path)!r} is damaged: {detail}.",
            "Delete that folder and run the command again; it will be made anew.",
        )


class EpisodesBroken(WorkspaceError):
    """The kept episodes cannot be read."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"The kept episodes {str(path)!r} are damaged: {detail}.",
            "Move the file away: the next harvest reads the logs anew. What was forgotten must be forgotten again.",
        )


class BaseError(LunarError):
    """A base model that cannot be used."""


class BaseMissing(BaseError):
    """No such base on this machine, and none could be fetched."""

    def __init__(self, base: str, detail: str = "") -> None:
        super().__init__(
            f"The base model {base!r} was not found{': ' + detail if detail else ''}.",
            "Pass a folder that holds config.json, tokenizer.json and *.safetensors, or a Hugging Face repository "
            "you have access to (`hf auth login` for gated ones), with --base.",
        )


class BaseNotExportable(BaseError):
    """A base that could be trained but not shipped; said before training."""

    def __init__(self, base: str, reasons: Sequence[str]) -> None:
        super().__init__(
            f"The base model {base!r} cannot be exported to GGUF: {'; '.join(reasons)}.",
            "Choose a full-precision Llama 3, Mistral or Qwen base with --base; nothing was trained.",
        )


class BooksUnbalanced(LunarError):
    """Turns read are not turns kept plus turns left out; no dataset is written from such a count."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The books of curation do not balance: {detail}.",
            "A curation step of a plugin breaks its contract (README, plugins): run again without it. "
            "Without plugins this is a fault of lunar-tune; please report it.",
        )


class MissingExtra(LunarError):
    """An optional library is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs {package!r}, which is not installed.", f"pip install 'lunar-tune[{extra}]'")


class TrainingError(LunarError):
    """Training could not start or go on."""


class DoesNotFit(TrainingError):
    """No plan fits what is free; said before training."""

    def __init__(self, needed: int, free: int, margin: float, cures: Sequence[str]) -> None:
        super().__init__(
            f"Training needs about {needed / 1e9:.1f} GB at its leanest and {margin:.0%} to spare; "
            f"{free / 1e9:.1f} GB are free.",
            f"What helps: {'; '.join(cures)}. The window is never lowered in silence.",
        )


class OutOfMemory(TrainingError):
    """Memory ran out while training."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            "With SIGKILL a system without memory ends a process. Lower dataset.window, set train.quantize_base = "
            '"4bit", take a smaller --base or close other programs; `lunar-tune train --plan` says what is needed.',
        )


class RuntimeFailure(LunarError):
    """A model process did not answer."""


class ExportError(LunarError):
    """Weights that could not be written faithfully."""


class RegistryError(LunarError):
    """The place a model is deployed to said no."""


class OllamaDown(RegistryError):
    """No Ollama answers."""

    def __init__(self, host: str) -> None:
        super().__init__(f"No Ollama answers at {host}.", "Start it with `ollama serve`, or use --registry local.")


class VersionMissing(RegistryError):
    """A version that the registry does not hold."""

    def __init__(self, version: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"No version {version!r} here (known: {listed}).", "`lunar-tune versions` lists them.")
