"""A runtime that says what it was told to say: the fake at the seam, for unit tests only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lunar_tune.artefacts import Completion

Script = Sequence[str | Completion] | Callable[[Sequence[int]], str | Completion]


class ScriptedRuntime:
    """A `seams.Runtime` that answers from a list, in order, or by a function of the prompt's ids.

    `asked` keeps every prompt, `limits` the (max_tokens, stops) of every call.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[tuple[int, ...]] = []
        self.limits: list[tuple[int, tuple[str, ...]]] = []

    def complete(self, prompts: Sequence[Sequence[int]], *, max_tokens: int, stops: Sequence[str]) -> list[Completion]:
        """Return the next answers of the script.

        Raises:
            IndexError: the list is used up.
        """
        self.limits.append((max_tokens, tuple(stops)))
        answers = []
        for prompt in prompts:
            said = self._script(prompt) if callable(self._script) else self._script[len(self.asked)]
            self.asked.append(tuple(prompt))
            answers.append(said if isinstance(said, Completion) else Completion(said))
        return answers
