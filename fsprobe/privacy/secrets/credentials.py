"""Where passwords, tokens and keys stand in a command line, a variable, a URL, JSON or a header.

Found by the name that goes before them (`--api-key=V`, `TOKEN=V`, `"secret": "V"`, `Authorization: V`), by the place in a URL, by
the options of a few programs (`mysql -pV`, `curl -u USER:V`), and by their own form (`ghp_...`). What is found is a span of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from fsprobe.privacy.secrets.program_options import LOGINS, OF_ANY, PROGRAMS, Account, Span, note_option
from fsprobe.privacy.secrets.secret_names import HARMLESS, is_secret_name, is_secret_value

MAX_DEPTH = 6
"""Command lines within quotes of command lines."""

_STEM = rb"(?:pass|pwd|token|secret|key|cred|auth|cookie|jwt|bearer|sig|sas|session|login|pw|pat|pin|otp|dsn)"
_NAME = re.compile(rb"(?i)(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]{0,60}?" + _STEM + rb"[A-Za-z0-9_.-]{0,40}")
_SEPARATOR = re.compile(rb"(?i)(\\*[\"'])?(\]?\s*(?:=>|:=|==|=|:|%3d|%3a)\s*)(\\*[\"']|\[)?")
_UNQUOTED = re.compile(rb"[^\s\"'&;,)}\]<>|\\]+")
_LINE = re.compile(rb"[^\"'\r\n]+")
_HEADERS = re.compile(rb"(?i).*(?:authorization|cookie|x-[a-z-]*(?:token|key|auth|secret)|private-token|api-key)")
_OPTION = re.compile(rb"(--?[A-Za-z][\w.:-]*)=(.+)", re.DOTALL)
_FLAG = re.compile(rb"--?([A-Za-z][\w.:-]+)")
_ASSIGNED = re.compile(rb"([A-Za-z_/][\w.:/-]*?)=(.+)", re.DOTALL)
_HEADER = re.compile(rb"([A-Za-z][\w-]*):\s*(\S.*)", re.DOTALL)
_URL = re.compile(
    rb"(?i)(?<![a-z0-9])([a-z][a-z0-9+.-]{1,20}):/{1,3}(?=([^\s/?#\"'<>]*@)|([^\s/?#@:\"'<>]+:(?!\d*(?:[/?#\s\"']|$))[^\s@\"'<>]*@))"
)
_URL_ENCODED = re.compile(
    rb"(?i)([a-z][a-z0-9+.-]{1,20})%3a%2f%2f((?:[a-z0-9._~!$&'()*+,;=:-]|%(?!2f|40)[0-9a-f]{2})+)%40"
)
_USERS_ONLY = frozenset(b"ssh sftp git+ssh ssh+git svn+ssh rsync scp rsh file".split())
"""Here a name before the `@` without a password is an account."""
_SCP = re.compile(rb"(?<![\w.:/@-])[A-Za-z][\w.+-]*:([^\s:/@\"']{3,})@(?=[A-Za-z][\w.-]*)")
_PSERVER = re.compile(rb":[pg]server:[^\s:@]+:([^\s@]+)@")
_NETWORKS = re.compile(rb"(?:tcp|o2ib|gni|kfi|ptlf|lo)\d*")
_SCHEMES = re.compile(rb"(?i)\b(?:bearer|basic|negotiate)\s+([A-Za-z0-9+/=._~-]{6,})")
_FORMS = re.compile(
    rb"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}"
    rb"|xox[abposr]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}"
    rb"|dckr_pat_[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|[srpw]\w?h?(?:sec)?_(?:live|test)_[A-Za-z0-9]{16,}|SG\.[\w-]{16,}\.[\w-]{30,}"
    rb"|ya29\.[\w-]{20,}|hv[sbr]\.[\w-]{20,}|do[op]_v1_[0-9a-f]{40,}|nvapi-[\w-]{30,}|r8_[A-Za-z0-9]{30,}|lin_api_[A-Za-z0-9]{30,}"
    rb"|tskey-\w+-[\w-]{20,}|gls[ac]_[\w-]{20,}|shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}|ATATT3[\w=-]{20,}"
    rb"|PMAK-[\w-]{20,}|bot\d{6,}:[\w-]{30,})|-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"']*"
)
_MAY_STAND_IN = re.compile(
    rb"[@=%]|_[A-Za-z0-9]{10}|-[A-Za-z0-9_-]{10}|AKIA|ASIA|AIza|eyJ|PRIVATE KEY|://|SG\.|ya29|hv[sbr]\.|bot\d|ATATT3"
)
_IN_URL = re.compile(
    rb"(?i)://(?:hooks\.slack\.com/(?:services|workflows)|(?:\w+\.)?discord(?:app)?\.com/api/webhooks|[^/\s]+\.webhook\.office\.com/\w+"
    rb"|[^/\s]+/t(?=/[^/\s]+/))/([^\s\"'?#]{8,})|://[^\s\"']*[?&](?:code|sig|hmac|ticket|sv?c?_?sign)=([^\s\"'&#]+)"
)
"""What a webhook's address has after its host, a package channel's after `/t/`, and a query that signs or authorises."""
_IN_LIST = re.compile(rb"[\"']--?([A-Za-z][\w.-]*)\\*[\"']\s*,\s*\\*[\"']([^\"'\\]+)")
_NAME_AND_VALUE = re.compile(
    rb"(?i)\\*[\"'](?:name|key)\\*[\"']\s*:\s*\\*[\"']([\w.-]+)\\*[\"']\s*,\s*\\*[\"']value\\*[\"']\s*:\s*\\*[\"']([^\"'\\]+)"
)
_SAID_TO = re.compile(
    rb"(?:echo|printf)\s+(?:-\w+\s+)*([^\s|;&]+)\s*\|[^|;&\n]*(?:chpasswd|--password-stdin|--with-token|--pass(?:word|phrase)-fd|sudo\s+-S|--stdin)"
)
_SHELL_WORD = re.compile(rb"(?:[^\s\"'\\;|&()]|\\.|\"(?:[^\"\\]|\\.)*\"|'[^']*')+", re.DOTALL)
_BREAKS = re.compile(rb"[\n;|&()]")

_CODE_FOLLOWS = re.compile(rb"-[A-Za-z]*c|--(?:command|wrap|eval)|-e|ssh|eval")
_DASHED = re.compile(rb"-(?!-)(?=.*\d)(?=.*[A-Za-z]).{5,}")
"""Hardly an option: what follows the option of a secret may begin with a dash itself."""
_SETTERS = frozenset(b"set config configure add".split())


def may_stand_in(path: bytes) -> bool:
    """Whether it is worth while to look for a secret in a path."""
    return _MAY_STAND_IN.search(path) is not None


def in_words(words: Sequence[bytes], *, depth: int = 0) -> list[list[Span]]:
    """The spans of each word of a command line that hold a secret; `depth`: how many command lines it stands in."""
    found: list[list[Span]] = [[] for _ in words]
    options: dict[bytes, str] = {}
    program = b""
    account = Account()
    for at, word in enumerate(words):
        base = word.rpartition(b"/")[2]
        if base in PROGRAMS or base in LOGINS:
            program, options = base, PROGRAMS.get(base, {})
        following = words[at + 1] if at + 1 < len(words) else b""
        whole = _of_whole_word(word, is_code=at > 0 and _CODE_FOLLOWS.fullmatch(words[at - 1]) is not None)
        if whole is not None:
            found[at].append(whole)
        else:
            found[at] += in_text(word, depth=depth)
        flag = _FLAG.fullmatch(word)
        if following and (not following.startswith(b"-") or _DASHED.fullmatch(following)):
            named = flag.group(1) if flag is not None and len(flag.group(1)) > 1 else b""
            if not named and at and _SETTERS & set(words[max(0, at - 3) : at]) and not word.startswith(b"-"):
                named = word
            if (
                named
                and is_secret_name(named)
                and is_secret_value(named, following)
                or word == b"login"
                and program in LOGINS
            ):
                found[at + 1].append((0, len(following)))
        for option, how in (options or OF_ANY).items():
            note_option(words, at, option, how, found)
        if word.lower() == b"bearer" and len(following) > 5 and not following.startswith(b"-"):
            found[at + 1].append((0, len(following)))
        if word in (b"password", b"passwd") and program in PROGRAMS and following:
            found[at + 1].append((0, len(following)))
        if not options:
            account.look(words, at, found)
        if program == b"htpasswd" and at and words[at - 1 :] and re.fullmatch(rb"-[A-Za-z]*b[A-Za-z]*", words[at - 1]):
            found[-1].append((0, len(words[-1])))
    return [_merged(spans) for spans in found]


def _of_whole_word(word: bytes, *, is_code: bool) -> Span | None:
    for pattern in (_OPTION, _ASSIGNED, _HEADER):
        match = pattern.fullmatch(word)
        if match is None or is_code:
            continue
        name, value = match.groups()
        if pattern is _HEADER and (value.startswith(b"//") or b"/" in name):
            continue
        if is_secret_name(name) and is_secret_value(name, value) and not _is_nested(value):
            return match.span(2)
    return None


def _is_nested(value: bytes) -> bool:
    return value[:1] in b"{[" and value[-1:] in b"}]"


def in_text(text: bytes, *, depth: int = 0) -> list[Span]:
    """The spans of a text that hold a secret: a URL, JSON, a header, a shell's command line, or lines of such."""
    found = in_path(text)
    for match in _NAME.finditer(text):
        found += _after_name(text, match)
    for pattern in (_SCHEMES, _SAID_TO):
        found += [match.span(1) for match in pattern.finditer(text)]
    found += [
        match.span(2)
        for pattern in (_IN_LIST, _NAME_AND_VALUE)
        for match in pattern.finditer(text)
        if is_secret_name(match.group(1)) and is_secret_value(match.group(1), match.group(2))
    ]
    if depth < MAX_DEPTH and re.search(rb"\s", text.strip()):
        for piece, start in _commands(text):
            for spans, (word, offset) in zip(
                in_words([_bare(word) for word, _ in piece], depth=depth + 1), piece, strict=True
            ):
                quoted = 1 if word[:1] in b"\"'" and len(word) > 1 and _bare(word) != word else 0
                found += [(start + offset + quoted + a, start + offset + quoted + b) for a, b in spans]
    return _merged(found)


