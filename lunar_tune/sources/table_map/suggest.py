"""A first table map for an unknown database, from the names and types of its columns."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lunar_tune.sources import base
from lunar_tune.sources.table_map import words
from lunar_tune.sources.table_map.words import ROLES

# How columns are usually called, the likeliest first.
USUAL: dict[str, tuple[str, ...]] = {
    "role": ("role", "sender", "author", "speaker", "who", "sendertype", "messagerole", "fromrole", "isuser",
             "fromuser", "isbot", "isassistant", "type", "source"),
    "content": ("content", "body", "text", "message", "messagetext", "messagecontent", "msg"),
    "prompt": ("prompt", "question", "userinput", "usermessage", "input", "query", "request"),
    "answer": ("answer", "response", "completion", "output", "reply", "botresponse", "assistantmessage", "botreply"),
    "thread": (
        "conversationid", "threadid", "sessionid", "chatid", "dialogid", "conversation", "thread", "session", "chat",
        "channelid", "channel", "roomid", "contextid",
    ),
    "time": ("createdat", "timestamp", "ts", "time", "created", "sentat", "date", "datetime", "createdtime"),
    "updated": ("updatedat", "modifiedat", "editedat", "updated", "modified", "lastupdated"),
    "order": ("position", "seq", "sequence", "idx", "turn", "messageindex", "ordinal", "step", "ordering"),
    "model": ("model", "modelname", "modelid", "llm"),
    "error": ("error", "errormessage"),
    "finish": ("finishreason", "stopreason"),
    "reasoning": ("reasoning", "thinking", "thoughts", "reasoningcontent"),
    "tool_calls": ("toolcalls", "functioncalls"),
    "tool_call_id": ("toolcallid", "callid"),
    "tool_name": ("toolname", "functionname"),
    "tool_arguments": ("toolarguments", "toolargs", "toolinput", "arguments"),
    "rating": ("rating", "feedback", "score", "thumbs", "vote"),
}  # fmt: skip
HEAD: dict[str, tuple[str, ...]] = {
    "system": ("system", "systemprompt", "systemmessage", "instructions"),
    "tools": ("tools", "toolschemas", "tooldefinitions", "functions"),
    "started_at": ("startedat", "createdat", "created", "timestamp", "starttime"),
    "model": ("model", "modelname", "modelid"),
    "parent": ("parentid", "forkedfrom", "parentconversationid"),
}  # fmt: skip
SIDES = {
    "isuser": ("user", "assistant"), "fromuser": ("user", "assistant"),
    "isbot": ("assistant", "user"), "isassistant": ("assistant", "user"),
}  # fmt: skip
SHORT = re.compile(r"[\w-]{1,16}")
MOST_ROLES = 6  # more words than these are names of people
LOOKED_AT = 10_000  # rows
WORTH = {"role": 4, "content": 3, "prompt": 3, "answer": 4, "thread": 3, "tool_calls": 2}


def suggest(db: sqlite3.Connection, name: str = "mybot") -> str:
    """Return the TOML that would map the table most like a conversation's, "" when none is; `name` is the map's.

    Names and types of columns are looked at, and the words of the roles where they are few; no other content is in it.
    """
    types = {table: found for table in base.tables(db) if (found := _types(db, table))}
    guesses = {table: guess for table in types if (guess := _guess(types[table]))}
    if not guesses:
        return ""
    table = max(guesses, key=lambda name: _score(guesses[name]))
    guess = guesses[table]
    lines = ["[[harvest.table_map]]", f"name = {_quoted(name)}", f"table = {_quoted(table)}"]
    lines += [f"{key} = {_quoted(column)}" for key, column in guess.items()]
    if "role" in guess:
        lines += _roles(db, table, guess)
    head = _head(db, table, guess, types)
    if head:
        lines.append(f"threads = {{ {', '.join(f'{key} = {_quoted(value)}' for key, value in head.items())} }}")
    return "\n".join(lines)


def _roles(db: sqlite3.Connection, table: str, guess: Mapping[str, str]) -> list[str]:
    """Return the line that says what the words of the roles mean, none when they are the usual ones."""
    column = guess["role"]
    if _plain(column) in SIDES:
        roles = dict(zip("10", SIDES[_plain(column)], strict=True))
        return [f"roles = {{ {', '.join(f'{word} = {_quoted(role)}' for word, role in roles.items())} }}"]
    seen = _words(db, table, column)
    strange = [word for word in seen if word.lower() not in ROLES]
    if not strange:
        return []
    asked = f'# check: which word of {_quoted(column)} means "user", which "assistant"; "*" is every other word'
    if len(seen) > MOST_ROLES or not all(SHORT.fullmatch(word) for word in seen):
        return [asked, 'roles = { "*" = "user" }']
    taken = {ROLES[word.lower()] for word in seen if word.lower() in ROLES}
    free = [role for role in ("user", "assistant") if role not in taken]
    if not free:
        return []  # what these rows are is not for a guess; reading reports them
    guessed = dict(zip(_by_first_word(db, table, guess, strange), free, strict=False))
    return [asked, f"roles = {{ {', '.join(f'{_quoted(word)} = {_quoted(role)}' for word, role in guessed.items())} }}"]


def _words(db: sqlite3.Connection, table: str, column: str) -> list[str]:
    """Return the words in a column's first rows."""
    name = base.quoted(column)
    query = f"SELECT DISTINCT {name} FROM (SELECT {name} FROM {base.quoted(table)} LIMIT {LOOKED_AT}) LIMIT 50"
    return sorted({words.word(value) for (value,) in db.execute(query)} - {""})


