"""The server's process: answers the requests of one mount, counts each, and lets it take the time it should.

Every thread does the same: read a request, answer it from the source tree, note it, wait until it is due, reply. The
note comes before the reply, so whoever saw its system call return finds it in the counters.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.fileserver import counters
from benchmarks.fileserver.answers.changes import WRITING
from benchmarks.fileserver.answers.reads import READING, Answer
from benchmarks.fileserver.answers.tree import Tree, child_of, open_tree, path_of
from benchmarks.fileserver.counters import DATA_OPCODES, FIELD_OF_OPCODE, HELD_OF_OPCODE, METADATA_OPCODES
from benchmarks.fileserver.kernel import libc, protocol
from benchmarks.fileserver.kernel.protocol import NAME_OFFSET, WITHOUT_REPLY, Opcode, Request
from benchmarks.fileserver.pacing import Line, TurnQueue, open_queue, take_turn, transfer

FOREVER_NS = 10**9 * 10**9
READAHEAD_BYTES = 1 << 20
"""What the client may read ahead at most; Linux itself stays at 128 KiB unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one server needs to know; travels to its process as JSON."""

    src: str
    mnt: str
    meta_ms: float
    read_ms: float
    mb_per_s: float | None
    ttl_s: float | None
    negative_ttl_s: float | None
    writable: bool
    threads: int
    cap_ops_per_s: float | None
    cap_descriptor: int
    counters_descriptor: int
    log_descriptor: int
    """-1: no log of paths."""
    status_descriptor: int
    """Where the keeper says that it is ready, or why not."""
    parent: int
    """Process whose end ends the server."""


@dataclass(slots=True, kw_only=True)
class Session:
    """Everything that the threads of one server share."""

    device: int
    """Descriptor of /dev/fuse."""
    tree: Tree
    answers: Mapping[int, Answer]
    memory: memoryview
    meta_s: float
    read_s: float
    queue: TurnQueue | None
    line: Line | None
    negative_ttl_ns: int
    log: int | None
    announce: Callable[[], None]
    """Called once, when the kernel and the server have agreed on the protocol."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def open_session(settings: Settings, device: int, root: int, announce: Callable[[], None]) -> Session:
    """Put together what `serve_requests` needs.

    Args:
        device: descriptor of /dev/fuse, already mounted.
        root: descriptor of the source directory, opened before the mount.
    """
    queue = open_queue(settings.cap_descriptor, settings.cap_ops_per_s) if settings.cap_ops_per_s else None
    return Session(
        device=device,
        tree=open_tree(root, _nanoseconds(settings.ttl_s)),
        answers={**READING, **WRITING} if settings.writable else READING,
        memory=counters.map_memory(settings.counters_descriptor),
        meta_s=settings.meta_ms / 1000,
        read_s=settings.read_ms / 1000,
        queue=queue,
        line=Line(bytes_per_s=settings.mb_per_s * 1e6) if settings.mb_per_s else None,
        negative_ttl_ns=_nanoseconds(settings.negative_ttl_s),
        log=settings.log_descriptor if settings.log_descriptor >= 0 else None,
        announce=announce,
    )


def serve_requests(session: Session, n_threads: int) -> None:
    """Answer requests until the mount is gone.

    Args:
        n_threads: requests that can be in flight at once; the others wait in the kernel.
    """
    os.umask(0)  # the client's kernel has applied the caller's
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.setswitchinterval(0.0005)
    libc.set_timer_slack_ns(1)  # inherited by the threads; the default wakes sleepers up to 50 us late
    threads = [threading.Thread(target=_answer_requests, args=(session,), daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _answer_requests(session: Session) -> None:
    buffer = bytearray(protocol.BUFFER_BYTES)
    message = memoryview(buffer)
    while True:
        try:
            n_bytes = os.readv(session.device, [buffer])
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EAGAIN):  # the caller was interrupted before we got to it
                continue
            if error.errno in (errno.ENODEV, errno.ECONNABORTED):  # unmounted, or cut off
                return
            raise
        _answer(session, protocol.unpack_request(message[:n_bytes]))


def _answer(session: Session, request: Request) -> None:
    arrival_s = time.monotonic()
    path = _path_for_log(session.tree, request) if session.log is not None else None
    error, payload = _carry_out(session, request)
    negative = request.opcode == Opcode.LOOKUP and error == errno.ENOENT
    if negative and session.negative_ttl_ns:
        error, payload = 0, protocol.pack_negative_entry(session.negative_ttl_ns)
    due_s, waits_ns = _time_due(session, request, arrival_s, payload)
    _note(session, request, path, negative, waits_ns, payload)
    if request.opcode in WITHOUT_REPLY:
        return
    left_s = due_s - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)
    held = HELD_OF_OPCODE.get(request.opcode)
    if held is not None:
        with session.lock:
            counters.add(session.memory, {held: round((time.monotonic() - arrival_s) * 1e9)})
    _reply(session, request, error, payload)
    if request.opcode == Opcode.INIT:
        session.announce()


