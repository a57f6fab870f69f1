"""Where secrets are met: prose, tool arguments and results, JSON in a string, code, URLs, shell, logs.

Each half of the kinds has templates of its own. `@v@` is the secret, `@q@` it quoted as JSON does, `@s@` as a shell
does, `@u@` percent-encoded; `@noun@`, `@key@` and `@ENV@` say what it is.
"""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import json
import re
import shlex
from random import Random
from typing import Any
from urllib.parse import quote

CARRIERS = ("prose", "arguments", "result", "nested", "code", "url", "shell", "log")

HOSTS = ("api.tidewater.example", "billing.quillworks.net", "ci.northquay.dev", "hub.redpine.org", "edge.solmar.es")
VERBS = ("deploy", "sync", "backup", "publish", "import", "rotate", "report")

# What follows is data: for each half and shape, templates by carrier. "bare" does not say what the secret is.
SEEN: dict[str, dict[str, list[Any]]] = {
    "bare": {
        "prose": [
            "Use @v@ for the upload, the old one stopped working.",
            "I pasted @v@ into the config yesterday and now the job fails, any idea?",
            "ok here you go: @v@",
            "The one we need is `@v@`. Please keep it somewhere.",
        ],
        "arguments": [
            {"name": "ci", "value": "@v@", "masked": True},
            {"headers": {"Accept": "application/json", "Authorization": "Bearer @v@"}, "timeout": 30},
            {"steps": [{"run": "login", "with": ["--stdin", "@v@"]}, {"run": "@verb@"}]},
        ],
        "result": [
            {"ok": True, "data": {"items": [{"id": "@id@", "value": "@v@", "created": "@date@"}], "next": None}},
            {"lines": ["Logged in", "stored @v@", "done"], "exit": 0},
        ],
        "nested": [
            {"output": {"settings": {"value": "@v@", "updated": "@date@"}}, "exit_code": 0},
            {"body": {"credentials": ["@v@"], "page": 1}, "status": 200},
        ],
        "code": [
            "```python\nclient = Client(@q@)\nclient.@verb@('reports/@id@')\n```",
            "```js\nconst api = connect('https://@host@', @q@);\nawait api.@verb@();\n```",
        ],
        "url": ["https://@host@/v2/@verb@?auth=@u@&page=3", "https://@u@@@host@/team/repo.git"],
        "shell": [
            "curl -sS -H 'Authorization: Bearer @v@' https://@host@/v1/@verb@",
            "echo @s@ | tool login --password-stdin",
        ],
        "log": [
            "@date@ WARN  [http] 401 from @host@ with @v@ (attempt 2)",
            "@date@ DEBUG @verb@: credential=@v@ scope=write took=41ms",
        ],
    },
    "keyed": {
        "prose": [
            "My @noun@ is @v@, please store it.",
            "Set @ENV@=@v@ and run the @verb@ again.",
            "Here is the @noun@: @v@",
            "the @key@ should be \"@v@\" in production",
        ],
        "arguments": [
            {"@key@": "@v@", "region": "eu-west-1"},
            {"env": {"@ENV@": "@v@", "LOG_LEVEL": "info"}, "command": "make @verb@"},
            {"path": ".env", "content": "PORT=8080\n@ENV@=@v@\nDEBUG=false\n"},
        ],
        "result": [
            {"config": {"@key@": "@v@", "host": "@host@", "retries": 3}},
            {"variables": [{"key": "@ENV@", "value": "@v@"}, {"key": "TZ", "value": "UTC"}], "total": 2},
        ],
        "nested": [
            {"stdout": {"@key@": "@v@", "enabled": True}, "code": 0},
            {"file": "settings.json", "text": {"service": {"@key@": "@v@"}}},
        ],
        "code": [
            "```python\n@ENV@ = @q@\nrun(host='@host@')\n```",
            "```yaml\nservice:\n  host: @host@\n  @key@: @v@\n```",
            "```python\nclient = Service(@key@=@q@, retries=3)\n```",
        ],
        "url": ["https://@host@/v1/@verb@?@key@=@u@&limit=20", "https://@host@/cb?state=@id@&@key@=@u@"],
        "shell": ["export @ENV@=@s@", "@ENV@=@s@ ./bin/@verb@ --all", "docker run -e @ENV@=@s@ -p 80:80 web"],
        "log": [
            "@date@ INFO loaded @ENV@=@v@ from /etc/app.conf",
            "@date@ ERROR @host@ rejected @key@=@v@: expired",
        ],
    },
    "contact": {
        "prose": [
            "Please put down @v@ as my @noun@.",
            "My @noun@ is @v@, can you check the booking?",
            "@who@ asked me to pass on @v@ for the form.",
            "Old: nothing on file. New @noun@: @v@.",
        ],
        "arguments": [
            {"to": "@v@", "subject": "Minutes of the meeting"},
            {"contact": {"name": "@who@", "@key@": "@v@"}, "notify": True},
            {"query": "find the record for @v@"},
        ],
        "result": [
            {"records": [{"id": "@id@", "@key@": "@v@", "active": True}]},
            {"summary": "Changed @noun@ to @v@ for the account @id@."},
        ],
        "nested": [{"payload": {"person": {"@key@": "@v@"}}, "source": "crm"}, {"text": {"note": "reach via @v@ today"}}],
        "code": ["```python\nrow = {'@key@': @q@, 'active': True}\n```", "```sql\nUPDATE people SET @key@ = '@v@' WHERE id = 7;\n```"],
        "url": ["https://@host@/lookup?@key@=@u@&lang=en"],
        "shell": ["grep -rn @s@ ./exports", "./notify.sh --@key@ @s@ --quiet"],
        "log": ["@date@ INFO request from @v@ handled in 12 ms", "@date@ WARN duplicate @key@=@v@ in row 118"],
    },
    "fragment": {
        "prose": ["This is what I have: @v@", "It used to work with @v@ until Monday.", "Can you explain what `@v@` does?"],
        "arguments": [{"text": "@v@", "to": "ops"}, {"input": {"lines": ["# note", "@v@"]}}],
        "result": [{"matches": [{"line": 14, "text": "@v@"}], "count": 1}, {"found": "@v@"}],
        "nested": [{"stdout": {"content": "@v@", "size": 182}}, {"body": {"hits": ["@v@"]}}],
        "code": ["```python\n# @v@\nline = @q@\n```", "```js\nconst line = @q@;\n```"],
        "url": ["https://@host@/paste?text=@u@"],
        "shell": ["printf '%s' @s@ >> notes.txt", "tool run @s@"],
        "log": ["@date@ INFO stdout: @v@", "@date@ DEBUG input was @v@ (sanitised: no)"],
    },
    "block": {
        "prose": ["This is the file:\n\n@v@\n\nIs the format right?", "@v@"],
        "arguments": [{"path": "deploy/key.pem", "content": "@v@\n"}, {"secrets": {"deploy": "@v@"}}],
        "result": [{"files": [{"name": "id", "content": "@v@\n"}]}, {"stdout": "@v@\n", "stderr": ""}],
        "nested": [{"text": {"key": "@v@"}}, {"output": {"file": {"data": "@v@"}}}],
        "code": ["```python\nKEY = '''@v@'''\n```", "```js\nconst key = @q@;\n```"],
        "shell": ["cat > deploy.pem <<'END'\n@v@\nEND\nchmod 600 deploy.pem"],
        "log": ["@date@ DEBUG read 1 file:\n@v@\n@date@ DEBUG done"],
    },
}  # fmt: skip

