"""What an agent gets through /v1/chat/completions: `python tests/bench/bench_served_calls.py [HOME]`.

HOME is a workspace with a promoted version (default: the demo's). Every held-out turn is sent, with its tools, to the
door that `lunar-tune serve` opens and to llama-server alone; prints for each how many requests failed, how many answers
hold a call as text, and how many calls came back as `tool_calls` and are right.
"""

import json
import re
import sys
from pathlib import Path

import httpx

from lunar_tune import workflow
from lunar_tune.episodes import ToolCall
from lunar_tune.evaluate.metrics import calls_difference
from lunar_tune.evaluate.turns import HeldOutTurn, held_out_turns
from lunar_tune.files import read_jsonl
from lunar_tune.prompts.base import spoken_date
from lunar_tune.runtimes.llama_server import LlamaServer
from lunar_tune.serve import Door
from lunar_tune.settings import ServeSettings

ROOT = Path(__file__).parents[2]
CALL_AS_TEXT = re.compile(r'<tool_call>|</tool_call>|\{\s*"name"\s*:')


def ask(url: str, turn: HeldOutTurn, headers: dict[str, str]) -> httpx.Response:
    body = {
        "model": "lunar-custom", "messages": list(turn.context), "tools": list(turn.tools), "temperature": 0,
        "max_tokens": 128, "chat_template_kwargs": {"date_string": spoken_date(turn.date)},
    }  # fmt: skip
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120)


def report(name: str, url: str, turns: list[HeldOutTurn], headers: dict[str, str]) -> None:
    failed = cut = as_text = right = calling = 0
    for turn in turns:
        answer = ask(url, turn, headers)
        if answer.status_code != 200:
            failed += 1
            continue
        message = answer.json()["choices"][0]["message"]
        try:
            calls = [
                ToolCall(name=c["function"]["name"], arguments=json.loads(c["function"]["arguments"]))
                for c in message.get("tool_calls") or ()
            ]
        except ValueError:  # llama-server gives the arguments of a call that max_tokens cut off as they stand
            cut += 1
            calls = []
        as_text += bool(CALL_AS_TEXT.search(message.get("content") or ""))
        calling += bool(turn.calls)
        right += bool(turn.calls) and calls_difference(calls, turn.calls, turn.tools) is None
    print(
        f"{name}: {len(turns)} requests, {failed} failed, {as_text} with a call as text, {cut} cut off, "
        f"{right} of {calling} calls right"
    )


def main() -> None:
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".demo/home"
    turns = held_out_turns(read_jsonl(workflow.find_dataset(home).split("test")))
    with Door(home, ServeSettings(port=0, threads=1), "lunar-custom") as door:
        report("serve", door.url, turns, {})
    with LlamaServer(workflow.find_model(home).gguf, context=4096, threads=1) as server:
        report("llama-server alone", server.url, turns, {"Authorization": f"Bearer {server.key}"})


if __name__ == "__main__":
    main()
