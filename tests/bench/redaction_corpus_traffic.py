"""What agents' tools return on a normal day, none of it secret: orders, hashes, versions, logs, tables, pages.

Everything here looks a little like a secret and is none; whatever is replaced in it is replaced wrongly.
"""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

from redaction_corpus_formats import ALNUM, DIGITS, HEX, UPPER, URLSAFE, WORDS, b64, draw, ean13, uuid4

SENTENCES = (
    "I forgot my password, how can I reset it?", "The password must be at least 12 characters long and hold a digit.",
    "Where do I find the API key in the settings?", "Your token has expired, please sign in again.",
    "A secret should never be committed to the repository.", "Is the token count the same for both models?",
    "The model was asked for at most 4096 tokens and used 3,812.", "Set the password with the --password-file flag, not in clear.",
    "The key insight is that the key of a dict must be hashable.", "Press the space key, then Enter; the key: patience.",
    "Das Passwort muss mindestens zwölf Zeichen haben.", "Ich habe mein Passwort vergessen, was nun?",
    "Le mot de passe doit contenir un chiffre.", "La contraseña debe cambiarse cada 90 días.",
    "She has the authorization to sign: basic training is done.", "Bearer bonds are rarely used nowadays.",
    "The session cookie is called sessionid and lasts two weeks.", "Your order 302-8841902-1175534 ships on Tuesday.",
    "The meeting is on 2026-03-14 from 10:30 to 11:45 in room 2.104.", "Flight LH1834 leaves at 06:55 from gate A22.",
    "The recipe takes 350 g flour, 7 g salt and 240 ml water at 230 C.", "ISBN 978-3-16-148410-0 is the usual example.",
    "The coordinates are 48.137154, 11.576124, near the town hall.", "It cost 1,299.00 EUR, down from 1,549.00 EUR.",
    "Chapter 4.2.1 explains it, see also section 10.3.2.1.", "The score was 21:19, 18:21, 15:13 in the end.",
    "We moved from version 2.31.0 to 2.32.4 without trouble.", "Call it with credentials=None and let it find its own.",
    "Use os.environ['API_KEY'] and keep the value out of the code.", "The auth header is built from the user's own token.",
    "Dial 112 in an emergency, everywhere in Europe.", "The train RE 4 to Aachen stops at platform 11.",
    "I walked 12,480 steps and slept 7 h 25 min.", "The pH is 7.4, the pressure 1013.25 hPa.",
    "My favourite words are: abandon, ability, able, about, above.", "A seed phrase has 12 or 24 words, keep it on paper.",
    "The secret of a good dough is time.", "He kept it a secret: nobody knew about the party.",
    "pass the salt, please", "The passport office opens at 8, bring two photos.", "Use the API: key features are listed below.",
    "Turn left at /home, the page for members.", "The folder /home/shared holds nothing of anybody.", "El token caduca mañana a las 10:00.",
    "secret: none", "password: (unchanged)", "token: <your token here>", '{"pin": "top-left"}', '{"secret": "********"}', "api_key = os.getenv('API_KEY')", "password=${DB_PASSWORD}",
    "authorization: required", "The license key is printed on the box of the game.", "access_token is null after logout",
)  # fmt: skip
SETTINGS = {
    "max_tokens": 4096, "tokenizer": "llama-bpe", "token_type": "bearer", "password_required": True, "passwordless": False,
    "keyboard": "de-latin1", "key_size": 2048, "secret_santa": "on", "auth": "none", "authorization_url": "/oauth/authorize",
    "sort_key": "created_at", "primary_key": "id", "private": False, "public_key_algorithm": "ssh-ed25519", "pass_rate": 0.93,
    "password_min_length": 12, "token_usage": {"prompt_tokens": 812, "completion_tokens": 64}, "eos_token": "<|eot_id|>",
    "cookie_name": "session", "credential_type": "none", "api_key": None, "password": "",
}  # fmt: skip


def _stamp(rng: Random) -> str:
    return f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z"


def _version(rng: Random) -> str:
    return f"{rng.randrange(0, 20)}.{rng.randrange(0, 40)}.{rng.randrange(0, 30)}" + rng.choice(
        ("", "", "rc1", ".post1", "-beta.2", "+cu128")
    )


def _orders(rng: Random) -> str:
    rows = [
        {
            "order": f"{rng.randrange(300, 310)}-{draw(rng, DIGITS, 7)}-{draw(rng, DIGITS, 7)}", "sku": f"{draw(rng, UPPER, 3)}-{draw(rng, DIGITS, 5)}",
            "price": round(rng.uniform(3, 900), 2), "currency": rng.choice(("EUR", "USD")), "placed_at": _stamp(rng),
            "tracking": rng.choice(("JJD0", "1Z", "00340")) + draw(rng, DIGITS, 14), "gtin": ean13(rng, "40"),
        }
        for _ in range(rng.randrange(2, 6))
    ]  # fmt: skip
    return json.dumps({"orders": rows, "total": len(rows), "nextPageToken": rng.choice(("", "CAoQAA", "eyJwIjoyfQ"))})