UNSEEN: dict[str, dict[str, list[Any]]] = {
    "bare": {
        "prose": [
            "Somebody left @v@ in the wiki page, should I worry?",
            "Trag bitte @v@ ein, danach geht es wieder.",
            "the thing that worked last week (@v@) is refused now",
            "Pourquoi est-ce que @v@ ne marche plus ?",
            "First try @v@, then the other. If it says 403, tell me.",
        ],
        "arguments": [
            {"operation": "set", "items": [["first", "@v@"], ["second", None]]},
            {"request": {"method": "GET", "headers": [{"name": "Authorization", "value": "Token @v@"}]}},
            {"message": "rotate @v@ before Friday", "channel": "ops"},
        ],
        "result": [
            {"rows": [["@id@", "@v@", "@date@"]], "columns": ["id", "data", "seen"]},
            {"error": {"code": 403, "message": "credential @v@ lacks scope write"}},
        ],
        "nested": [
            {"content": [{"type": "text", "text": {"result": {"raw": "@v@"}}}]},
            {"stdout": {"found": [{"line": 3, "match": "@v@"}]}, "truncated": False},
        ],
        "code": [
            "```go\nc := sdk.New(@q@)\nif err := c.@Verb@(ctx); err != nil {\n\treturn err\n}\n```",
            "```java\nvar client = Client.builder().credential(@q@).build();\n```",
            "```diff\n- client.open('')\n+ client.open('@v@')\n```",
        ],
        "url": ["https://@host@/oauth/done#access_token=@u@&expires_in=3600", "wss://@host@/socket/@u@/events"],
        "shell": [
            "http POST https://@host@/@verb@ 'X-Auth:@v@' limit==5",
            "wget --header=\"PRIVATE-TOKEN: @v@\" https://@host@/a.zip",
        ],
        "log": [
            '{"level":"error","ts":"@date@","msg":"denied","credential":"@v@"}',
            "[@date@] worker-3 | POST /@verb@ auth=@v@ 403",
        ],
    },
    "keyed": {
        "prose": [
            "For the record, our @noun@ is now @v@ (was rotated today).",
            "@ENV@ is set to @v@ on my laptop.",
            "Don't tell anyone, but the @noun@ = @v@",
            "I changed @key@ to '@v@' and it still says unauthorised.",
        ],
        "arguments": [
            {"provider": {"options": {"@key@": "@v@", "baseURL": "https://@host@"}}},
            {"edits": [{"old": "@ENV@=", "new": "@ENV@=@v@"}]},
            {"headers": {"@Header@": "@v@"}, "url": "https://@host@"},
        ],
        "result": [
            {"environment": [{"name": "@ENV@", "value": "@v@"}], "replicas": 2},
            {"@key@": "@v@", "expires_in": 86400, "scope": "all"},
        ],
        "nested": [
            {"content": [{"type": "text", "text": {"auth": {"@key@": "@v@"}, "ok": True}}]},
            {"log": {"request": {"headers": {"@Header@": "@v@"}}}},
        ],
        "code": [
            "```ts\nexport const config = { @key@: @q@, timeout: 5000 };\n```",
            "```toml\n[service]\n@key@ = @q@\nhost = \"@host@\"\n```",
            "```rust\nlet client = Service::new().@key@(@q@);\nstd::env::set_var(\"@ENV@\", @q@);\n```",
        ],
        "url": ["https://@host@/query?fmt=json&@key@=@u@", "https://@host@/#/login?@key@=@u@"],
        "shell": ["setx @ENV@ \"@v@\"", "echo '@ENV@=@v@' >> .env.local", "kubectl create secret generic app --from-literal=@key@=@s@"],
        "log": [
            '{"time":"@date@","event":"config","@key@":"@v@"}',
            "@date@ [app] env dump: PATH=/usr/bin @ENV@=@v@ LANG=C",
        ],
    },
    "contact": {
        "prose": [
            "wenn was ist: @v@",
            "The customer left @v@ as @noun@, nothing else.",
            "Is @v@ still right? That is the @noun@ I have for @who@.",
            "Apunta @v@, por favor.",
        ],
        "arguments": [
            {"fields": [{"label": "@noun@", "value": "@v@"}]},
            {"patch": [{"op": "replace", "path": "/@key@", "value": "@v@"}]},
            {"note": "@who@ can be found under @v@, says the front desk"},
        ],
        "result": [
            {"hits": [{"_source": {"@key@": "@v@"}, "_score": 1.7}], "took": 4},
            "id,@key@,city\n@id@,@v@,Porto\n",
        ],
        "nested": [
            {"content": [{"type": "text", "text": {"customer": {"@key@": "@v@", "since": "@date@"}}}]},
            {"message": {"body": "Call back: @v@"}},
        ],
        "code": ["```ts\nconst person = { @key@: @q@ };\n```", "```xml\n<person><@key@>@v@</@key@></person>\n```"],
        "url": ["https://@host@/people/@u@/edit", "https://@host@/s?term=@u@"],
        "shell": ["./crm find --by @key@ -- @s@", "awk -F, '$2 == \"@v@\"' people.csv"],
        "log": ['{"level":"info","ts":"@date@","user":"@v@","event":"login"}', "[@date@] rejected: @key@ @v@ is on the list"],
    },
    "fragment": {
        "prose": ["Someone posted this in the channel: @v@ - is that ok?", "Alt war @v@, neu weiss ich nicht.", "@v@"],
        "arguments": [{"cell": {"source": ["import os\n", "@v@\n"]}}, {"message": "see @v@", "thread": "@id@"}],
        "result": [{"diff": "+@v@\n"}, "1 match\n  14: @v@\n"],
        "nested": [{"content": [{"type": "text", "text": {"page": "@v@"}}]}, {"result": {"cells": [["@v@"]]}}],
        "code": ["```go\n// @v@\ns := @q@\n```", "```text\n@v@\n```"],
        "url": ["https://@host@/share?body=@u@&via=chat"],
        "shell": ["echo @s@ | pbcopy", "run --input=@s@"],
        "log": ['{"ts":"@date@","msg":"received","data":@q@}', "[@date@] > @v@"],
    },
    "block": {
        "prose": ["Hier ist der Schluessel, bitte pruefen:\n@v@", "what kind of file starts like this?\n@v@\nthanks"],
        "arguments": [{"files": [{"path": "keys/k1", "text": "@v@"}]}, {"credential": {"type": "file", "body": "@v@"}}],
        "result": [{"rows": [["k1", "@v@"]]}, "-- k1 --\n@v@\n-- end --"],
        "nested": [{"content": [{"type": "text", "text": {"file": "@v@\n"}}]}, {"result": {"blob": {"pem": "@v@"}}}],
        "code": ["```go\nconst key = `@v@`\n```", "```yaml\nkey: |\n  @indented@\n```"],
        "shell": ["echo @s@ | import-key -", "tee k1 <<EOF\n@v@\nEOF"],
        "log": ['{"ts":"@date@","msg":"imported","body":@q@}', "[@date@] body follows\n@v@\n[@date@] end"],
    },
}  # fmt: skip


