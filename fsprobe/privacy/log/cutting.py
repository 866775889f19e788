"""A log of strace without what is nobody's business: what was read and written, values, arguments of other programs.

Every line stays, and `events.strace.parser` makes the same events of it, but for the arguments of programs. Paths stay (a
`redaction.Redaction` may replace names in them). What is not understood is replaced by a `?`, which is as little understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from fsprobe.events.strace.stamps import HEAD
from fsprobe.events.strace.syscalls import EXECS, FOLLOWED, SHAPES
from fsprobe.events.strace.values import (
    MAX_CALL_BYTES,
    MAX_PATH_BYTES,
    annotated_path,
    escape,
    split_arguments,
    split_result,
    string_value,
    unescape,
)
from fsprobe.privacy import mount_table
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.log.call_values import NOTHING, is_command, program_and_script

_CUT_OFF = re.compile(rb" ?(?:<unfinished \.\.\.>|<detached \.\.\.>|<pid changed to \d+ \.\.\.>)$")
_RESUMED = re.compile(rb"<\.\.\. ([a-z_][a-z0-9_]*|\?+) resumed>( ?)")
_NAME = re.compile(rb"[a-z_][a-z0-9_]*|\?+")
_ENDED = re.compile(
    rb"\+\+\+ (?:exited with -?\d+|killed by \S+(?: \(core dumped\))?|superseded by execve in pid \d+) \+\+\+"
)
_SIGNAL = re.compile(rb"--- (?:SIG[A-Z0-9]+|stopped by SIG[A-Z0-9]+)\b")
_CHATTER = re.compile(
    rb"(?:\S*strace: )?Process \d+ (?:attached|detached|resumed|suspended)\b[^\"]*|\S*strace: .*|\[ Process PID=\d+ runs in .*"
    rb"|> .*"
)
_ATTACHED_HERE = re.compile(
    rb"(?:(?:/(?:[^/\s,()|<>\"]+/)*)?strace: )?Process \d+ attached(?: \(waiting for parent\))?$"
)
_PIECE = re.compile(
    rb'(?P<string>"(?:[^"\\]|\\.)*"(?:\.\.\.)?)|(?P<open>"(?:[^"\\]|\\.|\\\Z)*\Z)|(?P<note><(?:/(?:[^<>]|<[^<>]*>)*|(?!/)(?:->|[^<>]|<[^<>]*>)*)>)|(?P<sign>[,(\[{)\]}])|[^",<(\[{)\]}]+|.',
    re.DOTALL,
)
_RESULT = re.compile(rb"-1 E[A-Z0-9_]+ \([^)]*\)|-1 \(errno \d+\)|\? E[A-Z0-9_]+(?: \([^)]*\))?|\?|-?\d+|0x[0-9a-f]+")
_LASTED = re.compile(rb" <\d+\.\d{1,9}>$")
_SECOND_PATHS = {
    b"rename": 1, b"link": 1, b"pivot_root": 1, b"renameat": 3, b"renameat2": 3, b"linkat": 3, b"move_mount": 3,
}  # fmt: skip
_FROM = {b"renameat": 2, b"renameat2": 2, b"linkat": 2, b"move_mount": 2}
_LINK_TEXTS = {b"symlink": (0, 1, -1), b"symlinkat": (0, 2, 1), b"readlink": (1, 0, -1), b"readlinkat": (2, 1, 0)}
"""Call -> index of what the link says, of the link, of the directory that the link's name is relative to."""
_ARGV_AT = {b"execve": 1, b"execveat": 2}
_MOVES = frozenset({b"chdir", b"fchdir", b"chroot", b"pivot_root"})
_CHOWN = frozenset({b"chown", b"lchown", b"chown32", b"lchown32", b"fchownat"})
_OWNER_IDS = re.compile(rb"(?<=, )\d+(?=,|$)")
_SOCKET = re.compile(
    rb"(<(?!(?:socket|pipe|anon_inode|pidfd|mnt|net|uts|ipc|user|pid|cgroup|time):)[^:\[]*:\[).*\]", re.DOTALL
)
_COMMAND_NAME = re.compile(rb"<[^>]*>")
_MARK = (b"fsprobe!", b"fsprobe>", b"fsprobe<")


