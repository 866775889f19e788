"""Run the command in a layout: once before everything, once traced, many times against the clock."""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fsprobe import pipeline
from fsprobe.capture import shipped, traced
from fsprobe.capture.machine import host
from fsprobe.capture.process import timed
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.experiment.janitor import Janitor
from fsprobe.experiment.plan import Plan, Probe, Run, Side
from fsprobe.layouts.mount.starting import started
from fsprobe.layouts.mount.supervision import descendants
from fsprobe.model.comparison import IMAGE_KINDS
from fsprobe.model.requests import RequestCounts

DELEGRETURN = "delegreturn"
_END_S = 5.0
"""How long what is interrupted may take to end by itself."""


class Bench:
    """Starts processes; holds what all of them share."""

    def __init__(
        self, plan: Plan, scratch: Path, how_cold: str, server: Probe | None, behind_us: Janitor | None = None
    ) -> None:
        self.plan = plan
        self.scratch = scratch
        self.how_cold = how_cold
        self.server = server
        self.behind_us = behind_us
        self.n_started = 0

    # -- what is started ----------------------------------------------------------------------------------------------

    def activation(self, side: Side) -> dict[str, str]:
        """The variables that activate the environment."""
        home = side.layout.where if side.in_place else self.plan.env
        spared = {"PYTHONDONTWRITEBYTECODE": "1"} if self.plan.spares_env else {}
        return {**spared, "PATH": f"{home}/bin:{os.environ.get('PATH', os.defpath)}", "VIRTUAL_ENV": str(home)}

    def environment(self, side: Side) -> dict[str, str]:
        """The caller's variables, with the environment activated."""
        return {**os.environ, **self.activation(side)}

    def command(self, side: Side) -> list[str]:
        """The command; for a layout that runs from where it lies, with the environment's path replaced by its own."""
        if not side.in_place:
            return self.plan.command
        old, new = str(self.plan.env), str(side.layout.where)
        words = [
            new + word[len(old) :] if word == old or word.startswith(old + "/") else word for word in self.plan.command
        ]
        program = shutil.which(words[0], path=self.environment(side)["PATH"]) or words[0]
        # a console script names its interpreter by the path that the environment was made at
        return [*_interpreter_named_by(program, old, new), program, *words[1:]]

    # -- running ------------------------------------------------------------------------------------------------------

    def warm_up(self, side: Side) -> None:
        """Run once to see that it works, and so that missing byte code is written, whatever PYTHONDONTWRITEBYTECODE says.

        With `plan.spares_env` none is written.

        Raises:
            FsprobeError: the command fails.
        """
        variables = self.environment(side)
        if not self.plan.spares_env:
            variables.pop("PYTHONDONTWRITEBYTECODE", None)
        with self._output(side, "first") as streams:
            status = self._run([*side.layout.enter, *self.command(side)], variables, streams)
        if status != 0:
            raise BadInput(
                f"the command ends with {status} in the layout {side.layout.label}",
                self._where_to_look() or "what it says is above",
            )

    def trace(self, side: Side) -> None:
        """The traced run, and for an image another one of the mounting; sets what `side` has of them."""
        layout = {
            "label": side.layout.label,
            "kind": side.layout.kind,
            "where": str(side.layout.where),
            "mount_how": side.layout.mount_how,
        }
        path = self.scratch / f"{side.layout.label.replace('/', '_')}-{self.n_started}.fsprobe"
        self.n_started += 1
        with self._output(side, "traced") as streams:
            status = self._run(
                traced.argv(str(path), side.layout.enter, layout, self.command(side)), self.environment(side), streams
            )
        if not path.exists():
            raise FsprobeError(
                f"the traced run in the layout {side.layout.label} failed (exit code {status})", self._where_to_look()
            )
        side.recording = path
        side.analysis = pipeline.read(path)
        if side.layout.kind in IMAGE_KINDS:
            side.mounting = self._trace_mounting(side)

    def _trace_mounting(self, side: Side) -> RequestCounts | None:
        """Requests for the image file itself while it is mounted and unmounted; None where that can't be traced."""
        path = self.scratch / f"mounting-{self.n_started}.fsprobe"
        self.n_started += 1
        argv = traced.argv(str(path), [], {"label": "mounting"}, [*side.layout.enter, "/bin/true"])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if self._run(argv, os.environ, quiet) != 0 or not path.exists():
            return None  # a setuid mount helper has no rights under a tracer
        requests = pipeline.read(path).requests
        return None if requests is None else requests.environment(os.fsencode(os.path.realpath(side.layout.where)))

    def time(self, side: Side, cache: str) -> Run:
        """One untraced run.

        Raises:
            FsprobeError: it can't be started.
            MachineCannot: the caches can't be emptied.
        """
        out = self.scratch / "timed.json"
        out.unlink(missing_ok=True)
        self.n_started += 1
        ours, theirs = _pipes() if self.server else ([], [])
        settings = {
            "warm": cache == "warm",
            "cold": self.how_cold if cache == "cold" else "",
            "starter": os.getpid() if side.layout.enter else 0,
            "variables": self.activation(side),
            "meeting": theirs,
        }
        timer = [sys.executable, "-I", "-S", *shipped.program(timed.__name__, timed.__file__)]
        timer += [str(out), json.dumps(settings), "--"]
        counted: list[Mapping[str, int]] = [self.server()] if self.server else []
        with self._output(side, f"{self.n_started:03d}-{cache}") as streams:
            status = self._run(
                [*side.layout.enter, *timer, *self.command(side)],
                os.environ,
                streams,
                passed=theirs,
                meeting=ours,
                counted=counted,
            )
        try:
            facts: dict[str, Any] = json.loads(out.read_text())
        except (OSError, ValueError):
            raise FsprobeError(
                f"the command could not be started in the layout {side.layout.label} (exit code {status})",
                self._where_to_look(),
            ) from None
        if facts["cold"]:
            raise MachineCannot(f"the caches could not be emptied: {facts['cold']}", "see --make-cold")
        return Run(
            layout=side.layout.label,
            cache=cache,
            wall_s=facts["wall_s"],
            user_s=facts["user_s"],
            sys_s=facts["sys_s"],
            beside_s=facts["beside_s"],
            majflt=facts["majflt"],
            exit_status=facts["exit_status"],
            server=asked(*counted, is_cold=cache == "cold") if len(counted) == 3 else None,
        )

    def _run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        streams: Mapping[str, Any],
        *,
        passed: Sequence[int] = (),
        meeting: Sequence[int] = (),
        counted: list[Mapping[str, int]] | None = None,
    ) -> int:
        """Run to the end; whatever goes wrong here, nothing of it stays behind."""
        with ExitStack() as stack:
            for descriptor in meeting:
                stack.callback(os.close, descriptor)
            stack.callback(self._watch, 0)
            try:
                process = stack.enter_context(
                    started(
                        argv,
                        end,
                        deadly=signal.SIGTERM,  # for the moment until the janitor knows of it
                        env=dict(environment),
                        stdin=subprocess.DEVNULL,
                        pass_fds=tuple(passed),
                        **streams,
                    )
                )
            except OSError as error:
                # of a name that is nowhere exec says so only if it may look into all directories of PATH
                is_there = host.find_program(argv[0], environment)[0] is not None
                reason = error.strerror if is_there else os.strerror(errno.ENOENT)
                raise BadInput(
                    f"{argv[0]}: {reason}", "check the command and the environment's bin directory"
                ) from error
            finally:
                for descriptor in passed:
                    os.close(descriptor)
            self._watch(process.pid)
            for _ in range(2 if meeting else 0):
                if not self._meets(process, meeting[0]):
                    break
                assert self.server is not None
                assert counted is not None
                counted.append(self.server())
                os.write(meeting[1], b"+")
            return process.wait()

    def _watch(self, pid: int) -> None:
        if self.behind_us is not None:
            self.behind_us.watch(pid)

    @staticmethod
    def _meets(process: subprocess.Popen[bytes], descriptor: int) -> bool:
        """Wait for the timer to say that it is there; False when it ends without."""
        while not select.select([descriptor], [], [], 0.2)[0]:
            if process.poll() is not None:
                return False
        return bool(os.read(descriptor, 1))

    @contextmanager
    def _output(self, side: Side, name: str) -> Iterator[dict[str, Any]]:
        if self.plan.output_dir is None:
            yield {"stdout": sys.stderr}
            return
        stem = self.plan.output_dir / f"{side.layout.label.replace('/', '_')}-{name}"
        with open(f"{stem}.out", "wb") as out, open(f"{stem}.err", "wb") as err:
            yield {"stdout": out, "stderr": err}

    def _where_to_look(self) -> str:
        return f"its output is in {self.plan.output_dir}" if self.plan.output_dir else ""


