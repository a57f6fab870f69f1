"""Words of the agent's program in the place of an answer: summaries, reminders, notices, errors, template tokens.

What a user asked about (a token, a tag that stands in the request) and what an answer shows as code is no echo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.seams import Report

SUMMARY, NOTICE, ERROR, TOKENS = (
    "a summary of the conversation",
    "a notice of the program",
    "a provider's error as an answer",
    "echoes the prompt's markup",
)
BEGIN = 400  # characters at a text's beginning in which notices and errors stand
NOTICE_LENGTH = 700  # a longer text is more than a notice

_SUMMARY: Final = re.compile(
    r"\s*(?:#+ |\*\*|\[)?(?:This session is being continued from a previous|The previous session was (?:interrupted|"
    r"compacted)|"
    r"\[?CONTEXT (?:COMPACTION|SUMMARY)|(?:Here is |Below is |This is )?(?:a |the )?(?:detailed |concise |brief |"
    r"structured )*"
    r"summary of (?:the|our|this) (?:conversation|session|chat|dialogue|transcript)|Conversation (?:summary|so far)\b|"
    r"Session summary\b|Summary of (?:previous|earlier|prior) (?:conversation|messages|context)|Compacted (?:context|"
    r"history)|"
    r"<(?:summary|analysis|conversation_summary|context_summary)>)",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(r"(?i)summar|recap|tl;?dr|compact|hand-?off|catch me up")  # who asks for one may be given it
_COMPACTION: Final = re.compile(
    r"(?i)\s*(?:#+ |\*\*|\[|<\w+>\s*)?(?:(?:CRITICAL|IMPORTANT)\b.{0,200}?)?(?:your task is to (?:create|write|"
    r"produce) an? "
    r"(?:\w+ ){0,3}summary of (?:the|our|this) conversation|provide a detailed prompt for continuing our conversation|"
    r"you are (?:performing|doing) a context \w+|summari[sz]e (?:the|our|this) (?:conversation|session) (?:so far|"
    r"above|for)|"
    r"(?:create|write) a (?:\w+ )?hand-?off summary|compact (?:the|this) conversation|(?:create|write|provide|"
    r"generate) an? "
    r"(?:detailed|comprehensive|concise|structured) summary of (?:the|our|this) conversation)",
    re.DOTALL,
)
_LIMIT: Final = (
    r"(?:maximum|max\.?|limit)[ -]?(?:number of |allowed )?(?:tool[ -]?call(?:ing)? )?"
    r"(?:steps?|turns?|iterations?|rounds?)"
)
_NOTICE: Final = re.compile(
    r"\s*[\[(*_]*(?:Request interrupted by user|Operation (?:was )?(?:interrupted|cancel+ed|aborted)|(?:Response|"
    r"Generation|"
    r"Output) (?:was )?(?:interrupted|stopped|cancel+ed|truncated)|No response requested|"
    r"no (?:output|content|response)(?: \w+)?\s*[\])*.]*\s*\Z|(?:Sorry, )?(?:I(?:'ve| have)?|You(?:'ve| have)?|"
    r"(?:The )?agent|"
    rf"Run|Execution)? ?(?:has |was )?(?:stopped|reached|exceeded|hit|ran into) (?:due to |because of |the |my |its "
    rf")*{_LIMIT}|"
    rf"Agent stopped due to|{_LIMIT} (?:reached|exceeded|hit)|Sorry, need more steps|(?:System|Harness) "
    rf"(?:observation|note|"
    r"reminder|message)\b|Tool (?:call|execution|use) (?:was )?(?:rejected|denied|cancel+ed|aborted)|"
    r"The user (?:doesn't|does not) want to (?:proceed|take this action)|Context (?:compacted|window exceeded)|"
    r"Conversation (?:compacted|too long)|Thinking\.{3}\s*\Z|Execution error\s*\Z|Loading\.{3}\s*\Z)",
    re.IGNORECASE,
)
_ERROR: Final = re.compile(
    r"\s*[⚠️❌*\[]*\s*(?:(?:API|Provider|LLM|Model|Network|Connection|Server|HTTP|Request|Upstream|Stream) ?error\b|"
    r"Error:? (?:code:? ?)?"
    r"[45]\d\d\b|Error code:|[45]\d\d (?:\{|Too Many Requests|Internal Server Error|Bad Gateway|Service Unavailable|"
    r"Bad Request|Unauthorized|Forbidden)|\{\s*\"(?:type\"\s*:\s*\"error\"|error\"\s*:\s*[{\"])|(?:litellm|openai|"
    r"anthropic|httpx|"
    r"requests|google\.api_core|aiohttp|botocore)\.[\w.]*(?:Error|Exception|Timeout)|(?:Overloaded|Request timed out|"
    r"Connection (?:refused|reset|timed out|aborted)|Rate limit (?:reached|exceeded)|Too many requests|Invalid API key|"
    r"Insufficient (?:quota|credits?|balance)|Credit balance is too low|Quota exceeded|Prompt is too long|"
    r"Internal server error|Service unavailable|You exceeded your current quota|Model (?:is )?(?:overloaded|not "
    r"found|not loaded)"
    r"|Failed to (?:generate|get|fetch) (?:a )?(?:response|completion)|Error (?:generating|calling|communicating|"
    r"during|in) "
    r"(?:the )?(?:response|completion|model|LLM|API|with)|Traceback \(most recent call last\)|maximum context length|"
    r"This model's maximum context length|Claude AI usage limit reached|Output blocked by))",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(
    r"<\|(?:im_(?:start|end|sep)|(?:start|end)_header_id|(?:begin|end)_of_text|eo[tm]_id|endoftext|assistant|user|"
    r"system|"
    r"python_tag|channel|message|return|call|start|end|tool_call|endofprompt|fim_\w+)\|>|<(?:start|end)_of_turn>|"
    r"\[/?INST\]|<</?SYS>>|</?(?:system-reminder|command-(?:name|message|args)|local-command-stdout|"
    r"local-command-caveat|"
    r"function_results|function_calls|invoke|antml:\w+|environment_details|environment_context|user_instructions|"
    r"memory-context|"
    r"context-window|system_reminder|system_prompt|system_message)\b[^>]{0,80}>|<｜[^｜<>\n]{1,40}｜>",
)
_SIGNS: Final = (
    "<|"
, "_of_turn>", "INST]", "SYS>>", "<｜", "<system", "</system", "<command-", "<local-command", "<function_",
                 "</function_", "<invoke", "<antml", "<environment_", "<user_instructions", "<memory-",
                 "<context-w")  # fmt: skip
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)


class Scaffolding:
    """Sets aside the turns in which the program spoke, and answers to the program's own request for a summary."""

    name = "scaffolding"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its echoes set aside."""
        for draft in drafts:
            marker: Marker | None = None
            request = ""
            for index, message in enumerate(draft.episode.messages):
                if message.role == "user":
                    request = message.content
                elif draft.weights[index] == LEARN and message.content:
                    reason = echoed(message.content, request)
                    if reason is not None:
                        marker = marker or Marker(draft, self.name, report)
                        marker.set_aside(index, reason)
            yield marker.done() if marker else draft


def echoed(text: str, request: str) -> str | None:
    """Say what of the program's own words an answer is, None for an answer in words of its own."""
    begin = text[:BEGIN]
    if _COMPACTION.match(request[:BEGIN]) or (_SUMMARY.match(begin) and not _ASKED.search(request[: 5 * BEGIN])):
        return SUMMARY
    if len(text) <= NOTICE_LENGTH and _NOTICE.match(begin):
        return NOTICE
    if len(text) <= 10 * NOTICE_LENGTH and _ERROR.match(begin):
        return ERROR
    if ("<" in text or "INST]" in text) and any(map(text.__contains__, _SIGNS)):
        return TOKENS if _markup(text, request) else None
    return None


def _markup(text: str, request: str) -> bool:
    """Tell whether a text has markup of prompts outside code that the request does not speak of."""
    return any(match[0] not in request for match in _TOKEN.finditer(_CODE.sub("", text)))
