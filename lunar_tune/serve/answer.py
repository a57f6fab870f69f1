"""From a checked request to OpenAI's answer, whole or in events, by one worker.

llama-server's own parser constrains tool calls and fails some answers. Such a request is asked again with the same seed
through /completion, and what our prompt cannot read as a call is content: what a model writes is never an error. A
call of an offered tool that was written as text is given as the call it is (see `rescue.py`).
"""

from __future__ import annotations

import datetime
import json
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from lunar_tune.artefacts import Reply
from lunar_tune.errors import RuntimeFailure
from lunar_tune.prompts.base import spoken_date
from lunar_tune.prompts.normalise import normalise
from lunar_tune.serve.fleet import Worker
from lunar_tune.serve.rescue import call_in, may_be_call
from lunar_tune.serve.wire import SAMPLING, Refusal

PARSER_TROUBLE = ("parser", "schema", "grammar", "template")  # words of a 400 that our own prompt can do without


def answer(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat completion.

    Raises:
        Refusal: the request is at fault, or the worker failed for another reason than the model's words.
        RuntimeFailure: the worker died.
    """
    body = _body(worker, request)
    status, found = worker.server.chat(body)
    if status == 200 and _calls_are_whole(found["choices"][0]["message"].get("tool_calls") or ()):
        said = found["choices"][0]
        rescued = None if said["message"].get("tool_calls") else call_in(worker, body, said["message"]["content"] or "")
        if rescued is None or said["finish_reason"] == "length":
            return {**found, **_marks(worker)}
        reply, finish, usage = rescued, "tool_calls", found["usage"]
    elif status != 200 and not _excusable(status, found):
        raise _refusal(status, found)
    else:
        reply, finish, usage = _ask_again(worker, body, status, found)
    message: dict[str, Any] = {"role": "assistant", "content": reply.content or None}
    if reply.tool_calls:
        message["tool_calls"] = _wire_calls(reply)
    elif message["content"] is None:
        message["content"] = ""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**_head("chat.completion"), **_marks(worker), "choices": [choice], "usage": usage}


def stream(worker: Worker, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Yield the chunks of a chat completion as they come; tool calls are held back until they are known to be whole.

    Raises:
        Refusal, RuntimeFailure: as `answer`; before the first chunk, or after it when the worker died.
    """
    body = _body(worker, request)
    sent, said, held = "", "", list[dict[str, Any]]()
    trouble, calling = None, False
    with worker.server.stream(body) as (status, events):
        for event in events:
            if "error" in event:
                trouble = event
                break
            choice = (event.get("choices") or [{"delta": {}, "finish_reason": "none"}])[0]
            said += choice["delta"].get("content") or ""
            calling = calling or "tool_calls" in choice["delta"] or choice["finish_reason"] is not None
            held.append({**event, **_marks(worker)})
            if not calling and not may_be_call(said):
                yield from held
                sent, held = said, []
    if trouble is None and _calls_are_whole(_joined_calls(held)):
        rescued = None if said == sent else call_in(worker, body, said)
        if rescued is None or _finish(held) == "length":
            yield from held
        else:
            yield from _rest(worker, rescued, sent, "tool_calls", _usage(held))
        return
    if trouble is not None:
        status = status if status != 200 else int(trouble["error"].get("code") or 500)
        if not _excusable(status, trouble):
            raise _refusal(status, trouble)
    reply, finish, usage = _ask_again(worker, body, status, trouble or {})
    yield from _rest(worker, reply, sent, finish, usage if _wants_usage(request) else None)


# -- the request to the worker --


def _body(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request as the worker takes it: in the shape of training, with the model's own defaults."""
    modelfile = worker.manifest.get("modelfile") or {}
    parameters, messages = modelfile.get("parameters") or {}, request["messages"]
    if modelfile.get("system") and messages[0]["role"] not in ("system", "developer"):
        messages = [{"role": "system", "content": modelfile["system"]}, *messages]  # as Ollama does with SYSTEM
    shaped = (worker.prompt.normalise if worker.prompt else normalise)(messages, request.get("tools") or ())
    kept = {key: value for key, value in request.items() if value is not None and key not in ("model", "stream")}
    body = {**{key: parameters[key] for key in SAMPLING if key in parameters}, **kept}
    body["messages"] = [_texts(message) for message in shaped.messages]
    if shaped.tools:
        body["tools"] = shaped.tools
    else:
        body.pop("tools", None)
        body.pop("tool_choice", None)
    limit = body.pop("max_completion_tokens", body.pop("max_tokens", parameters.get("num_predict", -1)))
    if limit > 0:
        body["max_tokens"] = int(limit)
    body["stop"] = list(dict.fromkeys([*request["stop"], *parameters.get("stop", ())]))
    today = {"date_string": spoken_date(datetime.date.today().isoformat())}
    body["chat_template_kwargs"] = {**today, **(request.get("chat_template_kwargs") or {})}
    if body.setdefault("seed", -1) < 0:
        body["seed"] = secrets.randbelow(2**31)  # named, so that asking again gives the same words
    return body


def _texts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its calls' arguments as JSON text, which is what the worker's API takes."""
    if not message.get("tool_calls"):
        return dict(message)
    calls = []
    for call in message["tool_calls"]:
        arguments = call["function"]["arguments"]
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": text}})
    return {**message, "tool_calls": calls}


def _ask_again(
    worker: Worker, body: Mapping[str, Any], status: int, trouble: Mapping[str, Any]
) -> tuple[Reply, str, dict[str, int]]:
    """Ask without llama-server's parser; return what was said, why it ended, and the tokens used.

    Raises:
        Refusal: that fails too; the first refusal counts.
    """
    tools = body.get("tools") or []
    plain = {key: body[key] for key in SAMPLING if key in body}
    stops = [*body["stop"], *(worker.prompt.stops if worker.prompt else ())]
    try:
        prompt: str | list[int]
        if worker.prompt is not None:
            text = worker.prompt.text(body["messages"], tools, datetime.date.today().isoformat())
            prompt = worker.server.tokenize(text)
        else:
            prompt = worker.server.apply_template(body["messages"], tools, body["chat_template_kwargs"]["date_string"])
        limit = body.get("max_tokens", -1)
        found = worker.server.generate(
            {**plain, "prompt": prompt, "n_predict": limit, "stop": stops, "cache_prompt": True}
        )
    except RuntimeFailure as error:
        if not worker.alive:
            raise
        raise (
            _refusal(status, trouble) if "error" in trouble else Refusal(502, error.message, "server_error")
        ) from error
    said = str(found["content"])
    offered = [] if body.get("tool_choice") == "none" else tools
    reply = worker.prompt.parse(said, offered) if worker.prompt and offered else Reply(said)
    if reply.problem and found["stop_type"] != "limit":
        reply = call_in(worker, body, said) or reply
    if found["stop_type"] == "limit" and reply.problem:  # a call that the token limit cut off is nothing to be read out
        reply = Reply(reply.before)
    finish = "length" if found["stop_type"] == "limit" else "tool_calls" if reply.tool_calls else "stop"
    asked, given = int(found["tokens_evaluated"]), int(found["tokens_predicted"])
    return reply, finish, {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}


# -- the answer --


def _rest(
    worker: Worker, reply: Reply, sent: str, finish: str, usage: dict[str, int] | None
) -> Iterator[dict[str, Any]]:
    """Yield what is left to say after the text `sent`: the rest of the content, the calls, the end."""
    head = {**_head("chat.completion.chunk"), **_marks(worker)}
    begun = sent.rstrip()
    rest = reply.content[len(begun) :] if reply.content.startswith(begun) else ""
    deltas: list[dict[str, Any]] = [] if sent else [{"role": "assistant", "content": ""}]
    if rest.strip():
        deltas.append({"content": rest.removeprefix(sent[len(begun) :])})
    if reply.tool_calls:
        deltas.append({"tool_calls": [{"index": i, **call} for i, call in enumerate(_wire_calls(reply))]})
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    if usage is not None:
        yield {**head, "choices": [], "usage": usage}


def _wire_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for call in reply.tool_calls
    ]


def _finish(events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why a stream ended."""
    reasons = (choice["finish_reason"] for event in events for choice in event.get("choices") or ())
    return next((reason for reason in reasons if reason), None)


def _usage(events: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """Return the tokens used, if a stream told them."""
    return next((event["usage"] for event in events if event.get("usage") and not event.get("choices")), None)


def _joined_calls(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the calls that a stream's deltas add up to, as far as their arguments go."""
    texts: dict[int, str] = {}
    for event in events:
        for choice in event.get("choices") or ():
            for call in choice.get("delta", {}).get("tool_calls") or ():
                index = int(call.get("index", 0))
                texts[index] = texts.get(index, "") + (call.get("function", {}).get("arguments") or "")
    return [{"function": {"arguments": text}} for text in texts.values()]


def _calls_are_whole(calls: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether every call's arguments are an object: a call that was cut off is none."""
    try:
        return all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    except ValueError:
        return False


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time())}


def _marks(worker: Worker) -> dict[str, str]:
    return {"model": worker.server.name, "system_fingerprint": worker.version}


def _wants_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def _excusable(status: int, found: Mapping[str, Any]) -> bool:
    """Tell whether a refusal is about parsing, which our own prompt does, and not about the request."""
    error = found.get("error") or {}
    if error.get("type") == "exceed_context_size_error":
        return False
    return status >= 500 or (status == 400 and any(word in str(error.get("message")) for word in PARSER_TROUBLE))


def _refusal(status: int, found: Mapping[str, Any]) -> Refusal:
    error = found.get("error") or {}
    message = str(error.get("message") or f"The worker answered with status {status}.")
    if error.get("type") == "exceed_context_size_error":
        return Refusal(400, message, code="context_length_exceeded", param="messages")
    return Refusal(status if 400 <= status < 500 else 502, message, str(error.get("type") or "server_error"))