def asked(
    before: Mapping[str, int], at_start: Mapping[str, int], at_end: Mapping[str, int], *, is_cold: bool
) -> dict[str, int]:
    """What was counted of one run.

    Args:
        before: the counters before the layout was mounted and the caches were emptied.
        at_start: right before the command.
        at_end: after it.
        is_cold: a cold run begins before the layout is mounted: that the image is looked up and opened belongs to it.
    """
    first = before if is_cold else at_start
    found = {name: n - first.get(name, 0) for name, n in at_end.items()}
    if is_cold and DELEGRETURN in found:
        # what NFS 4 lent goes back as the caches are emptied (Linux: fs/nfs/nfs4super.c, nfs4_evict_inode)
        given_back = at_start.get(DELEGRETURN, 0) - before.get(DELEGRETURN, 0)
        for name in (DELEGRETURN, "metadata"):
            found[name] = found.get(name, 0) - given_back
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: it is asked to, then what is below it is killed, then it itself."""
    if process.poll() is not None:
        return
    process.terminate()
    if not _ends(process):
        # the process itself last: where a layout was mounted, it is the one that takes the mount away
        for pid in descendants(process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not _ends(process):
            process.kill()
            process.wait()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _pipes() -> tuple[list[int], list[int]]:
    """Descriptors for the two sides of a meeting: [what we read, what we write], [what they write, what they read]."""
    from_them, to_us = os.pipe()
    from_us, to_them = os.pipe()
    return [from_them, to_them], [to_us, from_us]


def _interpreter_named_by(program: str, old: str, new: str) -> list[str]:
    """The interpreter of a script whose first line names one below `old`, as one below `new`; else nothing."""
    try:
        with open(program, "rb") as file:
            line = file.readline(4096)
    except OSError:
        return []
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    return [new + words[0][len(old) :], *words[1:]] if words and words[0].startswith(old + "/") else []
