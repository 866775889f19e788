"""What of a recorded call's values no analysis reads, and is not kept: arguments of programs beyond program and script, the
names and values of extended attributes, what a filesystem is mounted from and with.

Whole blocks of a log pass untouched where no such call stands in them, which is nearly always.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = b'""...'
"""A string of which strace shows no letter."""
EXECS = (b"execve", b"execveat")
_SIGNS = (b"execve", b"xattr", b" mount(", b" mount resumed>", b" mount ")
"""One of these stands in each line that may have to be cut."""
_STRING = rb'"(?:[^"\\]|\\.)*"(?:\.\.\.)?'
_OPEN_STRING = rb'"(?:[^"\\]|\\.|\\\Z)*(?:"(?:\.\.\.)?|\Z)'
"""Also one without its end, up to the end: to look for the end of each of many would take the square of the time."""
_CALL = re.compile(
    rb"(?:\s*\[?(?:pid +)?\d+\]?(?:<[^>]*>)? +)?(?:[\d:.]+ )?(?: *\(\+ *[\d.]+\) )?"
    rb"(?:([a-z_][a-z0-9_]*)\(|<\.\.\. ([a-z_][a-z0-9_]*) resumed>)"
)
_EXEC = re.compile(_OPEN_STRING + rb"|NULL|0x[0-9a-f]+", re.DOTALL)
_STRINGS = re.compile(_OPEN_STRING, re.DOTALL)
_ARRAY = re.compile(rb"\[(?:" + _OPEN_STRING + rb'|[^"\]])*(?:\]|\Z)', re.DOTALL)
_WORD = re.compile(_OPEN_STRING + rb"|[^\s\",\[\]]+", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_PYTHON = re.compile(rb"^(?:python|pypy)[0-9.]*$")
_SHELLS = frozenset((b"sh", b"bash", b"dash", b"zsh", b"ksh"))
_MANY_IN_ONE = frozenset((b"busybox", b"toybox", b"coreutils", b""))
"""Programs that are whatever their first argument says, and a program that is named by a descriptor alone."""
_X_OPTION = re.compile(rb"[a-z_]+(?:=(?:\d+|on|off|default))?")
_X_OPTIONS = frozenset(
    b"importtime frozen_modules dev utf8 faulthandler tracemalloc showrefcount no_debug_ranges int_max_str_digits perf "
    b"perf_jit gil cpu_count warn_default_encoding lazy_imports thread_inherit_context context_aware_warnings".split()
)
_W_OPTIONS = frozenset((b"default", b"error", b"always", b"all", b"module", b"once", b"ignore"))
_WORKERS = b"multiprocessing"
_VALUES_OF_OPTIONS = frozenset((b"-o", b"+o", b"--rcfile", b"--init-file", b"--check-hash-based-pycs"))
_ENV_VALUES = frozenset((b"-u", b"--unset", b"-C", b"--chdir"))


def cut_block(block: "bytes", command: "Sequence[bytes]" = ()) -> "bytes":
    """Whole lines of a log of one of fsprobe's own tracers, cut: as many lines, the same events.

    Args:
        block: ends with a line's end, or with the log.
        command: the user's own command, whose arguments stay: the manifest holds them, too.
    """
    starts = set()
    for sign in _SIGNS:
        at = block.find(sign)
        while at >= 0:
            starts.add(block.rfind(b"\n", 0, at) + 1)
            at = block.find(sign, (block.find(b"\n", at) + 1) or len(block))
    if not starts:
        return block
    pieces, done = [], 0
    for start in sorted(starts):
        end = block.find(b"\n", start)
        end = len(block) if end < 0 else end
        pieces += [block[done:start], cut_line(block[start:end], command)]
        done = end
    pieces.append(block[done:])
    return b"".join(pieces)


def cut_line(line: "bytes", command: "Sequence[bytes]" = ()) -> "bytes":
    """One line of a log without its end, cut."""
    match = _CALL.match(line)
    if match is None:
        return line
    name = match.group(1) or match.group(2)
    head, rest = line[: match.end()], line[match.end() :]
    if name in EXECS:
        return head + (_cut_exec(rest, command) if match.group(1) else _ARRAY.sub(_cut_array, rest))
    if name == b"mount" or b"xattr" in name:
        n_strings = [0]

        def one(found: "re.Match[bytes]") -> "bytes":
            n_strings[0] += 1
            string = found.group()
            if match.group(1) and (_mount_keeps(n_strings[0], string) if name == b"mount" else n_strings[0] == 1):
                return string
            return NOTHING

        return head + _STRINGS.sub(one, rest)
    return line


def _mount_keeps(number: "int", string: "bytes") -> "bool":
    """Whether a string of a mount(2) stays: where it is mounted, which type; a device or directory that is mounted."""
    return number in (2, 3) or (number == 1 and string[1:2] == b"/" and string[2:3] != b"/")


def _cut_array(found: "re.Match[bytes]") -> "bytes":
    return b"[]" if b'"' in found.group() else found.group()


def _cut_exec(rest: "bytes", command: "Sequence[bytes]") -> "bytes":
    match = next((one for one in _EXEC.finditer(rest) if rest.startswith(b", [", one.end())), None)
    if match is None:
        return rest
    path = match.group()
    program = path[1:].rstrip(b".").rstrip(b'"').rpartition(b"/")[2] if path[:1] == b'"' else b""
    array = _ARRAY.match(rest, match.end() + 2)
    if array is None:
        return rest
    words = _WORD.findall(array.group())
    # (undoing escapes takes time: only of as many words as the command has)
    if len(words) != len(command) or not is_command([_value(word) for word in words], command, words):
        cut = b"[" + b", ".join(program_and_script(words, program)) + b"]"
    else:
        cut = array.group()
    return rest[: match.end() + 2] + cut + _ARRAY.sub(_cut_array, rest[array.end() :])


def is_command(values: "Sequence[bytes | None]", command: "Sequence[bytes]", words: "Sequence[bytes]" = ()) -> "bool":
    """Whether an argument vector is the user's own command.

    Args:
        values: its words; None for what is no string.
        command: the words of the user's own.
        words: the same as strace quotes them, where it may have cut some short.
    """
    if not command or len(values) != len(command):
        return False
    for index, wanted in enumerate(command):
        value = values[index]
        if value is None:
            return False
        if index == 0:
            value, wanted = value.rpartition(b"/")[2], wanted.rpartition(b"/")[2]
        if value != wanted and not (words and words[index].endswith(b'"...') and wanted.startswith(value)):
            return False
    return True


def _value(word: "bytes") -> "bytes | None":
    """What strace has quoted; None for what is no string (`events.strace.values` is not of Python 3.6)."""
    if word.endswith(b'"...'):
        word = word[:-3]
    if len(word) < 2 or word[:1] != b'"' or word[-1:] != b'"':
        return None
    return _ESCAPE.sub(_unescaped, word[1:-1]) if b"\\" in word else word[1:-1]


def _unescaped(match: "re.Match[bytes]") -> "bytes":
    octal, hexadecimal, letter = match.groups()
    if octal or hexadecimal:
        return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])
    return _LETTERS.get(letter, letter)


def _raw(word: "bytes") -> "bytes":
    if word[:1] != b'"':
        return b""
    return word[1:-4] if word.endswith(b'"...') else word[1:-1]


def program_and_script(
    words: "Sequence[bytes]", program: "bytes" = b"", values: "Sequence[bytes] | None" = None
) -> "list[bytes]":
    """Cut an argument vector (words as strace quotes them) to the program and what an interpreter was told to run.

    An interpreter's own options before its script stay, since they say what it will look for; code after -c does not.

    Args:
        words: quoted.
        program: name of the file that is run; "" where that is not known. Another name in the first word is nobody's business.
        values: the words without their quotes and escapes, where those may be other than what stands between the quotes.
    """
    if not words:
        return []
    values = [_raw(word) for word in words] if values is None else values
    called = values[0].rpartition(b"/")[2].lstrip(b"-")
    kept, is_cut = [words[0]], False
    if called != program and program not in _MANY_IN_ONE and not (_is_interpreter(called) and _is_interpreter(program)):
        kept = [b'"' + program + b'"']
        called = program
    is_python, at = _PYTHON.match(called) is not None, 1
    if is_python or called in _SHELLS or called == b"env":
        at, is_cut = _options(words, values, called, is_python, kept)
    if is_cut:
        kept.append(NOTHING)
    if any(_WORKERS in value for value in values[1:]) and not any(_WORKERS in word for word in kept[1:]):
        kept = (kept[:-1] if is_cut else kept) + [b'"multiprocessing"...']  # analysis tells workers by that word
    return kept


def _is_interpreter(name: "bytes") -> "bool":
    return _PYTHON.match(name) is not None or name in _SHELLS


def _options(
    words: "Sequence[bytes]", values: "Sequence[bytes]", called: "bytes", is_python: "bool", kept: "list[bytes]"
) -> "tuple[int, bool]":
    """Take an interpreter's options and script into `kept`; gives where that ended, and whether code follows."""
    at = 1
    while at < len(words):
        value = values[at]
        at += 1
        if called == b"env":
            if value in (b"-S", b"--split-string"):
                return at, True  # a whole command line in one word
            if b"=" in value or value[:2] == b"-S":
                continue
            if value in _ENV_VALUES:
                at += 1
                continue
        if value.startswith(b"--") and b"=" in value:
            continue
        if value in _VALUES_OF_OPTIONS and called != b"env":
            at += 1
            continue
        if is_python and value[:2] in (b"-W", b"-X"):
            inner = value[2:]
            if not inner and at < len(words):
                inner = values[at]
                at += 1
            if inner in _W_OPTIONS or (inner.partition(b"=")[0] in _X_OPTIONS and _X_OPTION.fullmatch(inner)):
                kept += [b'"' + value[:2] + b'"', b'"' + inner + b'"']
            continue
        kept.append(words[at - 1])
        if not value.startswith(b"-") or value == b"-":
            return at, False  # the script
        if value.startswith(b"--"):
            continue
        if is_python and value.startswith(b"-c"):
            kept[-1] = b'"-c"'
            return at, at < len(words) or len(value) > 2
        if is_python and b"m" in value:
            if value.endswith(b"m") and at < len(words):
                kept.append(words[at])
                at += 1
            return at, False
        if b"c" in value and called != b"env":
            if is_python:
                kept[-1] = words[at - 1] if value.endswith(b"c") else b'"-c"'
            return at, True  # code follows
        if b"s" in value and called in _SHELLS:
            return at, False  # what follows are arguments of what the standard input says
    return at, False
