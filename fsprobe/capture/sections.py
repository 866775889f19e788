"""The parts of a recording, made of what lies in a scratch directory.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import json
import os

from fsprobe.capabilities import UNMARKED
from fsprobe.capture import programs
from fsprobe.capture.backends import text_log
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.lookups import collect
from fsprobe.capture.machine import mounts, ranks
from fsprobe.errors import FsprobeError
from fsprobe.recording import distributions, file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from fsprobe.capture.backends.protocol import Backend
    from fsprobe.capture.process.wait import Outcome

HOOK_FILES = ("marks.", "mounts.")
_READ = (*HOOK_FILES, scratch_dir.ROOM)
"""How the names of files begin that a hook leaves to mark imports and to describe its interpreter."""
MOUNTS = scratch_dir.MOUNTS
"""The mount table of a program that was attached to, in the scratch directory."""


MAX_MARKS_BYTES = file.MAX_WHOLE_BYTES
"""Of all hooks' files together: a reader takes no larger section."""
MAX_KEPT_BYTES = 4 << 20
"""Of hooks' files that are kept in memory from the first look to the writing. A judgement."""


class Recorded:
    """What `record` gives back: the file, how the run ended, and lines that the user should read."""

    def __init__(self, path: "str", outcome: "Outcome", warnings: "list[str]", losses: "list[str]") -> "None":
        self.path = path
        self.outcome = outcome
        self.warnings = warnings
        self.losses = losses
        """What is not in the recording although it should be, or was left behind: to be said in any case."""


class NotRecorded(FsprobeError):
    """The command has run, and its recording could not be written."""

    def __init__(self, message: "str", hint: "str", outcome: "Outcome") -> "None":
        # its own end is what a script that started it must see
        super().__init__(message, hint, outcome.exit_code)
        self.exit_status = outcome.exit_status


def write_state(scratch: "str", state: "dict[str, Any]", table: "bytes" = b"") -> "None":
    """Write the facts into the scratch directory; that it fails is no reason to stop a run.

    Args:
        scratch: the directory.
        state: the manifest so far.
        table: the mounts of the process that is recorded, where they may be others than fsprobe's own.
    """
    try:
        if table:
            with open(os.path.join(scratch, MOUNTS), "xb") as mounts_file:
                mounts_file.write(table)
        path, data = os.path.join(scratch, scratch_dir.STATE), json.dumps(state).encode("ascii")
        try:
            # nothing has run yet that somebody could want to see whole
            _write_new(path, data)
        except FileExistsError:
            _write_new(path + ".new", data)
            os.replace(path + ".new", path)
        scratch_dir.note(scratch, scratch_dir.STATE)
    except OSError:
        pass


def _write_new(path: "str", data: "bytes") -> "None":
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        is_whole = os.write(fd, data) == len(data)
    finally:
        os.close(fd)
    if not is_whole:
        os.unlink(path)


def write_recording(
    scratch: "str",
    state: "dict[str, Any]",
    path: "str",
    warnings: "list[str]",
    backends: "list[Backend]",
    streamed: "Any" = None,
) -> "list[str]":
    """Make the recording from what lies in the scratch directory.

    Args:
        scratch: the directory.
        state: the manifest.
        path: the recording.
        warnings: what the user should know is added.
        backends: who observed the run, the leading one first.
        streamed: what `record`'s `consume` returned; it takes the place of a log.

    Returns:
        What of it is not in the recording because it could not be read; the manifest says it too.

    Raises:
        FsprobeError: it can't be written; the scratch is as it was.
    """
    lead = backends[0]
    if not state.get("attached") and any(one.takes_privileges for one in backends):
        seen = programs.seen_in(lead.starts()) if streamed is None else programs.Seen(streamed.programs())
        is_root = not state.get("uid")
        state["privileged"] = [] if is_root else programs.privileged(seen.paths)
        if is_root and any(one.takes_privileges_of_root for one in backends):
            state["privileged"] = programs.changing_root(seen.paths)
        state["tracers"] = seen.tracers()
        warnings.extend(programs.warnings(state["privileged"], state["tracers"], seen.n_untraced, is_root))
    table, is_here = _mount_table(scratch if state.get("attached") else "")
    rank, hook_dir = ranks.identify(state.get("job") or {}), str(state.get("hook_dir") or "")
    state["lookups_left"] = not state.get("attached") and ranks.leaves_lookups(str(state.get("ranks") or ""), rank)
    if state["lookups_left"]:
        found = {"links": scratch_dir.links_to_hook(hook_dir)}  # type: dict[str, Any]
    else:
        found = _looked_up(lead, streamed, is_here, hook_dir)
    if rank is None or rank.number == 0:
        found = distributions.decided(found)
    command = [] if state.get("attached") else [os.fsencode(word) for word in state.get("command") or ()]
    hooks = os.path.join(scratch, scratch_dir.MARKS)
    # a run without hooks has none of their files
    names, unread, texts = hook_files(hooks) if state.get("markers") != UNMARKED else ([], {}, {})
    for name in names:
        scratch_dir.note(scratch, name, scratch_dir.MARKS)
    partial = {}  # type: dict[str, str]  # section -> why it is not all there
    has_failed = False
    while True:
        losses = []
        if unread:
            state["n_hook_files_unread"] = len(unread)
            losses.append(
                "%d %s of marks can't be read (%s): the imports of as many processes are not known"
                % unread_words(unread)
            )
        for name, why in partial.items():
            losses.append("its section %s could not be read to the end (%s)" % (name, why))
        if partial and not state.get("log_truncated"):
            state["log_truncated"] = losses[-1]
        sections = [("manifest", json.dumps(state, indent=1, sort_keys=True).encode("ascii"))]  # type: list[tuple[str, Any]]
        sections += observed(backends, command) if streamed is None else [("tally", streamed.blocks())]
        sections += [
            ("marks", _marks_blocks(hooks, [name for name in names if name not in unread], texts)),
            ("mounts", table),
            ("lookups", json.dumps(found).encode("ascii")),
        ]
        try:
            file.write(
                path, "recording", [(name, _so_far(body) if name in partial else body) for name, body in sections]
            )
            return losses
        except file.Unreadable as error:
            # tried once more at first, as it may have been for a moment; then with what can be read of it
            if has_failed:
                partial[error.section] = error.why
            has_failed = True


