"""The rest of the unseen half: what everybody has, in other forms than the seen half has it."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

from pathlib import Path
from random import Random

from redaction_corpus_formats import (
    ALNUM,
    BASE32,
    BASE64,
    DIGITS,
    FIRST,
    HEX,
    LAST,
    URLSAFE,
    WORDS,
    Secret,
    armour,
    b64,
    base58check,
    bech32,
    draw,
    email,
    grouped,
    iban,
    inside,
    jwt,
    luhn,
    password,
    whole,
)  # fmt: skip

PHRASES = (Path(__file__).with_name("redaction_corpus_phrases.txt")).read_text(encoding="utf-8").split("\n")[:-1]
LISTED = (
    "Noor-Aline Vermeulen", "Søren Østergaard", "Project Bluewhistle", "Müller-Lüdenscheidt", "José Íñiguez", "Kallmünz",
    "Tomasz O'Hara", "Wren Abara",
)  # fmt: skip


def _jwt_other(rng: Random) -> Secret:
    claims = {
        "iss": "https://login.example.org/",
        "email": email(rng),
        "scope": ["read", "write"],
        "exp": 1_790_000_000,
    }
    return whole(jwt(rng, rng.choice(("RS256", "ES256")), claims))


def _pgp(rng: Random) -> Secret:
    tail = "=" + draw(rng, BASE64, 4)
    return armour("PGP PRIVATE KEY BLOCK", "lQPGBG" + b64(rng.randbytes(800)), 64, ("Version: GnuPG v2", ""), tail)


def _other_key(rng: Random) -> Secret:
    if rng.random() < 0.5:
        return armour("EC PRIVATE KEY", "MHcCAQEEI" + b64(rng.randbytes(109)))
    return armour("ENCRYPTED PRIVATE KEY", "MIIFHDBOBgkqhkiG9w0BBQ0wQTAp" + b64(rng.randbytes(700)))


def _dsn(rng: Random) -> Secret:
    value, host = password(rng, "!*$"), f"{rng.choice(WORDS)}.prod.example"
    return inside(
        rng.choice(
            (
                f"redis://default:@v@@{host}:6379/0", f"mongodb+srv://app:@v@@{host}/main?retryWrites=true",
                f"amqps://worker:@v@@{host}/vhost", f"jdbc:mysql://{host}:3306/shop?user=app&password=@v@&useSSL=true",
                f"Server={host};Database=crm;User Id=sa;Password=@v@;Encrypt=yes", f"Driver=ODBC 18;Server={host};UID=app;PWD=@v@",
                f"sftp://backup:@v@@{host}/daily", f"smtp://no-reply:@v@@{host}:587", f"host={host} user=app password=@v@ dbname=crm",
            )
        ),
        value,
    )  # fmt: skip


def _said_elsewhere(rng: Random) -> Secret:
    form = rng.choice(
        (
            "Mein Passwort lautet @v@", "Das WLAN-Passwort ist @v@", "mot de passe : @v@", "le mot de passe est @v@",
            "la contraseña es @v@", "contraseña: @v@", "passphrase is @v@", "Kennwort: @v@",
            "the login for the router is admin / password @v@", "the passcode to the vault is @v@",
        )
    )  # fmt: skip
    return inside(form, password(rng, "!#?"))


def _files(rng: Random) -> Secret:
    value = draw(rng, ALNUM, 36)
    form = rng.choice(
        (
            f"machine git.redpine.org login {rng.choice(FIRST)} password @v@", "//registry.npmjs.org/:_authToken=@v@",
            '<add key="ClientSecret" value="@v@" />', "spring.datasource.password=@v@", "secret_key_base: @v@",
            "aws_session_token = @v@", "define('AUTH_KEY', '@v@');", "SECRET_KEY = 'django-insecure-@v@'",
            "*:5432:*:app:@v@", "index-url = https://__token__:@v@@pypi.redpine.org/simple",
        )
    )  # fmt: skip
    return inside(form, value)


def _encoded_auth(rng: Random) -> Secret:
    pair = b64(f"{rng.choice(FIRST)}:{password(rng)}".encode())
    value = b64(password(rng).encode() + rng.randbytes(3).hex().encode())
    return rng.choice(
        (
            inside('{"auths": {"ghcr.io": {"auth": "@v@"}}}', pair),
            inside("Proxy-Authorization: Basic @v@", pair),
            inside("kind: Secret\ndata:\n  password: @v@", value),
            inside("client-key-data: @v@", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt" + b64(rng.randbytes(120))),
        )
    )


def _headers(rng: Random) -> Secret:
    value = draw(rng, rng.choice((ALNUM, HEX, URLSAFE)), rng.choice((24, 32, 40)))
    form = rng.choice(
        (
            "X-Api-Key: @v@",
            "x-auth-token: @v@",
            "Authorization: Token @v@",
            "Authorization: ApiKey @v@",
            "api-key: @v@",
            "X-Vault-Token: @v@",
        )
    )
    return inside(form, value)


def _cookies(rng: Random) -> Secret:
    value = draw(rng, ALNUM, 32)
    form = rng.choice(
        (
            f"Cookie: connect.sid=s%3A@v@.{draw(rng, ALNUM, 20)}; consent=1", "Set-Cookie: JSESSIONID=@v@; Secure",
            "PHPSESSID=@v@; lang=en", "Cookie: _ga=GA1.2.3; auth_token=@v@", "Set-Cookie: remember_user_token=@v@; HttpOnly",
            "Cookie: laravel_session=@v@",
        )
    )  # fmt: skip
    return inside(form, value)


def _otpauth(rng: Random) -> Secret:
    issuer = rng.choice(WORDS).title()
    return inside(
        f"otpauth://totp/{issuer}:{rng.choice(FIRST)}?secret=@v@&issuer={issuer}&digits=6", draw(rng, BASE32, 32)
    )


def _wallets(rng: Random) -> Secret:
    make = rng.randrange(4)
    if make == 0:
        return whole(base58check(b"\0" + rng.randbytes(20)))
    if make == 1:
        return whole(bech32("bc", rng.randbytes(20), 0))
    if make == 2:
        return whole(base58check(b"\5" + rng.randbytes(20)))
    return whole("0x" + draw(rng, HEX, 40))


def _wallet_key(rng: Random) -> Secret:
    if rng.random() < 0.6:
        return whole(base58check(b"\x80" + rng.randbytes(32) + b"\1"))
    extended = b"\x04\x88\xad\xe4\3" + rng.randbytes(40) + b"\0" + rng.randbytes(32)
    return whole(base58check(extended))


def _seed_phrase(rng: Random) -> Secret:
    phrase = rng.choice(PHRASES)
    words = phrase.split()
    form = rng.choice(("seed phrase: @v@", "My recovery phrase is @v@", 'mnemonic = "@v@"', "the 12 or 24 words: @v@"))
    return Secret(form.replace("@v@", phrase), tuple(" ".join(words[at : at + 4]) for at in range(0, len(words), 4)))


def _phones(rng: Random) -> Secret:
    n = draw(rng, DIGITS, 12)
    forms = (
        f"020 7{n[:3]} {n[3:7]}", f"07{700 + int(n[0])} {n[1:7]}", f"0161 {n[:3]} {n[3:7]}", f"+44 7{700 + int(n[0])} {n[1:7]}",
        f"030 {n[:4]}{n[4:8]}", f"0171/{n[:7]}", f"089-{n[:3]} {n[3:7]}", f"+49 (0)221 {n[:4]} {n[4:6]}", f"0049 176 {n[:8]}",
        f"06 {n[:2]} {n[2:4]} {n[4:6]} {n[6:8]}", f"01.{n[:2]}.{n[2:4]}.{n[4:6]}.{n[6:8]}", f"+33 6 {n[:2]} {n[2:4]} {n[4:6]} {n[6:8]}",
    )  # fmt: skip
    return whole(rng.choice(forms))


def _cards(rng: Random) -> Secret:
    make = rng.randrange(4)
    if make == 0:
        return whole(grouped(luhn(rng, rng.choice(("34", "37")), 15), (4, 6, 5), rng.choice((" ", "-", ""))))
    if make == 1:
        return whole(grouped(luhn(rng, "36", 14), (4, 6, 4), rng.choice((" ", ""))))
    if make == 2:
        return whole(grouped(luhn(rng, "35" + str(rng.randrange(28, 90)), 16), (4,), rng.choice((" ", "-"))))
    return whole(grouped(luhn(rng, "22" + str(rng.randrange(30, 69)), 16), (4,), rng.choice((" ", "-"))))


def _ibans(rng: Random) -> Secret:
    number = iban(rng, rng.choice(("ES", "IT", "CH", "AT", "BE", "PL", "SE", "PT", "IE", "NO")))
    return whole(rng.choice((number, number, *[grouped(number, (4,), " ")] * 3, number.lower())))


def _ipv6(rng: Random) -> Secret:
    groups = [f"{rng.randrange(1, 65536):x}" for _ in range(8)]
    groups[0] = rng.choice(("2a02", "2001", "2600", "2a01"))
    groups[1] = f"{rng.randrange(0x100, 0xD00):x}"
    full = ":".join(groups)
    return whole(
        rng.choice(
            (
                full,
                ":".join(groups[:4]) + "::" + groups[7],
                ":".join(groups[:3]) + "::" + ":".join(groups[6:]),
                full.upper(),
            )
        )
    )


def _ipv4_forms(rng: Random) -> Secret:
    first = rng.choice([n for n in range(20, 190) if n not in (127, 169, 172)])
    number = f"{first}." + ".".join(str(rng.randrange(1, 255)) for _ in range(3))
    form = rng.choice(
        (
            "ssh root@@v@",
            "http://@v@:8080/health",
            "peer @v@:51820 handshake",
            "from @v@/24",
            "[@v@] connected",
            "ip=@v@,proto=tcp",
        )
    )
    return inside(form, number)


def _macs(rng: Random) -> Secret:
    raw = "".join(rng.choices(HEX, k=12))
    return whole(rng.choice((grouped(raw.upper(), (2,), "-"), grouped(raw, (4,), "."), grouped(raw, (2,), ":"))))


def _email_forms(rng: Random) -> Secret:
    local, domain = email(rng).split("@")
    plain = f"{local}+{rng.choice(WORDS)}@{domain}"
    form = rng.choice(("mailto:@v@", "<@v@>", "user=@v@;role=admin", '"K. Lind" <@v@>', "cc:@v@,", "From: @v@"))
    return inside(form, rng.choice((plain, f"{local}@{domain}", f"{local}@mail.{domain}", f"{local}@{domain}".upper())))


def _windows_home(rng: Random) -> Secret:
    user = rng.choice(
        (
            rng.choice(FIRST).title(),
            f"{rng.choice(FIRST)}.{rng.choice(LAST)}",
            f"{rng.choice(FIRST)[0]}{rng.choice(LAST)}",
        )
    )
    form = rng.choice(
        (
            f"C:\\Users\\{user}\\Documents\\offer.docx", f"C:/Users/{user}/AppData/Local/app.log", f"D:\\Users\\{user}\\repo\\src",
            f"/mnt/c/Users/{user}/Downloads", f"file:///home/{user.lower()}/plan.html", f"/Users/{user.lower()}/Library/Logs/x.log",
        )
    )  # fmt: skip
    tail = next(joint + name for joint in "\\/" for name in (user, user.lower()) if joint + name in form)
    return Secret(form, (f"Users{tail}" if "Users" in form else f"home{tail}",))


def _echoed(rng: Random) -> Secret:
    return whole(password(rng))


# As in the seen half.
KINDS = {
    "signed token with claims": ("token", _jwt_other, "ID token", "id_token"),
    "pgp private key": ("block", _pgp, "", ""),
    "other private key": ("block", _other_key, "", ""),
    "connection string": ("fragment", _dsn, "", ""),
    "password said elsewhere": ("fragment", _said_elsewhere, "", ""),
    "password echoed": ("echoed", _echoed, "password", "new_password"),
    "line of a settings file": ("fragment", _files, "", ""),
    "encoded credentials": ("fragment", _encoded_auth, "", ""),
    "key headers": ("fragment", _headers, "", ""),
    "framework cookie": ("fragment", _cookies, "", ""),
    "otpauth url": ("fragment", _otpauth, "", ""),
    "wallet address": ("contact", _wallets, "wallet", "payout_address"),
    "wallet private key": ("token", _wallet_key, "wallet key", "wallet_private_key"),
    "seed phrase": ("fragment", _seed_phrase, "", ""),
    "uk de fr phone": ("contact", _phones, "Telefon", "telefon"),
    "other cards": ("contact", _cards, "credit card", "card"),
    "other ibans": ("contact", _ibans, "bank account", "account_iban"),
    "ipv6": ("contact", _ipv6, "host", "remote_addr"),
    "ipv4 in other forms": ("fragment", _ipv4_forms, "", ""),
    "mac in other forms": ("contact", _macs, "device", "hw_addr"),
    "e-mail in other forms": ("fragment", _email_forms, "", ""),
    "home path of other systems": ("fragment", _windows_home, "", ""),
    "listed name in other forms": ("contact", lambda r: whole(r.choice(LISTED)), "client", "client_name"),
}  # fmt: skip
