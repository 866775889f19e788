"""Compare layouts of one environment: build them, run the command in each, count and time, and say what it means.

The environment appears at its own path in every layout (a private mount namespace), so the program is the same to the
letter. Counts come from one traced run a layout; times from untraced runs, taken in turn in a recorded order, because a
shared machine drifts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fsprobe import pipeline, recording
from fsprobe.analysis import compare
from fsprobe.capture import host, record, timed
from fsprobe.capture.options import RunOptions
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.layouts.copied import copied
from fsprobe.layouts.namespace import Spec, choose_way, enter_argv
from fsprobe.layouts.overlay import overlay
from fsprobe.layouts.plain import Layout, fstype_of, plain
from fsprobe.layouts.squashfs import squashfs
from fsprobe.model import FORMAT, JsonObject
from fsprobe.report import numbers

BASELINE = "plain"
CACHES = ("cold", "warm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compare."""

    env: Path
    command: list[str]
    copies: Mapping[str, Path] = field(default_factory=dict)
    """label -> directory below which a copy is made"""
    existing: Mapping[str, Path] = field(default_factory=dict)
    """label -> a copy that is there already"""
    squashfs: Path | None = None
    """an image that is there already; needs `with_squashfs`"""
    with_squashfs: bool = False
    overlay: Path | None = None
    with_overlay: bool = False
    image_dir: Path | None = None
    """where new images go; the environment's parent directory when None"""
    n_runs: int = 7
    caches: tuple[str, ...] = ("warm",)
    make_cold: str = ""
    keep: bool = False
    output_dir: Path | None = None
    """where the command's output goes; None lets it through"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One untraced run."""

    layout: str
    cache: str
    wall_s: float
    user_s: float
    sys_s: float
    around_s: float
    """CPU of what ran beside the command: the mount's daemon, and fsprobe's own starters"""
    exit_status: int
    server: JsonObject | None
    """what the file server counted meanwhile, where somebody could ask it"""


@dataclass(slots=True)
class Side:
    """One layout while it is there."""

    layout: Layout
    in_place: str = ""
    """why it runs from where it lies, and not at the environment's own path; "" when it does not"""
    analysis: pipeline.Analysis | None = None
    recording: Path | None = None


Probe = Callable[[], Mapping[str, int]]
"""Reads a file server's counters; they may only grow."""
Progress = Callable[[str, int, int], None]


def run(
    plan: Plan, *, progress: Progress | None = None, server: Probe | None = None
) -> tuple[JsonObject, dict[str, bytes]]:
    """Carry a comparison out.

    Args:
        plan: what to compare.
        progress: called with (what is being done, steps done, steps in all).
        server: counters of the file server, where somebody has access to them (benchmarks do).

    Returns:
        The comparison (Contract: Comparison JSON), and the recording of each layout's traced run by label.

    Raises:
        FsprobeError: the environment or the command is not there; the command fails in the baseline; no room for a copy.
    """
    say = progress or (lambda what, done, of: None)
    if not (plan.env / "bin").is_dir():
        raise BadInput(
            f"{plan.env} is no environment: it has no bin directory", "give the directory that `python -m venv` made"
        )
    how_cold, why_not_cold = cold_method(plan)
    caches = tuple(cache for cache in plan.caches if cache != "cold" or how_cold)
    notes = [f"no cold runs: {why_not_cold}"] if "cold" in plan.caches and not how_cold else []
    if not caches:
        caches = ("unknown",)
    with tempfile.TemporaryDirectory(prefix="fsprobe-compare-") as scratch, ExitStack() as stack:
        bench = Bench(plan, Path(scratch), how_cold, server)
        say("running once, so that byte code is there on all sides", 0, 1)
        bench.warm_up(Side(stack.enter_context(plain(plan.env, label=BASELINE))))
        sides = build(plan, stack, say)
        steps = len(sides) * (1 + len(caches) * plan.n_runs)
        done = 0
        for side in sides:
            say(f"tracing {side.layout.label}", done, steps)
            bench.trace(side)
            done += 1
        runs: list[Run] = []
        for cache in caches:
            for number in range(plan.n_runs):
                turn = number % len(sides)
                for side in [*sides[turn:], *sides[:turn]]:
                    say(f"{cache} {side.layout.label}", done, steps)
                    if cache == "warm" and number == 0:
                        bench.time(side, "warm")  # not counted: it fills the cache
                    runs.append(bench.time(side, cache))
                    done += 1
        say("done", steps, steps)
        comparison = summarise(plan, sides, runs, caches, notes)
        recordings = {side.layout.label: side.recording.read_bytes() for side in sides if side.recording is not None}
    return comparison, recordings