def _commits(rng: Random) -> str:
    lines = []
    for _ in range(rng.randrange(3, 9)):
        subject = f"{rng.choice(('Fix', 'Add', 'Drop', 'Speed up'))} {rng.choice(WORDS)} {rng.choice(('parser', 'token bucket', 'key index', 'cache'))}"
        lines.append(f"commit {draw(rng, HEX, 40)}\nDate:   {_stamp(rng)}\n\n    {subject} (#{rng.randrange(9999)})\n")
    return "\n".join(lines)


def _files(rng: Random) -> str:
    names = [f"{rng.choice(WORDS)}_{rng.choice(WORDS)}.{rng.choice(('py', 'ts', 'md', 'json'))}" for _ in range(8)]
    return "\n".join(f"{draw(rng, HEX, 64)}  src/{name}" for name in names)


def _images(rng: Random) -> str:
    rows = [
        f"{rng.choice(WORDS)}/{rng.choice(WORDS)}   {_version(rng)}   sha256:{draw(rng, HEX, 64)}   {rng.randrange(3, 30)} hours ago   {rng.randrange(20, 900)}MB"
        for _ in range(5)
    ]
    return "REPOSITORY   TAG   DIGEST   CREATED   SIZE\n" + "\n".join(rows)


def _install(rng: Random) -> str:
    lines = [f"Collecting {rng.choice(WORDS)}-{rng.choice(WORDS)}=={_version(rng)}" for _ in range(4)]
    lines += [
        f"  Using cached {rng.choice(WORDS)}-{_version(rng)}-cp311-cp311-manylinux_2_17_x86_64.whl ({rng.randrange(10, 999)} kB)"
        for _ in range(3)
    ]
    lines += [f"    --hash=sha256:{draw(rng, HEX, 64)}" for _ in range(3)]
    return "\n".join(lines)


def _log(rng: Random) -> str:
    kinds = (
        lambda: (
            f"GET /api/v2/items/{rng.randrange(10**6)}?page={rng.randrange(40)}&sort=price 200 {rng.randrange(900)}ms"
        ),
        lambda: f"request_id=req_{draw(rng, ALNUM, 24)} tokens={rng.randrange(9000)} cached=true",
        lambda: f"worker-{rng.randrange(16)} picked job {uuid4(rng)} from queue mail",
        lambda: f"gc pause {rng.uniform(1, 60):.2f}ms heap={rng.randrange(90, 900)}MiB addr=0x{draw(rng, HEX, 12)}",
        lambda: f"listening on 0.0.0.0:{rng.randrange(3000, 9000)} and 127.0.0.1:{rng.randrange(3000, 9000)}",
        lambda: f'etag=W/"{draw(rng, HEX, 32)}" max-age=3600',
        lambda: f"trace_id={draw(rng, HEX, 32)} span_id={draw(rng, HEX, 16)} sampled=1",
        lambda: (
            f"snowflake {rng.randrange(10**17, 2 * 10**18)} at {rng.randrange(1_760_000_000_000, 1_790_000_000_000)}"
        ),
        lambda: "token refreshed, password unchanged, 2 sessions closed",
    )
    levels = ("INFO ", "WARN ", "DEBUG")
    return "\n".join(f"{_stamp(rng)} {rng.choice(levels)} {rng.choice(kinds)()}" for _ in range(rng.randrange(4, 12)))


def _trace(rng: Random) -> str:
    frames = "".join(
        f'  File "/usr/lib/python3.11/site-packages/{rng.choice(WORDS)}/{rng.choice(WORDS)}.py", line {rng.randrange(900)}, in {rng.choice(WORDS)}\n'
        f"    return self._{rng.choice(WORDS)}(key, token=token, **options)\n"
        for _ in range(rng.randrange(2, 6))
    )
    return f"Traceback (most recent call last):\n{frames}KeyError: '{rng.choice(WORDS)}_{rng.choice(WORDS)}'"


def _places(rng: Random) -> str:
    rows = [
        {
            "name": f"{rng.choice(WORDS).title()} {rng.choice(('Cafe', 'Hall', 'Museum'))}", "lat": round(rng.uniform(-60, 70), 6),
            "lon": round(rng.uniform(-180, 180), 6), "place_id": "ChIJ" + draw(rng, URLSAFE, 23), "rating": round(rng.uniform(2, 5), 1),
            "hours": "10:00-18:30", "postcode": draw(rng, DIGITS, 5), "updated": rng.randrange(1_760_000_000, 1_790_000_000),
        }
        for _ in range(3)
    ]  # fmt: skip
    return json.dumps({"results": rows, "status": "OK"})