def in_path(path: bytes) -> list[Span]:
    """The spans of a path, or of anything else, that hold a secret whatever stands around them."""
    found = [match.span() for match in _FORMS.finditer(path)]
    if b"://" in path:
        found += [match.span(match.lastindex or 0) for match in _IN_URL.finditer(path)]
    if b"@" in path or b"%40" in path:
        for match in _URL.finditer(path):
            info = match.group(2) or match.group(3)
            if b":" in info or match.group(1).lower() not in _USERS_ONLY:
                start = match.end()
                if match.group(1).lower() in _USERS_ONLY:
                    start += info.find(b":") + 1
                found.append((start, match.end() + len(info) - 1))
        found += [
            match.span(2)
            for match in _URL_ENCODED.finditer(path)
            if match.group(1).lower() not in _USERS_ONLY or b"%3a" in match.group(2).lower()
        ]
        found += [match.span(1) for match in _PSERVER.finditer(path)]
        found += [
            match.span(1)
            for match in _SCP.finditer(path)
            if not _NETWORKS.fullmatch(match.group().partition(b":")[0]) and b"://" not in match.group()
        ]
    if b"=" in path or b"%3d" in path.lower():
        for match in _NAME.finditer(path):
            if path[match.end() : match.end() + 1] == b"=" or path[match.end() : match.end() + 3].lower() == b"%3d":
                found += _after_name(path, match)
    return [span for span in _merged(found) if not HARMLESS.fullmatch(path[span[0] : span[1]])]