def cold_method(plan: Plan) -> tuple[str, str]:
    """How caches are emptied ("drop", a command, or "" ) and, where they can't be, why."""
    if plan.make_cold:
        return plan.make_cold, ""
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        return "drop", ""
    return "", "emptying the caches takes root, or a command for it (--make-cold)"


def build(plan: Plan, stack: ExitStack, say: Progress) -> list[Side]:
    """Make every layout; the baseline comes first."""
    sides = [Side(stack.enter_context(plain(plan.env, label=BASELINE)))]
    for label, parent in plan.copies.items():
        copying = copied(plan.env, parent, label=label, keep=plan.keep, progress=partial(say, f"copying {label}"))
        sides.append(Side(stack.enter_context(copying)))
    for label, place in plan.existing.items():
        sides.append(stack.enter_context(existing(plan.env, place, label)))
    if plan.with_squashfs:
        say("packing", 0, 1)
        sides.append(
            Side(
                stack.enter_context(
                    squashfs(plan.env, image=plan.squashfs, image_dir=plan.image_dir, label="squashfs", keep=plan.keep)
                )
            )
        )
    if plan.with_overlay:
        image = plan.overlay
        if image is None and plan.with_squashfs:
            image = sides[-1].layout.where
        sides.append(
            Side(
                stack.enter_context(
                    overlay(plan.env, image=image, image_dir=plan.image_dir, label="overlay", keep=plan.keep)
                )
            )
        )
    if len(sides) < 2:
        raise FsprobeError("nothing to compare with", "add --flash DIR, --layout LABEL=DIR, --squashfs or --overlay", 2)
    return sides


@contextmanager
def existing(env: Path, place: Path, label: str) -> Iterator[Side]:
    """A copy that is there already, mounted over the environment's path; where that is not allowed, run from where it lies."""
    if not (place / "bin").is_dir():
        raise BadInput(f"{place} is no environment: it has no bin directory")
    where = Path(os.path.realpath(place))
    layout = Layout(label=label, kind="copy", where=where, fstype=fstype_of(where), mount_how="", enter=[])
    spec = Spec(kind="bind", source=str(where), at=str(env))
    try:
        entered = choose_way(spec)
    except MachineCannot as error:
        yield Side(layout, in_place=error.message)
        return
    yield Side(replace(layout, mount_how=entered.mount_how, enter=enter_argv(replace(spec, way=entered.way))))