class Cut:
    """One log on its way through; see `lines`."""

    def __init__(self, hide: Unchanged, command: Sequence[bytes] = (), cwd: bytes | None = None) -> None:
        """Prepare for one log.

        Args:
            hide: what becomes of paths and names.
            command: the user's own command, whose arguments stay.
            cwd: where it was started.
        """
        self.hide = hide
        self.command = list(command)
        self.cwd = cwd
        self._cwds: dict[bytes, bytes | None] = {}
        self._half: tuple[bytes, bytes] | None = None
        self._in_summary = False
        self._links: dict[bytes, bytes | None] = {}
        """pid -> the link that it is about to read"""

    def lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Give each line, cut."""
        for line in lines:
            body = line.rstrip(b"\r\n")
            yield self._line(body) + line[len(body) :]
        if self._half is not None:
            yield self._half[0] + b"?\n"

    def _line(self, body: bytes) -> bytes:
        if self._in_summary or body.startswith(b"% time"):
            self._in_summary = not body.endswith(b" total")
            return self.hide.words(body)
        if self._half is not None:
            if _CHATTER.fullmatch(body):
                return self.hide.text(body)
            head, half = self._half
            self._half = None
            if not body.startswith(b"[pid "):
                return self._after_head(head, half + body)
        match = HEAD.match(body)
        assert match is not None  # every part of it is optional
        return self._after_head(match.group(), body[match.end() :])

    def _after_head(self, head: bytes, rest: bytes) -> bytes:
        name, opened, after = rest.partition(b"(")
        if b"<" in head:
            head = _COMMAND_NAME.sub(b"", head)  # of `strace -Y`
        pid = head.split(None, 1)[0] if head.strip() else b""
        if len(rest) > MAX_CALL_BYTES and name not in EXECS:
            return head + b"?"
        if opened and _NAME.fullmatch(name):
            cut = self._call(pid, name, after)
            if cut is None:
                attached = _ATTACHED_HERE.search(after) if b" attached" in after[-40:] else None
                if attached is None:
                    return head + name + b"(?"
                # strace's own words in mid-call: they come first, and the call when its other half is there
                self._half = (head, name + b"(" + after[: attached.start()])
                return attached.group().replace(b" (waiting for parent)", b"")
            return head + cut
        if not rest or _ENDED.fullmatch(rest):
            return head + rest
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            return head + self._second_half(pid, resumed.group(1), resumed.group(), rest[resumed.end() :])
        if _SIGNAL.match(rest) and rest.endswith(b" ---") and b'"' not in rest:
            return head + self.hide.ids(rest)
        if _CHATTER.fullmatch(rest):
            return head + self.hide.text(rest)
        return head + b"?"

    # -- calls --------------------------------------------------------------------------------------------------------

    def _call(self, pid: bytes, name: bytes, after: bytes) -> bytes | None:
        if name not in SHAPES and name not in FOLLOWED:
            return _other(name, after)
        cut_off = _CUT_OFF.search(after)
        if cut_off is not None:
            args, tail = after[: cut_off.start()], cut_off.group()
        else:
            parts = split_result(after)
            if parts is None:
                return None
            args, tail = after[: len(parts[0])], after[len(parts[0]) :]
        if name in EXECS:
            args = self._exec(name, args)
        else:
            args = self._arguments(pid, name, args)
        return name + b"(" + args + (tail if cut_off is not None else self._result(tail))

    def _second_half(self, pid: bytes, name: bytes, head: bytes, tail: bytes) -> bytes:
        parts = split_result(tail)
        if parts is None:
            return head + (tail if _CUT_OFF.fullmatch(tail.removesuffix(b") = ?")) else b"?")
        if name not in SHAPES and name not in FOLLOWED:
            return head + b"...)" + _bare_result(tail)
        args, result = tail[: len(parts[0])], tail[len(parts[0]) :]
        keeps = name in _LINK_TEXTS or name == b"getcwd"
        link = self._links.pop(pid, None)
        pieces = []
        for kind, piece, _ in _pieces(args):
            if kind == "string":
                piece = self._string(piece, None, link if name in _LINK_TEXTS else None) if keeps else NOTHING
            elif kind == "note":
                piece = self._note(piece)
            else:
                piece = NOTHING if kind == "open" else self.hide.ids(piece)
            pieces.append(piece)
        return head + b"".join(pieces) + self._result(result)

    def _result(self, tail: bytes) -> bytes:
        at = tail.find(b" = ")  # it begins with the call's closing bracket: what comes first is the real one
        if b"<" not in tail[at:]:
            return tail
        return tail[:at] + b"".join(
            self._note(piece) if kind == "note" and not _LASTED.fullmatch(b" " + piece) else piece
            for kind, piece, _ in _pieces(tail[at:])
        )

    def _arguments(self, pid: bytes, name: bytes, args: bytes) -> bytes:
        shape = SHAPES.get(name)
        kept = {shape.path_at: shape.dirfd_at} if shape is not None else {0: -1}
        if name in _SECOND_PATHS:
            kept[_SECOND_PATHS[name]] = _FROM.get(name, -1)
        mounted_as = b""
        if name == b"mount":
            kept.update({0: -1, 2: -1})
            mounted_as = (string_value((split_arguments(args, 3) + [b""] * 3)[2])) or b""
        link = _LINK_TEXTS.get(name)
        place = None
        if link is not None:
            place = self._path_of_link(args, link)
            if link[0] not in kept:
                kept[link[0]] = -1
            self._links[pid] = place
        directories: dict[int, bytes | None] = {-1: self._cwds.get(pid, self.cwd)}
        if name in _MOVES:
            self._cwds.pop(pid, None)
        pieces: list[bytes] = []
        for kind, piece, index in _pieces(args):
            if kind == "string":
                if index not in kept:
                    piece = NOTHING
                elif link is not None and index == link[0]:
                    piece = self._string(piece, None, place or b"?")
                elif name == b"mount" and index in (0, 2):
                    piece = self._source(piece, mounted_as) if index == 0 else piece
                else:
                    piece = self._string(piece, directories.get(kept[index]))
            elif kind == "note":
                if index >= 0:
                    directories[index] = annotated_path(piece)
                    if pieces[-1:] == [b"AT_FDCWD"]:
                        self._cwds[pid] = directories[index]
                piece = self._note(piece)
            else:
                piece = NOTHING if kind == "open" else self.hide.ids(piece)
            pieces.append(piece)
        cut = b"".join(pieces)
        if name in _CHOWN and self.hide.is_redacting:
            at = cut.rfind(b'"') + 1
            cut = cut[:at] + _OWNER_IDS.sub(b"0", cut[at:])
        return cut

    def _path_of_link(self, args: bytes, link: tuple[int, int, int]) -> bytes | None:
        parts = split_arguments(args, 3)
        directory: bytes | None = self.cwd
        _, at, directory_at = link
        path = string_value(parts[at]) if len(parts) > at else None
        if path is None:
            return None
        if not path.startswith(b"/"):
            if directory_at >= 0:
                directory = annotated_path(parts[directory_at])
            if directory is None:
                return None
            path = directory + b"/" + path
        return path

    def _source(self, piece: bytes, fstype: bytes) -> bytes:
        """What a mount(2) mounts, in the words of its filesystem."""
        value = string_value(piece)
        if value is None or piece == NOTHING:
            return piece
        if len(value) > MAX_PATH_BYTES:
            return NOTHING
        new = mount_table.source(value, fstype, self.hide)
        return piece if new == value else b'"' + escape(new) + b'"'

    def _string(self, piece: bytes, directory: bytes | None, link: bytes | None = None) -> bytes:
        is_cut = piece.endswith(b'"...')
        value = unescape(piece[1:-4] if is_cut else piece[1:-1])
        if len(value) > MAX_PATH_BYTES:
            return NOTHING
        if link is not None and not is_cut:
            new = self.hide.link_text(link, value)
        elif value.startswith(_MARK):
            new = marked(value, self.hide)
        elif is_cut and self.hide.is_redacting:
            # half a name is not known again
            new = self.hide.path(value.rpartition(b"/")[0], directory) + b"/cut"
        else:
            new = self.hide.path(value, directory)
        if new == value:
            return piece
        return b'"' + escape(new) + (b'"...' if is_cut else b'"')

    def _note(self, piece: bytes) -> bytes:
        # `</x>`, `</dev/null<char 1:3>>`, `</x (deleted)>`, `<socket:[123]>`, `<TCP:[10.0.0.1:22->...]>`
        nested = piece.find(b"<", 1)
        end = len(piece) - 1 if nested < 0 else nested
        value = unescape(piece[1:end])
        if not value.startswith(b"/"):
            # of a socket's addresses and names nothing is read
            return _SOCKET.sub(rb"\1?]", piece[:-1]) + b">" if _SOCKET.match(piece) else piece
        name = value.removesuffix(b" (deleted)")
        new = self.hide.path(name)
        return piece if new == name else b"<" + escape(new + value[len(name) :], annotation=True) + piece[end:]

    # -- programs -----------------------------------------------------------------------------------------------------

    def _exec(self, name: bytes, args: bytes) -> bytes:
        parts = split_arguments(args, 6)
        argv_at = _ARGV_AT[name]
        program = (string_value(parts[argv_at - 1]) or b"").rpartition(b"/")[2] if len(parts) >= argv_at else b""
        pieces, at = [], 0
        directory = annotated_path(parts[0]) if argv_at == 2 and parts else None
        for index, part in enumerate(parts):
            found = args.find(part, at)
            pieces.append(args[at:found])
            at = found + len(part)
            if index == argv_at - 1 and part.startswith(b'"'):
                part = self._string(part, directory)
            elif index < argv_at and b"<" in part:
                part = b"".join(self._note(piece) if kind == "note" else piece for kind, piece, _ in _pieces(part))
            elif index == argv_at and part.startswith(b"["):
                part = self._argv(part, program)
            elif index > argv_at and b'"' in part:
                part = b"[]"  # an environment
            pieces.append(part)
        return b"".join([*pieces, args[at:]])

    def _argv(self, part: bytes, program: bytes) -> bytes:
        words = split_arguments(part[1:].removesuffix(b"]"), 1 << 20)
        values = [string_value(word) for word in words]
        if not is_command(values, self.command, words):
            words = program_and_script(words, program, [value or b"" for value in values])
            for word in words[1:]:
                value = string_value(word)
                if value and (not value.startswith(b"-") or value[:2] == b"-m"):
                    self.hide.script(value)
        values = [string_value(word) for word in words]
        shown = iter(self.hide.argv([value for value in values if value is not None]))
        pieces = []
        for word, value in zip(words, values, strict=True):
            new = None if value is None else next(shown)
            is_same = new == value or new is None or word == NOTHING
            pieces.append(
                word if is_same else b'"' + escape(new or b"") + (b'"...' if word.endswith(b'"...') else b'"')
            )
        return b"[" + b", ".join(pieces) + (b"]" if part.endswith(b"]") else b"")


def marked(value: bytes, hide: Unchanged) -> bytes:
    """The hook's mark or note with the names of modules in it replaced."""
    if not value.startswith(_MARK[0]):
        return value[:8] + hide.module(value[8:])
    # `fsprobe!lazy TOKEN THREAD TIME LINE USER MODULE` is the only note that names modules
    words = value.split(b" ", 6)
    if words[0] != _MARK[0] + b"lazy" or len(words) != 7:
        return value
    return b" ".join([*words[:5], hide.module(words[5]), hide.module(words[6])])


def _pieces(args: bytes) -> Iterator[tuple[str, bytes, int]]:
    """(string | note | other, text, index of the argument; negative inside of brackets) of each piece; together they are `args`."""
    index = depth = 0
    for match in _PIECE.finditer(args):
        piece = match.group()
        kind = match.lastgroup or "other"
        yield "other" if kind == "sign" else kind, piece, index if depth == 0 else -index - 1
        if kind == "sign":
            if piece in b"([{":
                depth += 1
            elif piece in b")]}":
                depth -= 1
            elif depth == 0:
                index += 1


def _other(name: bytes, after: bytes) -> bytes | None:
    """A call that names no path: its name and its result."""
    cut_off = _CUT_OFF.search(after)
    if cut_off is not None:
        return name + b"(" + cut_off.group()
    _, found, tail = after.rpartition(b" = ")
    if not found or _RESULT.match(tail) is None:
        return None
    return name + b"(...)" + _bare_result(b" = " + tail)


def _bare_result(tail: bytes) -> bytes:
    result = tail.rpartition(b" = ")[2]
    match = _RESULT.match(result)
    lasted = _LASTED.search(result)
    return b" = " + (match.group() if match is not None else b"0") + (lasted.group() if lasted is not None else b"")
