"""The kinds that a writer of rules may look at while working."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

from random import Random

from redaction_corpus_formats import (
    ALNUM,
    BASE32,
    BASE64,
    DIGITS,
    FIRST,
    HEX,
    LAST,
    UPPER,
    URLSAFE,
    WORDS,
    Secret,
    armour,
    b64,
    b64url,
    draw,
    email,
    grouped,
    iban,
    inside,
    jwt,
    luhn,
    password,
    uuid4,
    whole,
    with_crc62,
)  # fmt: skip

LISTED = tuple(f"{first.title()} {last.title()}" for first, last in zip(FIRST[:10], LAST[:10], strict=True))


def _openai(rng: Random) -> Secret:
    if rng.random() < 0.3:
        return whole(f"sk-{draw(rng, ALNUM, 20)}T3BlbkFJ{draw(rng, ALNUM, 20)}")
    kind = rng.choice(("proj", "svcacct"))
    return whole(f"sk-{kind}-{draw(rng, URLSAFE, 74)}T3BlbkFJ{draw(rng, URLSAFE, 73)}A")


def _aws_id(rng: Random) -> Secret:
    return whole(rng.choice(("AKIA", "AKIA", "ASIA")) + draw(rng, BASE32, 16))


def _slack_bot(rng: Random) -> Secret:
    return whole(f"xoxb-{draw(rng, DIGITS, 12)}-{draw(rng, DIGITS, 13)}-{draw(rng, ALNUM, 24)}")


def _slack_hook(rng: Random) -> Secret:
    tail = draw(rng, ALNUM, 24)
    team, bot = draw(rng, UPPER + DIGITS, 10), draw(rng, UPPER + DIGITS, 10)
    return inside(f"https://hooks.slack.com/services/T{team}/B{bot}/@v@", tail)


def _stripe(rng: Random) -> Secret:
    return whole(f"sk_{rng.choice(('live', 'test'))}_{draw(rng, ALNUM, rng.choice((24, 99)))}")


def _pypi(rng: Random) -> Secret:
    return whole("pypi-AgEIcHlwaS5vcmc" + draw(rng, URLSAFE, rng.randrange(150, 170)))


def _discord(rng: Random) -> Secret:
    owner = b64url(draw(rng, DIGITS, 18).encode())
    return whole(f"{owner}.{draw(rng, URLSAFE, 6)}.{draw(rng, URLSAFE, 38)}")


def _azure_storage(rng: Random) -> Secret:
    key, account = b64(rng.randbytes(64)), rng.choice(WORDS) + "store"
    text = f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey=@v@;EndpointSuffix=core.windows.net"
    return inside(text, key)


def _basic(rng: Random) -> Secret:
    pair = b64(f"{rng.choice(FIRST)}:{password(rng)}".encode())
    return inside(
        rng.choice(("Authorization: Basic @v@", "authorization: basic @v@", "-H 'Authorization: Basic @v@'")), pair
    )


def _bearer(rng: Random) -> Secret:
    token = draw(rng, rng.choice((URLSAFE, HEX)), rng.randrange(32, 64))
    return inside(rng.choice(("Authorization: Bearer @v@", "Bearer @v@", "authorization: bearer @v@")), token)


def _url_password(rng: Random) -> Secret:
    scheme, port = rng.choice((("postgres", 5432), ("postgresql", 5432), ("mysql", 3306), ("https", 443), ("ftp", 21)))
    return inside(
        f"{scheme}://{rng.choice(WORDS)}:@v@@db.{rng.choice(WORDS)}.internal:{port}/{rng.choice(WORDS)}",
        password(rng, "!$*"),
    )


def _env_password(rng: Random) -> Secret:
    name = rng.choice(("DB_PASSWORD", "POSTGRES_PASSWORD", "SMTP_PASS", "ADMIN_PASSWORD", "REDIS_PASSWORD"))
    form = rng.choice((f"{name}=@v@", f'{name}="@v@"', f"export {name}=@v@", f"{name.lower()}: @v@"))
    return inside(form, password(rng))


def _said_password(rng: Random) -> Secret:
    form = rng.choice(
        (
            "my password is @v@", "the wifi password is @v@", "password: @v@", "log in as admin with password @v@",
            "The new password is now @v@", "pw: @v@", "username kai, password @v@", "Passwort: @v@",
        )
    )  # fmt: skip
    return inside(form, password(rng))


def _flag_password(rng: Random) -> Secret:
    form = rng.choice(
        (
            "mysqldump --user=root --password=@v@ shop", "curl -u deploy:@v@ https://dav.redpine.org/f",
            "redis-cli -h cache --pass @v@ ping", "sshpass -p @v@ ssh pi@shed", "psql --password @v@ -h db",
            "PGPASSWORD=@v@ pg_dump shop", "docker login -u ci -p @v@ hub.redpine.org",
        )
    )  # fmt: skip
    return inside(form, password(rng, "%"))


def _cookie(rng: Random) -> Secret:
    token = draw(rng, URLSAFE, rng.choice((32, 43, 64)))
    form = rng.choice(
        (
            "Cookie: session=@v@; theme=dark",
            "Set-Cookie: session_id=@v@; Path=/; HttpOnly",
            "Cookie: lang=de; sessionid=@v@",
        )
    )
    return inside(form, token)


def _phone_us(rng: Random) -> Secret:
    area, middle, last = rng.randrange(201, 989), rng.randrange(200, 999), rng.randrange(10**4)
    area += area % 100 == 11
    form = rng.choice(("({}) {}-{:04d}", "{}-{}-{:04d}", "{}.{}.{:04d}", "1-{}-{}-{:04d}", "+1 {} {} {:04d}"))
    return whole(form.format(area, middle, last))


def _phone_e164(rng: Random) -> Secret:
    code, length = rng.choice(
        (("44", 10), ("49", 11), ("33", 9), ("34", 9), ("39", 10), ("81", 10), ("91", 10), ("55", 11))
    )
    return whole(f"+{code}{rng.randrange(2, 9)}{draw(rng, DIGITS, length - 1)}")


def _card(rng: Random) -> Secret:
    number = luhn(rng, rng.choice(("4", "51", "53", "55", "6011")), 16)
    return whole(grouped(number, (4,), rng.choice(("", " ", "-"))))


def _iban(rng: Random) -> Secret:
    number = iban(rng, rng.choice(("DE", "GB", "FR", "NL")))
    return whole(grouped(number, (4,), rng.choice(("", " "))))


def _ipv4(rng: Random) -> Secret:
    first = rng.choice([n for n in range(11, 223) if n not in (127, 169, 172, 192, 198, 203)])
    return whole(f"{first}." + ".".join(str(rng.randrange(1, 255)) for _ in range(3)))


def _home(rng: Random) -> Secret:
    user = rng.choice(FIRST) + rng.choice(("", "2", rng.choice(LAST)))
    root = rng.choice(("/home", "/home", "/Users"))
    tail = rng.choice(("projects/shop/main.py", ".ssh/config", "Documents/taxes-2025.pdf", "code/api/.env", "notes.md"))
    return Secret(f"{root}/{user}/{tail}", (f"{root}/{user}",))


def _ssn(rng: Random) -> Secret:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    return whole(f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10000):04d}")


def _mac(rng: Random) -> Secret:
    raw = rng.choice((HEX, HEX.upper()))
    return whole(grouped("".join(rng.choices(raw, k=12)), (2,), ":"))


def _wallet(rng: Random) -> Secret:
    return whole("0x" + draw(rng, HEX, 40))


def _telegram(rng: Random) -> Secret:
    return whole(f"{rng.randrange(10**8, 10**10)}:AA{draw(rng, URLSAFE, 33)}")


def _pem(rng: Random) -> Secret:
    return armour("RSA PRIVATE KEY", "MIIEpAIBAAKCAQEA" + b64(rng.randbytes(1176)))


def _openssh(rng: Random) -> Secret:
    head = b64(b"openssh-key-v1\0\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1\0\0\0\x33\0\0\0\x0bssh-ed25519\0\0\0 ")
    return armour("OPENSSH PRIVATE KEY", head.rstrip("=") + b64(rng.randbytes(210)), 70)


# name: (shape, make, noun, key). A "token" says by itself what it is; a "keyed" one is only known by its name.
KINDS = {
    "openai key": ("token", _openai, "OpenAI key", "openai_api_key"),
    "anthropic key": ("token", lambda r: whole(f"sk-ant-api03-{draw(r, URLSAFE, 93)}AA"), "Anthropic key", "anthropic_api_key"),
    "github classic token": ("token", lambda r: whole(with_crc62(r.choice(("ghp_", "gho_", "ghs_")), r)), "GitHub token", "github_token"),
    "github fine-grained token": (
        "token", lambda r: whole(f"github_pat_{draw(r, ALNUM, 22)}_{draw(r, ALNUM, 59)}"), "GitHub token", "gh_token"),
    "gitlab personal token": ("token", lambda r: whole("glpat-" + draw(r, URLSAFE, 20)), "GitLab token", "gitlab_token"),
    "aws access key id": ("token", _aws_id, "AWS access key", "aws_access_key_id"),
    "aws secret key": ("keyed", lambda r: whole(draw(r, BASE64, 40)), "AWS secret access key", "aws_secret_access_key"),
    "google api key": ("token", lambda r: whole("AIza" + draw(r, URLSAFE, 35)), "Google API key", "google_api_key"),
    "google oauth secret": ("token", lambda r: whole("GOCSPX-" + draw(r, URLSAFE, 28)), "client secret", "client_secret"),
    "slack bot token": ("token", _slack_bot, "Slack token", "slack_bot_token"),
    "slack webhook": ("fragment", _slack_hook, "", ""),
    "stripe secret key": ("token", _stripe, "Stripe key", "stripe_secret_key"),
    "twilio api key": ("token", lambda r: whole("SK" + draw(r, HEX, 32)), "Twilio key", "twilio_api_key"),
    "sendgrid key": ("token", lambda r: whole(f"SG.{draw(r, URLSAFE, 22)}.{draw(r, URLSAFE, 43)}"), "SendGrid key", "sendgrid_api_key"),
    "hugging face token": ("token", lambda r: whole("hf_" + draw(r, ALNUM, 34)), "Hugging Face token", "hf_token"),
    "npm token": ("token", lambda r: whole(with_crc62("npm_", r)), "npm token", "npm_token"),
    "pypi token": ("token", _pypi, "PyPI token", "pypi_token"),
    "digitalocean token": ("token", lambda r: whole("dop_v1_" + draw(r, HEX, 64)), "DigitalOcean token", "digitalocean_token"),
    "telegram bot token": ("token", _telegram, "bot token", "telegram_bot_token"),
    "discord bot token": ("token", _discord, "bot token", "discord_bot_token"),
    "shopify token": ("token", lambda r: whole(f"shp{r.choice(('at', 'ca', 'ss'))}_{draw(r, HEX, 32)}"), "Shopify token", "shopify_access_token"),
    "mailchimp key": ("token", lambda r: whole(f"{draw(r, HEX, 32)}-us{r.randrange(1, 22)}"), "Mailchimp key", "mailchimp_api_key"),
    "azure storage string": ("fragment", _azure_storage, "", ""),
    "generic client secret": ("keyed", lambda r: whole(draw(r, URLSAFE, r.randrange(32, 56))), "client secret", "client_secret"),
    "generic api key": ("keyed", lambda r: whole(draw(r, r.choice((HEX, ALNUM)), r.choice((32, 40)))), "API key", "api_key"),
    "json web token": ("token", lambda r: whole(jwt(r)), "access token", "access_token"),
    "rsa private key": ("block", _pem, "", ""),
    "openssh private key": ("block", _openssh, "", ""),
    "basic auth header": ("fragment", _basic, "", ""),
    "bearer header": ("fragment", _bearer, "", ""),
    "password in url": ("fragment", _url_password, "", ""),
    "password in environment": ("fragment", _env_password, "", ""),
    "password said": ("fragment", _said_password, "", ""),
    "password under a key": ("keyed", lambda r: whole(password(r)), "password", "password"),
    "password in a flag": ("fragment", _flag_password, "", ""),
    "session cookie": ("fragment", _cookie, "", ""),
    "session token of an agent": ("keyed", lambda r: whole(uuid4(r)[:r.choice((18, 36))]), "session token", "session_token"),
    "e-mail": ("contact", lambda r: whole(email(r)), "e-mail address", "email"),
    "us phone": ("contact", _phone_us, "phone number", "phone"),
    "e164 phone": ("contact", _phone_e164, "mobile", "phone_number"),
    "card": ("contact", _card, "card number", "card_number"),
    "iban": ("contact", _iban, "IBAN", "iban"),
    "ipv4": ("contact", _ipv4, "address", "client_ip"),
    "us social security number": ("contact", _ssn, "SSN", "ssn"),
    "mac address": ("contact", _mac, "MAC address", "mac"),
    "ethereum address": ("contact", _wallet, "wallet", "wallet_address"),
    "home path": ("fragment", _home, "", ""),
    "listed name": ("contact", lambda r: whole(r.choice(LISTED)), "name", "customer"),
}  # fmt: skip