class Bench:
    """Runs the command in a layout: traced once, timed many times."""

    def __init__(self, plan: Plan, scratch: Path, how_cold: str, server: Probe | None) -> None:
        self.plan = plan
        self.scratch = scratch
        self.how_cold = how_cold
        self.server = server
        self.n_started = 0

    def environment(self, side: Side) -> dict[str, str]:
        """The caller's, with the environment activated."""
        home = side.layout.where if side.in_place else self.plan.env
        return {**os.environ, "PATH": f"{home}/bin:{os.environ.get('PATH', os.defpath)}", "VIRTUAL_ENV": str(home)}

    def command(self, side: Side) -> list[str]:
        """The command; where a layout can't be mounted, with the environment's path replaced by the layout's."""
        if not side.in_place:
            return self.plan.command
        old, new = str(self.plan.env), str(side.layout.where)
        return [
            new + word[len(old) :] if word == old or word.startswith(old + "/") else word for word in self.plan.command
        ]

    def warm_up(self, side: Side) -> None:
        """One run of the baseline: it writes missing byte code and shows that the command works."""
        result = self._start(side, "warm")
        if result["exit_status"] != 0:
            where = f"; its output is in {self.plan.output_dir}" if self.plan.output_dir else ""
            raise FsprobeError(f"the command ends with {result['exit_status']} in the plain environment{where}", "", 3)

    def time(self, side: Side, cache: str) -> Run:
        """One untraced run."""
        before = self.server() if self.server else None
        result = self._start(side, cache)
        after = self.server() if self.server else None
        return Run(
            layout=side.layout.label,
            cache=cache,
            wall_s=result["wall_s"],
            user_s=result["user_s"],
            sys_s=result["sys_s"],
            around_s=result["around_s"],
            exit_status=result["exit_status"],
            server={name: after[name] - before[name] for name in after}
            if before is not None and after is not None
            else None,
        )

    def _start(self, side: Side, cache: str) -> dict[str, Any]:
        out = self.scratch / "timed.json"
        out.unlink(missing_ok=True)
        self.n_started += 1
        # a layout that is mounted for each run starts with an empty cache: warm means a second run in the same mount
        how = self.how_cold if cache == "cold" else "warm" if cache == "warm" and side.layout.enter else ""
        timer = [sys.executable, "-I", "-S", timed.__file__, str(out), how, "--"]
        with self._output(side, f"{self.n_started:03d}-{cache}") as streams:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [*side.layout.enter, *timer, *self.command(side)],
                env=self.environment(side),
                stdin=subprocess.DEVNULL,
                **streams,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        try:
            result: dict[str, Any] = json.loads(out.read_text())
        except (OSError, ValueError):
            raise FsprobeError(
                f"the command could not be started in the layout {side.layout.label} (exit code {process.returncode})",
                f"look at the output in {self.plan.output_dir}"
                if self.plan.output_dir
                else "run again with --show-output",
            ) from None
        if result["cold"]:
            raise MachineCannot(f"the caches could not be emptied: {result['cold']}", "see --make-cold")
        result["around_s"] = max(0.0, usage.ru_utime + usage.ru_stime - result["user_s"] - result["sys_s"])
        result["outer_wall_s"] = time.perf_counter() - begin
        return result

    @contextmanager
    def _output(self, side: Side, name: str) -> Iterator[dict[str, Any]]:
        if self.plan.output_dir is None:
            yield {"stdout": sys.stderr}
            return
        stem = self.plan.output_dir / f"{side.layout.label}-{name}"
        with open(f"{stem}.out", "wb") as out, open(f"{stem}.err", "wb") as err:
            yield {"stdout": out, "stderr": err}

    def trace(self, side: Side) -> None:
        """The traced run, and what it means."""
        path = self.scratch / f"{len(os.listdir(self.scratch))}.fsprobe"
        words = [
            sys.executable,
            "-m",
            "fsprobe.experiment",
            str(path),
            json.dumps(side.layout.enter),
            side.layout.label,
        ]
        layout = {"label": side.layout.label, "kind": side.layout.kind, "where": str(side.layout.where)}
        with self._output(side, "traced") as streams:
            done = subprocess.run(
                [*words, json.dumps(layout), "--", *self.command(side)],
                env=self.environment(side),
                stdin=subprocess.DEVNULL,
                check=False,
                **streams,
            )
        if not path.exists():
            raise FsprobeError(
                f"the traced run in the layout {side.layout.label} failed (exit code {done.returncode})",
                f"look at the output in {self.plan.output_dir}" if self.plan.output_dir else "",
            )
        side.recording = path
        side.analysis = pipeline.read(path)


def trace_main() -> None:
    """`python -m fsprobe.experiment OUT ENTER LABEL LAYOUT -- CMD...`: a traced run whose output can be sent to a file."""
    out, enter, label, layout = sys.argv[1:5]
    options = RunOptions()
    options.command = sys.argv[6:]
    options.output = out
    options.label = label
    options.max_log_bytes = 2 << 30
    options.wait_descendants_s = 5.0
    record.record(options, enter=json.loads(enter), layout=json.loads(layout))


def summarise(
    plan: Plan, sides: Sequence[Side], runs: Sequence[Run], caches: Sequence[str], notes: list[str]
) -> JsonObject:
    """The comparison as JSON (Contract)."""
    base = sides[0]
    assert base.analysis is not None
    rows = []
    for cache in caches:
        base_s = [run.wall_s for run in runs if run.layout == BASELINE and run.cache == cache]
        for side in sides:
            rows.append(
                _row(
                    plan,
                    side,
                    base,
                    cache,
                    [run for run in runs if run.layout == side.layout.label and run.cache == cache],
                    base_s,
                )
            )
    differences = {}
    for side in sides[1:]:
        assert side.analysis is not None
        renamed = {os.fsencode(side.layout.where): os.fsencode(plan.env)} if side.in_place else {}
        differences[side.layout.label] = compare.call_differences(base.analysis.tally, side.analysis.tally, renamed)
        if side.in_place:
            notes.append(f"{side.layout.label} ran from {side.layout.where}: {side.in_place}")
    return {
        "format": FORMAT,
        "kind": "comparison",
        "baseline": BASELINE,
        "environment": str(plan.env),
        "command": plan.command,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": host.facts(os.environ),
        "n_runs": plan.n_runs,
        "make_cold": plan.make_cold,
        "order": [[run.layout, run.cache] for run in runs],
        "notes": notes,
        "rows": rows,
        "differences": differences,
    }