def _by_first_word(db: sqlite3.Connection, table: str, guess: Mapping[str, str], strange: Sequence[str]) -> list[str]:
    """Return words of roles, first the one that begins most conversations: people speak first."""
    name, thread = base.quoted(guess["role"]), base.quoted(guess["thread"])
    first: dict[Any, str] = {}
    for key, value in db.execute(f"SELECT {thread}, {name} FROM {base.quoted(table)} LIMIT {LOOKED_AT}"):
        if (word := words.word(value)) in strange:
            first.setdefault(key, word)
    begun = Counter(first.values())
    return sorted(strange, key=lambda word: -begun[word])


def _score(guess: Mapping[str, str]) -> int:
    return sum(WORTH.get(key, 1) for key in guess)


def _types(db: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the declared types of a table's columns by their names; none of a view that cannot be read."""
    try:
        return {str(row[1]): str(row[2]).upper() for row in db.execute(f"PRAGMA table_info({base.quoted(table)})")}
    except sqlite3.Error:
        return {}


def _guess(types: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table that look like a conversation's, by field; none when it could not be one."""
    plain = {_plain(name): name for name in types}
    guess: dict[str, str] = {}
    for key, usual in USUAL.items():
        for word in usual:
            name = plain.get(word)
            if name is not None and name not in guess.values() and _fits(key, types[name]):
                guess[key] = name
                break
    for own, other in ((("role", "content"), ("prompt", "answer")), (("prompt", "answer"), ("role", "content"))):
        if all(key in guess for key in own) and ("thread" in guess or own[0] == "prompt"):
            return {key: name for key, name in guess.items() if key not in other}
    return {}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _fits(key: str, declared: str) -> bool:
    """Tell whether a column's declared type can hold a field; one without a type can hold anything."""
    numeric = any(word in declared for word in ("INT", "REAL", "FLOA", "DOUB", "NUM", "DEC", "BOOL"))
    if key in ("content", "prompt", "answer", "tool_calls", "reasoning", "model"):
        return not numeric and "DATE" not in declared and "TIME" not in declared
    return key != "order" or numeric or not declared


def _head(
    db: sqlite3.Connection, table: str, guess: Mapping[str, str], types: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Return the map of the table of conversations: the one that the thread's column refers to, else by its name."""
    thread = guess.get("thread")
    if thread is None:
        return {}
    for row in db.execute(f"PRAGMA foreign_key_list({base.quoted(table)})"):
        if row[3] == thread:
            return _head_of(str(row[2]), str(row[4] or "id"), types)
    word = _plain(thread).removesuffix("id")
    for other in types:
        if other != table and word and _plain(other).rstrip("s").endswith(word) and "id" in types[other]:
            return _head_of(other, "id", types)
    return {}


def _head_of(table: str, key: str, types: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    plain = {_plain(name): name for name in types.get(table, ())}
    if key not in plain.values():
        return {}
    named = {field: plain[word] for field, usual in HEAD.items() for word in reversed(usual) if word in plain}
    return {"table": table, "id": key, **named} if named else {}


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