def _page(rng: Random) -> str:
    links = [
        f"https://{rng.choice(WORDS)}.example/{rng.choice(WORDS)}/{draw(rng, DIGITS, 8)}-{rng.choice(WORDS)}.html?utm_source=news&id={draw(rng, ALNUM, 11)}"
        for _ in range(4)
    ]
    body = {
        "title": f"{rng.choice(WORDS)} and {rng.choice(WORDS)}",
        "links": links,
        "isbn": ean13(rng, "978"),
        "doi": f"10.{rng.randrange(1000, 9999)}/s{draw(rng, DIGITS, 5)}-0{draw(rng, DIGITS, 2)}",
    }
    return json.dumps(
        {
            "page": json.dumps(body),
            "thumbnail": "data:image/png;base64,iVBORw0KGgo" + b64(rng.randbytes(rng.randrange(60, 700))),
        }
    )


def _weather(rng: Random) -> str:
    hours = [
        {"time": f"{hour:02d}:00", "temp": round(rng.uniform(-5, 35), 1), "hPa": rng.randrange(980, 1040)}
        for hour in range(6, 22, 3)
    ]
    return json.dumps(
        {"city": rng.choice(WORDS).title(), "hourly": hours, "sunrise": "06:41", "station": f"{draw(rng, UPPER, 4)}"}
    )


def _table(rng: Random) -> str:
    rows = [
        f"{rng.randrange(10**6)},{rng.choice(WORDS)},{rng.uniform(0, 1):.10f},{draw(rng, HEX, 7)},{_stamp(rng)[:10]}"
        for _ in range(rng.randrange(4, 14))
    ]
    return "id,name,score,rev,day\n" + "\n".join(rows)


def _settings(rng: Random) -> str:
    chosen = rng.sample(sorted(SETTINGS), 9)
    return json.dumps(
        {key: SETTINGS[key] for key in chosen} | {"version": _version(rng), "build": draw(rng, DIGITS, 10)},
        indent=rng.choice((None, 2)),
    )


def _talk(rng: Random) -> str:
    plain = [
        f"The {rng.choice(WORDS)} {rng.choice(('stands', 'lies', 'waits', 'hangs'))} {rng.choice(('behind', 'near', 'under'))} the "
        f"{rng.choice(WORDS)}, {rng.choice(('as it did', 'since we came', 'about'))} {rng.randrange(2, 60)} {rng.choice(('days', 'weeks', 'hours'))} ago."
        for _ in range(rng.randrange(5, 12))
    ]
    plain.insert(rng.randrange(len(plain)), rng.choice(SENTENCES))
    return " ".join(plain)


def _pods(rng: Random) -> str:
    rows = [
        f"{rng.choice(WORDS)}-{draw(rng, HEX, 9)}-{draw(rng, ALNUM, 5).lower()}   1/1   Running   {rng.randrange(9)}   {rng.randrange(1, 90)}d"
        for _ in range(5)
    ]
    return "NAME   READY   STATUS   RESTARTS   AGE\n" + "\n".join(rows)


def _lock(rng: Random) -> str:
    rows = [
        f'    "node_modules/{rng.choice(WORDS)}": {{\n      "version": "{rng.randrange(9)}.{rng.randrange(30)}.{rng.randrange(9)}",\n      "integrity": "sha512-{b64(rng.randbytes(64))}"\n    }}'
        for _ in range(4)
    ]
    return "{\n" + ",\n".join(rows) + "\n}"


def _answers(rng: Random) -> str:
    body = {
        "id": "chatcmpl-" + draw(rng, ALNUM, 29),
        "object": "chat.completion",
        "created": rng.randrange(1_760_000_000, 1_790_000_000),
        "system_fingerprint": "fp_" + draw(rng, HEX, 10),
        "choices": [
            {"index": 0, "tool_call": f"call_{draw(rng, ALNUM, 24)}", "message_id": f"msg_{draw(rng, ALNUM, 24)}"}
        ],
        "cursor": b64(f"offset:{rng.randrange(10**4)}".encode()),
    }
    return json.dumps(body)


MAKERS = (
    _orders, _commits, _files, _images, _install, _log, _log, _trace, _places, _page, _weather, _table, _settings, _talk, _talk,
    _pods, _lock, _answers,
)  # fmt: skip


def traffic(seed: str) -> Iterator[tuple[str, str]]:
    """Yield (name of what made it, text) without end."""
    rng = Random(seed)
    while True:
        make = rng.choice(MAKERS)
        yield make.__name__.strip("_"), make(rng)