def _after_name(text: bytes, match: re.Match[bytes]) -> list[Span]:
    separator = _SEPARATOR.match(text, match.end())
    name = match.group()
    if separator is None or not is_secret_name(name.lstrip(b".-")):
        return []
    start, opened = separator.end(), separator.group(3)
    if separator.group(2).strip() == b":" and not separator.group(1) and not opened:
        if text[start : start + 2] == b"//" or not separator.group(2).endswith((b" ", b":")):
            return []
        if _HEADERS.fullmatch(name):
            value = _LINE.match(text, start)
            return [value.span()] if value is not None and is_secret_value(name, value.group()) else []
    if opened == b"[":
        end = text.find(b"]", start)
        return [(start, len(text) if end < 0 else end)]
    if opened:
        end = _closing(text, start, opened)
    else:
        value = _UNQUOTED.match(text, start)
        end = value.end() if value is not None else start
    return [(start, end)] if end > start and is_secret_value(name, text[start:end]) else []


def _closing(text: bytes, start: int, opened: bytes) -> int:
    """Where a quoted value ends: at the same quote with as many backslashes before it."""
    for match in re.finditer(rb"\\*" + re.escape(opened[-1:]), text[start:]):
        if len(match.group()) <= len(opened):
            return start + match.start()
    return len(text)


def _commands(text: bytes) -> Iterator[tuple[list[tuple[bytes, int]], int]]:
    """The words of each command of a shell's line, with their places."""
    piece: list[tuple[bytes, int]] = []
    last = 0
    for match in _SHELL_WORD.finditer(text):
        if piece and _BREAKS.search(text[last : match.start()]):
            yield piece, 0
            piece = []
        piece.append((match.group(), match.start()))
        last = match.end()
    # a text in one quoted word is what it was: it must get shorter each time
    if piece and not (len(piece) == 1 and len(piece[0][0]) == len(text)):
        yield piece, 0


def _bare(word: bytes) -> bytes:
    return word[1:-1] if len(word) > 1 and word[:1] in b"\"'" and word[-1:] == word[:1] else word


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def replaced(text: bytes, spans: Sequence[Span], replacement: Callable[[bytes], bytes]) -> bytes:
    """`text` with each span replaced."""
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], replacement(text[start:end])]
        at = end
    return b"".join([*pieces, text[at:]])
