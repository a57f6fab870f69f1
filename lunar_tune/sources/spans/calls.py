"""One model call recorded as a span, whatever convention its attributes follow.

`exchange` takes a span and returns what the model was given and what it said. Conventions are asked from the most to
the least faithful: OpenTelemetry GenAI (`gen_ai.*` with parts), OpenInference (`llm.input_messages`), the flattened and
the event forms that came before, and last the bodies of request and answer as the client's library had them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lunar_tune.episodes import Message, ToolSpec
from lunar_tune.sources.core import cells
from lunar_tune.sources.spans.attributes import Span, at, tree
from lunar_tune.sources.spans.bodies import choice, declared, delta, streamed, unfolded
from lunar_tune.sources.spans.messages import Messages
from lunar_tune.sources.spans.shapes import REDACTED, decoded, ended, listed

EVENT_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a model was given and what it said, the prompt at the start apart."""

    span: Span
    given: tuple[Message, ...]
    said: tuple[Message, ...]
    system: str | None = None
    model: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    answer_id: str | None = None  # OpenAI's servers keep a conversation: a request may name the answer it goes on from
    follows: str | None = None
    lost: tuple[str, ...] = ()

    @property
    def history(self) -> tuple[Message, ...]:
        """What was said up to and with this call."""
        return (*self.given, *self.said)


def exchange(span: Span, *, strict: bool = False) -> Exchange | None:
    """Return the exchange that a span holds, None when it holds no message.

    `strict` is for spans that are no model calls: only lists of messages count then, and no bare text.
    """
    call = _Call(span)
    call.gen_ai()
    call.openinference()
    call.flattened()
    call.told_by_events()
    call.bodies(strict)
    return call.exchange()