def _row(plan: Plan, side: Side, base: Side, cache: str, runs: Sequence[Run], base_s: Sequence[float]) -> JsonObject:
    assert side.analysis is not None
    assert base.analysis is not None
    metrics = side.analysis.profile["metrics"]
    environment = environment_requests(plan, side)
    base_environment = environment_requests(plan, base)
    walls = [run.wall_s for run in runs]
    verdict = compare.compare_runs(base_s, walls) if side is not base else None
    servers = [run.server for run in runs if run.server is not None]
    return {
        "layout": side.layout.label,
        "kind": side.layout.kind,
        "where": str(side.layout.where),
        "fstype": side.layout.fstype,
        "mount_how": side.layout.mount_how,
        "cache": cache,
        "wall_s": spread(walls),
        "cpu_s": {
            "user": spread([run.user_s for run in runs]),
            "sys": spread([run.sys_s for run in runs]),
            "around": spread([run.around_s for run in runs]),
        },
        "exit_codes": sorted({run.exit_status for run in runs}),
        "metrics": {
            name: metrics[name]
            for name in (
                "n_open",
                "n_stat",
                "n_readlink",
                "n_list",
                "n_exec",
                "n_change",
                "n_missing",
                "n_metadata",
                "n_paths",
            )
        },
        "requests": {
            **(side.analysis.profile["requests"] or {}).get("by_mount", {}),
            "environment": environment,
            "environment_counts": environment_counts(plan, side),
        },
        "server_requests": {name: spread([server[name] for server in servers]) for name in servers[0]}
        if servers
        else None,
        "ratio_wall": None if verdict is None else round(verdict.ratio, 4),
        "ratio_wall_low": None if verdict is None else round(verdict.low, 4),
        "ratio_wall_high": None if verdict is None else round(verdict.high, 4),
        "p": None if verdict is None else round(verdict.p, 5),
        "ratio_requests": round(environment / base_environment, 6)
        if environment is not None and base_environment
        else None,
        "clear": None if verdict is None else verdict.clear,
        "verdict": "baseline" if verdict is None else verdict.reason,
    }


def environment_counts(plan: Plan, side: Side) -> JsonObject | None:
    """What a cold client asks for paths at or under the environment, by kind of request; None if not modelled."""
    if side.analysis is None or side.analysis.requests is None:
        return None
    place = side.layout.where if side.in_place else plan.env
    return side.analysis.requests.environment(os.fsencode(os.path.realpath(place)))


def environment_requests(plan: Plan, side: Side) -> int | None:
    """Metadata requests for the environment, or for the image file that holds it; None if not modelled."""
    if side.layout.kind in ("squashfs", "overlay"):
        # the client looks the image up and opens it once, when it is mounted; what is inside is answered on the node
        return 2
    counts = environment_counts(plan, side)
    return None if counts is None else int(counts["metadata"])


def spread(values: Sequence[float]) -> JsonObject:
    """Median, least, greatest and every run."""
    ordered = sorted(values)
    n = len(ordered)
    median = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    digits = 4 if any(isinstance(value, float) for value in values) else 0
    return {
        "median": round(median, digits) if digits else median,
        "min": round(ordered[0], 4),
        "max": round(ordered[-1], 4),
        "runs": [round(value, 4) for value in values],
    }


def write(path: str, comparison: JsonObject, recordings: Mapping[str, bytes]) -> None:
    """Write a comparison with its traced runs as one file."""
    sections: list[tuple[str, bytes]] = [("manifest", json.dumps(comparison, indent=1).encode())]
    for i, (label, data) in enumerate(recordings.items()):
        sections.append((f"recording.{i}", json.dumps({"label": label}).encode() + b"\n" + data))
    recording.write(path, "comparison", sections)


def describe(comparison: JsonObject) -> str:
    """One sentence per layout, for a mail."""
    lines = []
    for row in comparison["rows"]:
        if row["verdict"] == "baseline":
            continue
        lines.append(
            f"{row['layout']} ({row['cache']}): {row['verdict']}, {numbers.seconds(row['wall_s']['median'])} a start "
            f"(median of {len(row['wall_s']['runs'])})"
        )
    return "; ".join(lines)


if __name__ == "__main__":
    trace_main()
