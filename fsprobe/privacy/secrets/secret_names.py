"""Which names say that something is a secret, and what a secret can look like."""

from __future__ import annotations

import re

_STRONG = frozenset(
    "password passwords passwd passphrase pwd token tokens secret secrets credential credentials creds apikey authorization "
    "bearer jwt hmac totp mfa tfa oauth oauth2 "
    "cookie cookies signature authkey authtoken sessionid passwort kennwort losungswort motdepasse mdp senha "
    "contrasena wachtwoord parola haslo".split()
)
_WEAK = frozenset("key keys auth pass pw pat pin otp sig sas session login netrc cred dsn userpwd userpass".split())
"""Such a word counts only where a name ends in it, or nearly."""
_AFTER_WEAK = frozenset("id value data string header hash base64 b64 hex raw plain text prod dev live test".split())
_WITHIN = (
    "password passwd passphrase secret credential apikey accesskey privatekey authtoken accesstoken refreshtoken idtoken "
    "bearertoken sessionid connectionstring authorization"
).split()
_ENDINGS = ("token", "pwd", "pass", "key", "auth", "cookie")
_NOT = frozenset(
    "monkey turkey hotkey donkey whiskey hockey jockey compass bypass trespass overpass underpass subpass multipass onepass "
    "sortkey groupkey joinkey keyvalue".split()
)
_ABOUT = frozenset(
    "file files filename path paths dir directory folder type types kind length len size count num limit max min index dim dropout "
    "name names url uri host port method mode ttl timeout expiry expires lifetime format enabled env var variable provider scheme "
    "version backend class classification level prefix suffix separator columns column bindings map store manager server service "
    "prompt stdin policy required usage".split()
)
"""A name that ends so is of something about a secret, such as the file that it is in."""
_N_OF = frozenset(("tokens", "keys"))
"""With a number they are counted: `--max-tokens 512`."""
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
HARMLESS = re.compile(
    rb"(?i)(?:true|false|yes|no|none|null|on|off|auto|prompt|ask|env|[-*.x?]*|<[a-z ]*>|secret\d+|\$\{?\w+\}?|\$\(.*|`.*)"
)


def is_secret_name(name: bytes) -> bool:
    """Whether an option, variable or field of this name holds a secret."""
    parts: list[str] = [part.lower() for part in _PARTS.findall(name.decode("latin-1"))]
    while parts and parts[-1].isdigit():
        parts.pop()
    if not parts or parts[-1] in _ABOUT:
        return False
    joined = "".join(parts)
    if joined in _NOT or parts[-1] in _NOT:
        return False
    if any(part in _STRONG for part in parts) or any(word in joined for word in _WITHIN):
        return True
    if parts[-1] in _WEAK or (len(parts) > 1 and parts[-1] in _AFTER_WEAK and parts[-2] in _WEAK):
        return True
    return str(parts[-1]).endswith(_ENDINGS)


def is_secret_value(name: bytes, value: bytes) -> bool:
    """Whether what stands with a secret's name can be one: no switch, placeholder, variable or number of things."""
    value = value.strip(b"\"'")
    if not value or HARMLESS.fullmatch(value):
        return False
    return not (value.isdigit() and len(value) < 9 and name.lower().endswith(tuple(word.encode() for word in _N_OF)))


def is_distinctive(value: bytes) -> bool:
    """Whether a secret can be nothing else, so that it is one wherever else it stands."""
    if value[:1] in b"/.~" or len(value) < 6 or value.isdigit():
        return False
    classes = sum(re.search(pattern, value) is not None for pattern in (rb"[a-z]", rb"[A-Z]", rb"\d", rb"[^A-Za-z0-9]"))
    return classes >= 2 or len(value) >= 12