def _carry_out(session: Session, request: Request) -> tuple[int, bytes]:
    """Return errno (0 if it went well) and the payload of the reply."""
    if request.opcode in WITHOUT_REPLY:
        return 0, b""
    if request.opcode == Opcode.INIT:
        return 0, protocol.pack_init_reply(request.body, READAHEAD_BYTES)
    answer = session.answers.get(request.opcode)
    if answer is None:
        return errno.ENOSYS, b""
    try:
        return 0, answer(session.tree, request)
    except OSError as error:
        return error.errno or errno.EIO, b""
    except Exception as error:  # a bug here must not leave a client waiting for ever
        print(f"fileserver: opcode {request.opcode}: {error!r}", file=sys.stderr, flush=True)
        return errno.EIO, b""


def _time_due(session: Session, request: Request, arrival_s: float, payload: bytes) -> tuple[float, dict[str, int]]:
    """Return when to reply (monotonic, s) and what the request waits for, in ns by field of `Counters`."""
    if request.opcode in METADATA_OPCODES:
        turn_s = take_turn(session.queue, arrival_s) if session.queue else arrival_s
        waits_ns = {
            "metadata_wait_ns": round(session.meta_s * 1e9),
            "queue_wait_ns": round((turn_s - arrival_s) * 1e9),
        }
        return turn_s + session.meta_s, waits_ns
    if request.opcode in DATA_OPCODES:
        n_bytes = len(payload) if request.opcode == Opcode.READ else len(request.body)
        done_s = transfer(session.line, arrival_s, n_bytes) if session.line else arrival_s
        due_s = done_s + session.read_s
        return due_s, {"data_wait_ns": round((due_s - arrival_s) * 1e9)}
    return arrival_s, {}


def _note(
    session: Session,
    request: Request,
    path: bytes | None,
    negative: bool,
    waits_ns: Mapping[str, int],
    payload: bytes,
) -> None:
    name = FIELD_OF_OPCODE.get(request.opcode, "other")
    amounts = {name: 1, **waits_ns}
    if negative:
        amounts["negative"] = 1
    if request.opcode == Opcode.READ:
        amounts["read_bytes"] = len(payload)
    elif request.opcode == Opcode.WRITE:
        amounts["write_bytes"] = len(request.body) - protocol.WRITE_IN.size
    with session.lock:
        counters.add(session.memory, amounts)
        if session.log is not None and path is not None:
            for op in (name, "negative") if negative else (name,):
                os.write(session.log, op.encode() + b" " + path + b"\0")


def _reply(session: Session, request: Request, error: int, payload: bytes) -> None:
    header = protocol.pack_reply_header(request.unique, -error, 0 if error else len(payload))
    try:
        os.writev(session.device, [header] if error or not payload else [header, payload])
    except OSError as failure:
        if failure.errno not in (errno.ENOENT, errno.ENODEV):  # the caller has gone, or the mount has
            raise


def _path_for_log(tree: Tree, request: Request) -> bytes | None:
    """Return what the request is about, relative to the source; empty if that has no name left, None if it never had."""
    if request.opcode in WITHOUT_REPLY or request.opcode in (Opcode.INIT, Opcode.DESTROY):
        return None
    try:
        opcode = Opcode(request.opcode)
        if opcode in NAME_OFFSET:
            return child_of(tree, request.node, protocol.name_at(request.body, NAME_OFFSET[opcode]))
        return path_of(tree, request.node)
    except (ValueError, OSError):
        return b""


def _nanoseconds(ttl_s: float | None) -> int:
    return FOREVER_NS if ttl_s is None or math.isinf(ttl_s) else round(ttl_s * 1e9)