def _so_far(blocks: "Iterable[bytes]") -> "Iterator[bytes]":
    try:
        yield from blocks
    except OSError:
        pass


def _looked_up(lead: "Backend", streamed: "Any", is_here: "bool", hook_dir: "str") -> "dict[str, Any]":
    if not is_here:
        return {}  # in another mount namespace the same paths may be other files
    if streamed is not None:
        return collect.distributions(streamed.site_names())
    return collect.collect(_so_far(lead.text()), scratch_dir.links_to_hook(hook_dir))


def hook_files(directory: "str") -> "tuple[list[str], dict[str, str], dict[str, bytes]]":
    """The names of what the hooks wrote; of them those that are not taken, or "" for all, with the reason; and the first small ones.

    Not taken are those that can't be opened, and what is beyond `MAX_MARKS_BYTES`: no reader would take a recording with more.
    """
    found = {}  # type: dict[str, str]
    texts = {}  # type: dict[str, bytes]
    n_bytes = n_kept_bytes = 0
    try:
        names = _listed(directory)
    except OSError as error:
        return [], {"": error.strerror or ""}, {}
    for name in names:
        if name.startswith(_READ):
            path = os.path.join(directory, name)
            for _ in range(2):  # what failed for a moment is there the next time
                try:
                    size, text = _marks_bytes(path, name, MAX_KEPT_BYTES - n_kept_bytes)
                    size += len(name) + 24
                    if text is not None:
                        texts[name] = text
                        n_kept_bytes += len(text)
                    found.pop(name, None)
                    if n_bytes + size > MAX_MARKS_BYTES:
                        found[name] = "they are more than %d MiB" % (MAX_MARKS_BYTES >> 20)
                    else:
                        n_bytes += size
                    break
                except OSError as error:
                    found[name] = error.strerror or ""
    return names, found, texts


def _marks_bytes(path: "str", name: "str", max_bytes: "int") -> "tuple[int, bytes | None]":
    """How much of a file is read; and what it holds where that is lines alone, of at most `max_bytes`."""
    if name.startswith(HOOK_FILES):
        data = own_files.contents(path, max_bytes + 1)
        return (len(data), data) if len(data) <= max_bytes else (os.stat(path).st_size, None)
    from fsprobe.capture.directories import room

    return room.allocated_bytes(own_files.contents(path, room.HEADER_BYTES)), None


def _listed(directory: "str") -> "list[str]":
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return sorted(os.listdir(directory))  # what failed for a moment does not the next time


def unread_words(unread: "dict[str, str]") -> "tuple[int, str, str]":
    """How many, files or a file, and why the first one."""
    return len(unread), "file" if len(unread) == 1 else "files", next(iter(unread.values()))


def observed(backends: "list[Backend]", command: "Sequence[bytes]" = ()) -> "list[tuple[str, Any]]":
    """The sections of all backends: those of the leading one by their own names, others as `BACKEND/NAME`.

    Of a log only what analysis reads is kept: no arguments but those of `command`, no values.
    """
    found = []
    for one in backends:
        for name, blocks in one.sections():
            kept = text_log.kept(blocks, command) if name == "log" else blocks
            found.append((name if one is backends[0] else one.name + "/" + name, kept))
    return found


def _mount_table(scratch: "str") -> "tuple[bytes, bool]":
    """The mounts of what was recorded, and whether they are this process's; `scratch`: where others' were written down, or ""."""
    here = mounts.read_own()
    if not scratch:
        return here, True
    try:
        table = own_files.contents(os.path.join(scratch, MOUNTS), file.MAX_MOUNTS_BYTES)
    except OSError:
        return here, True
    return table, table == here


def _marks_blocks(directory: "str", names: "list[str]", texts: "Mapping[str, bytes]") -> "Iterator[bytes]":
    """Each file of the hooks, led by a line `@name size`: what a process and those that it forked off wrote, as files of their own.

    Args:
        directory: where they lie.
        names: of those that are taken.
        texts: what was read of them already.
    """
    for name in names:
        if not name.startswith(_READ):
            continue  # what a backend's own hooks leave is its own business
        path = os.path.join(directory, name)
        found = {}  # type: dict[str, bytes]
        if name in texts:
            found[name] = texts[name]
        elif name.startswith(HOOK_FILES):
            with own_files.reader(path) as source:
                found[name] = source.read()
        else:
            from fsprobe.capture.directories import room

            for number, lines in room.read(path):
                found["%s%s+%d" % (HOOK_FILES[0], name[len(room.PREFIX) :], number)] = lines
        for file_name in found:
            yield b"@%s %d\n" % (os.fsencode(file_name), len(found[file_name]))
            yield found[file_name]


def empty_hook_files(scratch: "str") -> "None":
    """Throw away what hooks wrote after the end of the run, for as long as what the command left behind goes on."""
    directory = os.path.join(scratch, scratch_dir.MARKS)
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        if name.startswith(HOOK_FILES):
            try:
                os.unlink(os.path.join(directory, name))
            except OSError:
                pass
