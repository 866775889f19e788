"""Hand-built values for the report tests: small, complete, every count chosen so that each grouping sums to the total."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from fsprobe.model.comparison import Comparison, CpuSpread, Difference, Differences, LayoutCounts, LayoutRow, Spread
from fsprobe.model.finding import Finding
from fsprobe.model.manifest import Manifest, MountFacts, PythonFacts
from fsprobe.model.profile import Metrics, Profile, Quality, Verdict
from fsprobe.model.requests import RequestCounts, RequestRow, Requests
from fsprobe.model.rows import (
    PROGRAM,
    ModuleRow,
    MountRow,
    NotFoundRow,
    PathRow,
    ProcessRow,
    Rates,
    Row,
    SyscallRow,
    TimelineRow,
)

HOSTILE = (
    "/p/<img src=x onerror=alert(1)>",
    "/p/</script><script>alert(2)</script>",
    "/p/<!--<script>",
    "/p/line\nbreak\r\ttab",
    "/p/\u202egnp.exe\u2066",
    "/p/\u2028\u2029",
    "/p/\\xff\\xfe",
    "/p/\udcff\udc80",
    "/p/` ``| pipe ``` $x$ *b* _i_ [a](javascript:alert(3)) @everyone #1",
    "/p/&lt;b&gt; {{ 7*7 }} {% raw %}",
    "javascript:alert(4)",
    "=cmd|' /C calc'!A0",
)


T = TypeVar("T")


def counts(n_open: int, n_stat: int, n_list: int = 0, n_not_found: int = 0, time_s: float | None = 0.001) -> Any:
    """The counts of a row, by field."""
    return {"n_open": n_open, "n_stat": n_stat, "n_list": n_list, "n_not_found": n_not_found, "time_s": time_s}


def module(key: str, parent: str | None, own: Mapping[str, Any], cum: int, n_imports: int = 1) -> ModuleRow:
    return ModuleRow(
        key=key,
        **own,
        parent=parent,
        n_imports=n_imports,
        n_open_cum=cum // 4,
        n_stat_cum=cum - cum // 4,
        n_metadata_cum=cum,
        n_not_found_cum=own["n_not_found"],
        time_cum_s=None if own["time_s"] is None else cum / 1000,
    )


def changed(value: T, **changes: Any) -> T:
    """A value with fields of it or of its parts changed: `metrics__by_path=...` changes `by_path` of its `metrics`."""
    inner: dict[str, dict[str, Any]] = {}
    for name in list(changes):
        head, _, rest = name.partition("__")
        if rest:
            inner.setdefault(head, {})[rest] = changes.pop(name)
    changes.update((name, changed(getattr(value, name), **found)) for name, found in inner.items())
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def hand_built() -> Profile:
    """100 metadata calls: 25 opens, 65 stats, 10 lists; 20 of them not found."""
    return Profile(
        manifest=manifest(),
        quality=Quality(n_lines=130, own_calls={"open": 3, "stat": 7}),
        metrics=metrics(),
        requests=Requests(
            by_mount=(
                request_row("/project", 60, 30, 4, 5, 1, fs_class="network", fstype="lustre"),
                request_row("/proc", 1, 1, 0, 0, 0, fs_class="pseudo", fstype="proc"),
            ),
            by_package=(
                request_row("big", 50, 25, 4, 5, 1),
                request_row("(standard library)", 11, 6, 0, 0, 0),
            ),
            by_module=(request_row("big", 40, 20, 4, 5, 1), request_row("small", 21, 11, 0, 0, 0)),
        ),
        verdict=Verdict(
            level="heavy",
            sentence="One start asks 100 requests of /project; 1,000 ranks ask 100,000 at once.",
            unseen=("page faults of mapped files",),
        ),
        findings=(
            Finding(
                code="FSP003",
                severity="info",
                audience="site",
                title="A note",
                evidence="Seen once.",
                advice="",
                commands=(),
                saves={},
                source="",
            ),
            Finding(
                code="FSP002",
                severity="critical",
                audience="user",
                title="A dead entry in sys.path",
                evidence="/gone was looked up 5 times.",
                advice="Take it out of PYTHONPATH.",
                commands=("unset PYTHONPATH", "python -c 'import big'"),
                saves={"calls": 5, "requests": 1},
                source="measured in this run",
            ),
        ),
    )


def manifest() -> Manifest:
    return Manifest(
        backend="strace",
        backend_version="6.1",
        cache="cold",
        command=("python", "-c", "import big"),
        cwd="/work",
        exit_code=0,
        host="node1",
        majflt=3,
        markers="time",
        read_bytes=1_500_000,
        started_s=1_700_000_000.0,
        sys_s=0.05,
        user_s=0.2,
        wall_s=1.5,
        python=PythonFacts(version="3.11.7", prefix="/env"),
        n_python_processes=1,
        mounts=(MountFacts(path="/project", fstype="lustre", fs_class="network"),),
        capabilities=("loader", "results", "durations", "stats", "children", "foreign_programs"),
    )


def metrics() -> Metrics:
    return Metrics(
        **counts(25, 65, 10, 20, 0.25),
        n_paths=42,
        tracing_overhead_us=9.4,
        time_less_overhead_s=0.2,
        share_of_wall=0.14,
        by_syscall={"openat": SyscallRow(calls=25, errors=4), "newfstatat": SyscallRow(calls=65, errors=16)},
        by_phase=(
            Row(key="init", **counts(5, 10, 5, 5)),
            Row(key="import", **counts(15, 50, 5, 10)),
            Row(key="run", **counts(5, 5, 0, 5)),
        ),
        by_module=(
            module("big", None, counts(5, 15, 0, 5), 80),
            module("big.core", "big", counts(5, 15, 5, 5), 60),
            # a circle, as `import a.b` makes one: a.b begins, imports a, whose __init__ imports a.b
            module("a.b", "a", counts(5, 10, 0, 0), 35, n_imports=2),
            module("a", "a.b", counts(2, 8, 0, 2), 20),
            module("small", "big", counts(3, 7, 0, 3), 10),
            module(PROGRAM, None, counts(5, 10, 5, 5), 20),
        ),
        by_package=(
            Row(key="big", **counts(20, 50, 10, 15)),
            Row(key="(standard library)", **counts(5, 15, 0, 5)),
        ),
        by_mount=(
            MountRow(
                key="/project",
                **counts(24, 64, 10, 20),
                fstype="lustre",
                fs_class="network",
                source="mds:/project",
                p50_ms=0.8,
                p95_ms=4.0,
                max_ms=120.0,
                n_over_1ms=30,
            ),
            MountRow(
                key="/proc",
                **counts(1, 1),
                fstype="proc",
                fs_class="pseudo",
                source="proc",
                p50_ms=0.02,
                p95_ms=0.03,
                max_ms=0.04,
                n_over_1ms=0,
            ),
        ),
        by_process=(ProcessRow(key="10 python", **counts(25, 65, 10, 20), pid=10, label="python", kind="python"),),
        processes={"python": 1},
        by_path=(
            PathRow(key="/project/env/big", **counts(10, 40, 10, 0)),
            PathRow(key="/project/env/other", **counts(5, 15, 0, 10)),
            PathRow(key="(rest)", **counts(10, 10, 0, 10), n_paths=40),
        ),
        not_found=(
            NotFoundRow(
                reason="extension suffixes",
                n=15,
                n_paths=15,
                examples=("/project/env/big.so", "/project/env/c.so"),
            ),
            NotFoundRow(reason="sys.path entries", n=5, n_paths=1, examples=("/gone",)),
        ),
        rates=Rates(
            peak_metadata_per_s=90.0,
            sustained_metadata_per_s=10.0,
            peak_open_per_s=22.0,
            sustained_open_per_s=2.5,
            peak_open_per_s_process=22.0,
            sustained_open_per_s_process=2.5,
            n_processes_busiest_s=1,
            duration_s=1.4,
        ),
        timeline=(
            TimelineRow(t_s=0.0, by_phase={"init": 20, "import": 30}),
            TimelineRow(t_s=0.1, by_phase={"import": 20}),
            TimelineRow(t_s=1.2, by_phase={"import": 20, "run": 10}),
        ),
    )


def request_counts(lookup: int, n_open: int, opendir: int, readdir: int, readlink: int) -> RequestCounts:
    return RequestCounts(**_requests(lookup, n_open, opendir, readdir, readlink))


def request_row(
    key: str,
    lookup: int,
    n_open: int,
    opendir: int,
    readdir: int,
    readlink: int,
    *,
    fs_class: str | None = None,
    fstype: str | None = None,
) -> RequestRow:
    made = _requests(lookup, n_open, opendir, readdir, readlink)
    return RequestRow(key=key, fs_class=fs_class, fstype=fstype, **made)


def _requests(lookup: int, n_open: int, opendir: int, readdir: int, readlink: int) -> dict[str, int]:
    kinds = {"open": n_open, "opendir": opendir, "readdir": readdir, "readlink": readlink}
    return {"lookup": lookup, "negative": lookup // 2, **kinds}


def bare() -> Profile:
    """The same run as a backend saw it that knows neither times nor imports, before findings were made."""
    profile = hand_built()
    unseen: dict[str, Any] = dict.fromkeys(("time_s", "p50_ms", "p95_ms", "max_ms", "n_over_1ms"))
    found = profile.metrics
    return changed(
        profile,
        metrics__by_module=None,
        metrics__timeline=(),
        metrics__time_s=None,
        metrics__tracing_overhead_us=None,
        metrics__time_less_overhead_s=None,
        metrics__share_of_wall=None,
        metrics__rates=Rates(),
        metrics__by_mount=tuple(dataclasses.replace(row, **unseen) for row in found.by_mount),
        metrics__by_phase=untimed(found.by_phase),
        metrics__by_package=untimed(found.by_package),
        metrics__by_process=untimed(found.by_process),
        metrics__by_path=untimed(found.by_path),
        manifest__python=None,
        manifest__cache="unknown",
        manifest__wall_s=None,
        manifest__user_s=None,
        manifest__sys_s=None,
        manifest__majflt=None,
        manifest__read_bytes=None,
        manifest__exit_code=None,
        manifest__markers="none",
        requests=None,
        findings=(),
        verdict=None,
    )


def untimed(rows: tuple[T, ...]) -> tuple[T, ...]:
    """Rows as of a backend that does not time calls."""
    return tuple(changed(row, time_s=None) for row in rows)


def hostile() -> Profile:
    """The hand-built profile with text that attacks whatever shows it, in every place that foreign text comes from."""
    profile = hand_built()
    found = profile.metrics
    assert found.by_module is not None
    note, dead = profile.findings
    everything = "".join(HOSTILE)
    return changed(
        profile,
        manifest__command=("python", *HOSTILE),
        manifest__host=HOSTILE[0],
        manifest__cwd=HOSTILE[1],
        manifest__label=HOSTILE[8],
        manifest__cache=HOSTILE[9],
        manifest__backend_version=HOSTILE[2],
        manifest__job={HOSTILE[0]: HOSTILE[1]},
        metrics__by_path=tuple(PathRow(key=text, **counts(5, 10, 0, 1)) for text in HOSTILE),
        metrics__by_package=(changed(found.by_package[0], key=HOSTILE[1]), *found.by_package[1:]),
        metrics__by_mount=(changed(found.by_mount[0], key=HOSTILE[3], fstype=HOSTILE[0]), *found.by_mount[1:]),
        metrics__by_process=(changed(found.by_process[0], key=HOSTILE[0], label=HOSTILE[1]),),
        metrics__not_found=(changed(found.not_found[0], examples=HOSTILE), *found.not_found[1:]),
        metrics__by_module=(*found.by_module, *(module(text, "big", counts(0, 1), 1) for text in HOSTILE)),
        verdict__sentence=HOSTILE[0] + HOSTILE[8],
        verdict__unseen=(HOSTILE[1],),
        quality__n_unparsed=1,
        quality__unparsed_examples=(HOSTILE[1],),
        findings=(
            note,
            changed(
                dead,
                **dict.fromkeys(("title", "evidence", "advice", "source", "severity"), everything),
                commands=(HOSTILE[0], "echo one\necho two", HOSTILE[8]),
            ),
        ),
    )


def spread(*runs: float) -> Spread:
    return Spread(median=sorted(runs)[len(runs) // 2], min=min(runs), max=max(runs), runs=runs)


def cpu(user: float, around: float) -> CpuSpread:
    return CpuSpread(user=spread(user), sys=spread(0.05), around=spread(around))


def comparison() -> Comparison:
    """Three layouts: a baseline, one that is clearly faster, one of which little was observed."""
    return Comparison(
        baseline="plain",
        environment="/project/env",
        command=("python", "-c", "import pandas"),
        date="2023-11-14T22:13:20+0000",
        host={"host": "node1", "kernel": "6.1"},
        n_runs=3,
        make_cold="",
        notes=(HOSTILE[8],),
        rows=(
            LayoutRow(
                layout="plain",
                where="/project/env",
                fstype="lustre",
                cache="cold",
                wall_s=spread(2.7, 2.8, 2.9),
                cpu_s=cpu(0.25, 0.02),
                exit_codes=(0,),
                metrics=LayoutCounts(n_open=470, n_stat=2500),
                requests=(request_row("/project", 1095, 418, 54, 104, 2, fs_class="network", fstype="lustre"),),
                environment_requests=request_counts(1095, 418, 54, 104, 2),
                server_requests={"LOOKUP": spread(1095), "OPEN": spread(418), "READ": spread(677)},
                ratio_requests=1.0,
                verdict="baseline",
            ),
            LayoutRow(
                layout="squashfs",
                kind="squashfs",
                where="/project/env.squashfs",
                fstype="squashfs",
                mount_how="loop",
                cache="cold",
                wall_s=spread(0.7, 0.71, 0.8),
                cpu_s=cpu(0.25, 0.2),
                exit_codes=(0,),
                metrics=LayoutCounts(n_open=470, n_stat=2500),
                requests=(request_row("/project", 1, 1, 0, 0, 0, fs_class="network", fstype="lustre"),),
                environment_requests=request_counts(1, 1, 0, 0, 0),
                ratio_wall=0.25,
                ratio_wall_low=0.2,
                ratio_wall_high=0.32,
                ratio_requests=0.0012,
                clear=True,
                verdict="4 times faster",
            ),
            LayoutRow(
                layout=HOSTILE[1],
                kind="overlay",
                where=HOSTILE[0],
                cache="unknown",
                exit_codes=(1,),
                metrics=LayoutCounts(n_open=472, n_stat=2500),
            ),
        ),
        differences={
            "squashfs": Differences(n_baseline=2970, n_layout=2970, n_paths=0),
            HOSTILE[1]: Differences(
                n_baseline=2970,
                n_layout=2972,
                n_paths=1,
                rows=(Difference(path=HOSTILE[3], op="open", baseline=1, layout=3),),
            ),
        },
    )