def key_style(key: str, rng: Random) -> str:
    """Return a snake_case key as it is, in camelCase or in kebab-case."""
    head, *rest = key.split("_")
    return rng.choice((key, key, head + "".join(word.title() for word in rest), key.replace("_", "-")))


def filled(shape: Any, words: dict[str, str]) -> Any:
    """Return a template with every place filled."""
    if isinstance(shape, str):
        return re.sub(r"@(\w+)@", lambda found: words[found[1]], shape)
    if isinstance(shape, list):
        return [filled(item, words) for item in shape]
    if isinstance(shape, dict):
        return {filled(key, words): filled(value, words) for key, value in shape.items()}
    return shape


def places(value: str, noun: str, key: str, rng: Random, who: str, styled: bool) -> dict[str, str]:
    """Return what the places of a template are filled with."""
    verb = rng.choice(VERBS)
    day, clock = (
        f"2026-{rng.randrange(1, 12):02d}-{rng.randrange(1, 28):02d}",
        f"{rng.randrange(10, 24)}:1{rng.randrange(10)}:09",
    )
    return {
        "v": value,
        "q": json.dumps(value),
        "s": shlex.quote(value),
        "u": quote(value, safe=""),
        "indented": value.replace("\n", "\n  "),
        "noun": noun,
        "key": key_style(key, rng) if styled else key,
        "ENV": key.upper(),
        "Header": "X-" + key.replace("_", "-").title(),
        "host": rng.choice(HOSTS),
        "verb": verb,
        "Verb": verb.title(),
        "id": f"{rng.getrandbits(32):08x}",
        "date": f"{day}T{clock}Z",
        "who": who,
    }  # fmt: skip


def nested(value: Any) -> Any:
    """Return an object whose innermost objects under text-like keys are JSON in a string, as tools return them."""
    if isinstance(value, list):
        return [nested(item) for item in value]
    if not isinstance(value, dict):
        return value
    strings = {"text", "output", "body", "stdout", "payload", "log", "result", "message"}
    return {
        key: json.dumps(item, ensure_ascii=False) if key in strings and isinstance(item, dict) else nested(item)
        for key, item in value.items()
    }


def carry(templates: dict[str, list[Any]], carrier: str, words: dict[str, str], rng: Random) -> Any:
    """Return a secret in a carrier: a text, an object of arguments, or the text of a tool's result."""
    made = filled(rng.choice(templates[carrier]), words)
    if carrier == "nested":
        return json.dumps(nested(made), ensure_ascii=rng.random() < 0.5)
    if carrier == "result" and not isinstance(made, str):
        return json.dumps(made, indent=rng.choice((None, None, 2)), ensure_ascii=rng.random() < 0.5)
    return made
