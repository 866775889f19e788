"""The process that keeps one mount: mounts it, starts its server, and unmounts when either end has gone.

    the process that called serve() -> keeper -> server

The keeper answers no request, so it can always unmount. It ends when it is told to, when the process that started it
ends in whatever way, and when the server does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import sys
import traceback
from typing import NoReturn

from benchmarks.fileserver.kernel import libc, mounting
from benchmarks.fileserver.server import Settings, open_session, serve_requests
from fsprobe.errors import FsprobeError

READY = b"ready"
_GRACE_S = 2.0
"""How long a server may go on for clients that still hold files of an unmounted tree."""


def encode(settings: Settings) -> str:
    """Return the settings as the keeper's argument."""
    return json.dumps(dataclasses.asdict(settings))


def main(argument: str) -> None:
    """Mount, serve, unmount. Says on the status descriptor `ready`, or in JSON why not."""
    settings = Settings(**json.loads(argument))
    try:
        _keep(settings)
    except FsprobeError as error:
        os.write(settings.status_descriptor, json.dumps([error.message, error.hint]).encode())
        sys.exit(1)


def _keep(settings: Settings) -> None:
    told_to_end = _pipe_of_sigterm()
    parent = os.pidfd_open(settings.parent)
    if os.getppid() != settings.parent:
        return  # it ended before we could watch it
    mnt = os.fsencode(settings.mnt)
    root = os.open(settings.src, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    device = mounting.mount(mnt, writable=settings.writable)
    mounted = mounting.device_at(mnt)
    server = os.fork()
    if server == 0:
        _become_server(settings, device, root)
    os.close(device)  # so that the mount dies with the server
    os.close(settings.status_descriptor)
    ended = os.pidfd_open(server)
    watched = select.poll()
    for descriptor in (told_to_end, parent, ended):
        watched.register(descriptor, select.POLLIN)
    watched.poll()
    mounting.unmount(mnt, mounted)
    _end(server, ended)


def _pipe_of_sigterm() -> int:
    """Return a descriptor that becomes readable at SIGTERM, which interrupts nothing else."""
    readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writable)
    return readable


def _become_server(settings: Settings, device: int, root: int) -> NoReturn:
    """Serve until the mount is gone."""
    try:
        libc.die_with_parent(signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        session = open_session(settings, device, root, lambda: _announce(settings.status_descriptor))
        serve_requests(session, settings.threads)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _announce(status_descriptor: int) -> None:
    os.write(status_descriptor, READY)
    os.close(status_descriptor)


def _end(server: int, ended: int) -> None:
    """Wait until the server has seen that its mount is gone; kill it if clients hold on to the tree.

    Args:
        ended: pidfd of the server.
    """
    watched = select.poll()
    watched.register(ended, select.POLLIN)
    if not watched.poll(_GRACE_S * 1000):
        os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