class _Call:
    """An exchange while it is read; the first convention that gives something for a side is the one that counts."""

    def __init__(self, span: Span) -> None:
        self.span, self.attributes = span, tree(span.attributes)
        self.given, self.said = Messages(), Messages()
        self.system: str | None = None
        self.tools: dict[str, ToolSpec] = {}
        self.models: list[Any] = []
        self.finish: Any = None
        self.answer_id: Any = None
        self.follows: Any = None

    def exchange(self) -> Exchange | None:
        given, said = list(self.given.read), list(self.said.read)
        lost = [*self.given.lost, *self.said.lost]
        while given and given[0].role == "system" and self.system in (None, given[0].content):
            self.system = given.pop(0).content or self.system
        if (
            said
            and len(said) >= len(given) > 0
            and [m.content for m in said[: len(given)]] == [m.content for m in given]
        ):
            said = said[len(given) :]  # an agent's answer that repeats what it was given
        said = [m for m in said if m.error != "redacted"]  # the next request may hold it unhidden
        if not given and not said:
            return None
        model = next((text for model in self.models if (text := cells.text(model))), None)
        said = [replace(m, model=m.model or model) if m.role == "assistant" else m for m in said]
        if said and said[-1].role == "assistant" and said[-1].finish is None:
            said[-1] = replace(said[-1], finish=ended(self.finish))
        if said and self.span.error and said[-1].role == "assistant":
            said[-1] = replace(said[-1], error=self.span.error, finish="error")
        return Exchange(
            span=self.span,
            given=tuple(given),
            said=tuple(said),
            system=self.system or None,
            model=model,
            tools=tuple(self.tools.values()),
            answer_id=cells.text(self.answer_id) or None,
            follows=cells.text(self.follows) or None,
            lost=tuple(dict.fromkeys(lost)),
        )

    def gen_ai(self) -> None:
        """Read `gen_ai.*` with parts, on the span or on the event that holds a call's details."""
        holders = [self.attributes]
        for event in self.span.events:
            if isinstance(event, dict) and isinstance(event.get("attributes"), dict):
                body = tree(event["attributes"])
                if at(body, "gen_ai.input.messages") or at(body, "gen_ai.output.messages"):
                    holders.append(body)
        for holder in holders:
            self._prompt(decoded(at(holder, "gen_ai.system_instructions")))
            self._give(decoded(at(holder, "gen_ai.input.messages")))
            self._say(decoded(at(holder, "gen_ai.output.messages")))
            self._offer(listed(decoded(at(holder, "gen_ai.tool.definitions"))))
        self.models += [at(self.attributes, "gen_ai.response.model")]
        reasons = listed(decoded(at(self.attributes, "gen_ai.response.finish_reasons")))
        self.finish = reasons[-1] if reasons else None

    def openinference(self) -> None:
        """Read `llm.*`."""
        llm = self.attributes.get("llm")
        if not isinstance(llm, dict):
            return
        self._give(listed(decoded(llm.get("input_messages"))))
        self._say(listed(decoded(llm.get("output_messages"))))
        self._offer(listed(decoded(llm.get("tools"))))
        self.finish = self.finish or llm.get("finish_reason")
        self.models += [at(llm, "response.model_name"), llm.get("model_name"), at(llm, "request.model_name")]

    def flattened(self) -> None:
        """Read OpenLLMetry's `gen_ai.prompt.N.…` and `gen_ai.completion.N.…`."""
        self._give([unfolded(item) for item in listed(at(self.attributes, "gen_ai.prompt"))])
        answers = listed(at(self.attributes, "gen_ai.completion"))
        if answers and not isinstance(answers[0], str):
            answers = [unfolded(item) for item in answers]
        self._say(answers)
        self._offer(listed(at(self.attributes, "llm.request.functions")))
        self.models += [at(self.attributes, "gen_ai.request.model")]

    def told_by_events(self) -> None:
        """Read `gen_ai.user.message` and so on with `gen_ai.choice`, and the `gen_ai.content.…` that came before."""
        given: list[Any] = []
        said: list[Any] = []
        for event in self.span.events:
            name = str(event.get("name") or "") if isinstance(event, dict) else ""
            body = event.get("attributes") if isinstance(event, dict) else None
            if not name.startswith("gen_ai.") or not isinstance(body, dict):
                continue
            if name in ("gen_ai.content.prompt", "gen_ai.content.completion"):
                whole = listed(decoded(at(tree(body), name.replace(".content", "", 1))))
                (given if name.endswith("prompt") else said).extend(whole)
                continue
            more = decoded(body.get("gen_ai.event.content") or body.get("body"))
            body = {**body, **more} if isinstance(more, dict) else dict(body)
            for key in ("message", "tool_calls", "content"):
                known = decoded(body.get(key))
                if key != "content" or (isinstance(known, list) and all(isinstance(item, dict) for item in known)):
                    body[key] = known
            if name == "gen_ai.choice":
                dotted = {key.removeprefix("message."): body[key] for key in body if key.startswith("message.")}
                body.setdefault("role", None)
                inner = body["message"] if isinstance(body.get("message"), dict) else {**body, **dotted}
                said.append({"role": "assistant", "finish_reason": body.get("finish_reason"), **_present(inner)})
            elif name.endswith(".message") and name.split(".")[1] in EVENT_ROLES:
                given.append({"role": EVENT_ROLES[name.split(".")[1]], **_present(body)})
        self._give(given)
        self._say(said[:1])
        if len(said) > 1:
            self.said.lose("another choice of one call")

    def bodies(self, strict: bool) -> None:
        """Read request and answer as the client's library had them."""
        mlflow = self.span.attributes
        self.models += [decoded(mlflow.get("mlflow.llm.model"))]
        for value in (mlflow.get("mlflow.spanInputs"), at(self.attributes, "input.value")):
            self._request(decoded(value), strict)
        for value in (mlflow.get("mlflow.spanOutputs"), at(self.attributes, "output.value")):
            if self.given.read or not strict:
                self._answer(decoded(value), strict)
        if isinstance(tools := decoded(mlflow.get("mlflow.chat.tools")), list):
            self._offer(tools)  # last, for MLflow leaves out what its own model of a schema does not know

    def _request(self, body: Any, strict: bool) -> None:
        if isinstance(body, str):
            if body.strip() == REDACTED:
                self.given.lose("a redacted message")
            elif not strict:
                self._give([body] if body else [])
            return
        if isinstance(body, list):
            self._give(body if not strict or all(isinstance(item, (dict, list)) for item in body) else [])
            return
        if not isinstance(body, dict):
            return
        config = cells.mapping(body.get("config"))
        for holder in (body, config):
            self._offer(listed(decoded(holder.get("tools") or holder.get("functions"))))
        for holder in (body, config):
            for key in ("system", "instructions", "system_instruction", "systemInstruction"):
                self._prompt(holder.get(key))
        self.models.append(body.get("model"))
        self.follows = self.follows or body.get("previous_response_id")
        for key in ("messages", "input", "contents", "message", "prompt", "inputs", "request"):
            value = body.get(key)
            if isinstance(value, dict) and any(name in value for name in ("messages", "input", "contents")):
                self._request(value, strict)
            elif value is not None and (not strict or isinstance(value, (list, dict)) or key == "input"):
                self._give(listed(value))
            if self.given.read:
                return
        if not strict:
            self.given.lose("a request of unknown shape")

    def _answer(self, body: Any, strict: bool) -> None:
        if isinstance(body, list) and any(delta(item) is not None for item in body):
            body = streamed(body)
        if isinstance(body, (str, list)):
            if isinstance(body, str) and body.strip() == REDACTED:
                self.said.lose("a redacted message")
            else:
                self._say(listed(body) if body else [])
            return
        if not isinstance(body, dict):
            return
        output = body.get("output")
        self.answer_id = self.answer_id or body.get("id")
        for key in ("choices", "candidates", "generations"):
            several = listed(body.get(key))
            while several and isinstance(several[0], list):  # LangChain's batches
                several = several[0]
            if len(several) > 1 and not self.said.read:
                self.said.lose("another choice of one call")
            self._say([choice(item) for item in several[:1]])
        if isinstance(output, list):
            self._say(output)
        elif isinstance(output, dict) or isinstance(body.get("message"), dict):
            self._say([output if isinstance(output, dict) else body["message"]])
        elif isinstance(body.get("messages"), list):
            self._say(body["messages"])
        elif body.get("content") is not None or body.get("kwargs") is not None or isinstance(body.get("data"), dict):
            self._say([body])
        elif not self.said.read and isinstance(text := body.get("response") or body.get("text") or output, str):
            self._say([text])
        if not self.said.read and not strict:
            self.said.lose("an answer of unknown shape")
        metadata = cells.mapping(body.get("llm_output"))
        names = (body.get("model"), body.get("model_version"), body.get("modelVersion"), metadata.get("model_name"))
        self.models = [*(name for name in names if isinstance(name, str)), *self.models]
        words = (body.get("stop_reason"), body.get("stopReason"), body.get("done_reason"), body.get("status"))
        self.finish = self.finish or next((word for word in words if isinstance(word, str)), None)

    def _prompt(self, value: Any) -> None:
        if self.system or value in (None, "", []):
            return
        prompt = Messages()
        prompt.add(value if not isinstance(value, list) else [{"content": value}], "system")
        self.system = "\n".join(m.content for m in prompt.read if m.content) or None
        self.given.lost.update(prompt.lost)

    def _give(self, value: Any) -> None:
        if not self.given.read:
            self.given.add(value, "user")

    def _say(self, value: Any) -> None:
        if not self.said.read:
            self.said.add(value, "assistant")

    def _offer(self, values: Iterable[Any]) -> None:
        if self.tools:
            return
        flat: list[Any] = []
        for value in values:
            tool = decoded(value)
            body = decoded(tool.get("tool", tool)) if isinstance(tool, dict) else None
            body = decoded(body.get("json_schema", body)) if isinstance(body, dict) else None
            if not isinstance(body, dict):
                self.given.lose("an unreadable tool")
                continue
            many = body.get("function_declarations") or body.get("functionDeclarations")
            flat += [declared(one) for one in (many if isinstance(many, list) else [body.get("toolSpec") or body])]
        specs, lost = cells.tool_specs(flat)
        if lost:
            self.given.lose("an unreadable tool")
        self.tools = {spec.name: spec for spec in specs}


def _present(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
