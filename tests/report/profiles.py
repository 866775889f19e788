"""Hand-built values for the report tests: small, complete, every count chosen so that each grouping sums to the total."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]

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


def counts(n_open: int, n_stat: int, n_list: int = 0, n_missing: int = 0, time_s: float | None = 0.001) -> JsonObject:
    return {
        "n_open": n_open,
        "n_stat": n_stat,
        "n_readlink": 0,
        "n_list": n_list,
        "n_exec": 0,
        "n_change": 0,
        "n_missing": n_missing,
        "n_metadata": n_open + n_stat + n_list,
        "time_s": time_s,
    }


def module(key: str, parent: str | None, own: JsonObject, cum: int, n_imports: int = 1) -> JsonObject:
    return {
        "key": key,
        **own,
        "parent": parent,
        "n_imports": n_imports,
        "n_open_cum": cum // 4,
        "n_stat_cum": cum - cum // 4,
        "n_metadata_cum": cum,
        "n_missing_cum": own["n_missing"],
        "time_cum_s": None if own["time_s"] is None else cum / 1000,
    }


def hand_built() -> JsonObject:
    """100 metadata calls: 25 opens, 65 stats, 10 lists; 20 of them in vain."""
    modules = [
        module("big", None, counts(5, 15, 0, 5), 80),
        module("big.core", "big", counts(5, 15, 5, 5), 60),
        # a circle, as `import a.b` makes one: a.b begins, imports a, whose __init__ imports a.b
        module("a.b", "a", counts(5, 10, 0, 0), 35, n_imports=2),
        module("a", "a.b", counts(2, 8, 0, 2), 20),
        module("small", "big", counts(3, 7, 0, 3), 10),
        module("(not in an import)", None, counts(5, 10, 5, 5), 20),
    ]
    return {
        "format": 1,
        "kind": "recording",
        "manifest": {
            "backend": "strace",
            "backend_version": "6.1",
            "cache": "cold",
            "command": ["python", "-c", "import big"],
            "cwd": "/work",
            "exit_code": 0,
            "host": "node1",
            "job": {},
            "majflt": 3,
            "markers": "time",
            "read_bytes": 1_500_000,
            "started_s": 1_700_000_000.0,
            "sys_s": 0.05,
            "user_s": 0.2,
            "wall_s": 1.5,
            "python": {"version": "3.11.7", "prefix": "/env"},
            "n_python_processes": 1,
            "mounts": [{"path": "/project", "fstype": "lustre", "fs_class": "network"}],
            "observes": ["loader", "results", "durations", "children"],
        },
        "quality": {
            "n_lines": 130,
            "n_unparsed": 0,
            "n_partial": 0,
            "n_unfinished": 0,
            "unparsed_examples": [],
            "own": {"open": 3, "stat": 7},
            "n_marks_unread": 0,
            "n_marks_lost": 0,
            "n_marks_unpaired": 0,
            "n_killed": 0,
            "io_uring": False,
        },
        "metrics": {
            **{name: value for name, value in counts(25, 65, 10, 20).items() if name != "time_s"},
            "n_paths": 42,
            "n_startup": 80,
            "fs_time_s": 0.25,
            "tracer_floor_us": 9.4,
            "fs_time_above_floor_s": 0.2,
            "share_fs_time_at_most": 0.14,
            "by_syscall": {"openat": {"calls": 25, "errors": 4}, "newfstatat": {"calls": 65, "errors": 16}},
            "by_phase": [
                {"key": "init", **counts(5, 10, 5, 5)},
                {"key": "import", **counts(15, 50, 5, 10)},
                {"key": "run", **counts(5, 5, 0, 5)},
            ],
            "by_module": modules,
            "by_package": [
                {"key": "big", **counts(20, 50, 10, 15)},
                {"key": "(standard library)", **counts(5, 15, 0, 5)},
            ],
            "by_mount": [
                {
                    "key": "/project",
                    **counts(24, 64, 10, 20),
                    "fstype": "lustre",
                    "fs_class": "network",
                    "source": "mds:/project",
                    "p50_ms": 0.8,
                    "p95_ms": 4.0,
                    "max_ms": 120.0,
                    "n_over_1ms": 30,
                },
                {
                    "key": "/proc",
                    **counts(1, 1),
                    "fstype": "proc",
                    "fs_class": "pseudo",
                    "source": "proc",
                    "p50_ms": 0.02,
                    "p95_ms": 0.03,
                    "max_ms": 0.04,
                    "n_over_1ms": 0,
                },
            ],
            "by_process": [
                {
                    "key": "10 python",
                    **counts(25, 65, 10, 20),
                    "pid": 10,
                    "parent_pid": 0,
                    "label": "python",
                    "kind": "python",
                }
            ],
            "by_path": [
                {"key": "/project/env/big", **counts(10, 40, 10, 0)},
                {"key": "/project/env/other", **counts(5, 15, 0, 10)},
                {"key": "(rest)", **counts(10, 10, 0, 10), "n_paths": 40},
            ],
            "missing": [
                {
                    "reason": "extension suffixes",
                    "n": 15,
                    "n_paths": 15,
                    "examples": ["/project/env/big.so", "/project/env/c.so"],
                },
                {"reason": "sys.path entries", "n": 5, "n_paths": 1, "examples": ["/gone"]},
            ],
            "rates": {
                "peak_metadata_per_s": 90.0,
                "sustained_metadata_per_s": 10.0,
                "peak_open_per_s": 22.0,
                "sustained_open_per_s": 2.5,
                "peak_open_per_s_process": 22.0,
                "sustained_open_per_s_process": 2.5,
                "n_processes_busiest_s": 1,
                "duration_s": 1.4,
            },
            "timeline": [
                {"t_s": 0.0, "init": 20, "import": 30},
                {"t_s": 0.1, "import": 20},
                {"t_s": 1.2, "import": 20, "run": 10},
            ],
        },
        "requests": {
            "by_mount": {"/project": request_counts(60, 30, 4, 5, 1), "/proc": request_counts(1, 1, 0, 0, 0)},
            "by_package": {
                "big": request_counts(50, 25, 4, 5, 1),
                "(standard library)": request_counts(11, 6, 0, 0, 0),
            },
            "by_module": {"big": request_counts(40, 20, 4, 5, 1), "small": request_counts(21, 11, 0, 0, 0)},
        },
        "verdict": {
            "level": "heavy",
            "sentence": "One start asks 100 requests of /project; 1,000 ranks ask 100,000 at once.",
            "unseen": ["page faults of mapped files"],
        },
        "findings": [
            {
                "code": "FSP003",
                "severity": "info",
                "audience": "site",
                "title": "A note",
                "evidence": "Seen once.",
                "advice": "",
                "commands": [],
                "saves": {},
                "source": "",
            },
            {
                "code": "FSP002",
                "severity": "critical",
                "audience": "user",
                "title": "A dead entry in sys.path",
                "evidence": "/gone was looked up 5 times.",
                "advice": "Take it out of PYTHONPATH.",
                "commands": ["unset PYTHONPATH", "python -c 'import big'"],
                "saves": {"calls": 5, "requests": 1},
                "source": "measured in this run",
            },
        ],
    }


def request_counts(lookup: int, n_open: int, opendir: int, readdir: int, readlink: int) -> JsonObject:
    return {
        "lookup": lookup,
        "negative": lookup // 2,
        "open": n_open,
        "opendir": opendir,
        "readdir": readdir,
        "readlink": readlink,
        "read_max": None,
    }


def bare() -> JsonObject:
    """The same run as a backend saw it that knows neither times nor imports, before findings were made."""
    profile = hand_built()
    metrics = profile["metrics"]
    metrics.update(
        by_module=None,
        timeline=[],
        fs_time_s=None,
        tracer_floor_us=None,
        fs_time_above_floor_s=None,
        share_fs_time_at_most=None,
        rates=dict.fromkeys(metrics["rates"]),
    )
    for row in metrics["by_mount"]:
        row.update(time_s=None, p50_ms=None, p95_ms=None, max_ms=None, n_over_1ms=None)
    for grouping in ("by_phase", "by_package", "by_process", "by_path"):
        for row in metrics[grouping]:
            row["time_s"] = None
    profile["manifest"].update(python=None, cache="unknown", wall_s=None, user_s=None, sys_s=None, majflt=None)
    profile["manifest"].update(read_bytes=None, exit_code=None, markers="none")
    profile.update(requests=None, findings=[], verdict=None)
    return profile


def hostile() -> JsonObject:
    """The hand-built profile with text that attacks whatever shows it, in every place that foreign text comes from."""
    profile = hand_built()
    metrics, manifest = profile["metrics"], profile["manifest"]
    manifest["command"] = ["python", *HOSTILE]
    manifest.update(host=HOSTILE[0], cwd=HOSTILE[1], label=HOSTILE[8], cache=HOSTILE[9], backend_version=HOSTILE[2])
    manifest["job"] = {HOSTILE[0]: HOSTILE[1]}
    metrics["by_path"] = [{"key": text, **counts(5, 10, 0, 1)} for text in HOSTILE]
    metrics["by_package"][0]["key"] = HOSTILE[1]
    metrics["by_mount"][0]["key"] = HOSTILE[3]
    metrics["by_mount"][0]["fstype"] = HOSTILE[0]
    metrics["by_process"][0].update(key=HOSTILE[0], label=HOSTILE[1])
    metrics["missing"][0]["examples"] = list(HOSTILE)
    metrics["by_module"] += [module(text, "big", counts(0, 1), 1) for text in HOSTILE]
    profile["verdict"]["sentence"] = HOSTILE[0] + HOSTILE[8]
    profile["verdict"]["unseen"] = [HOSTILE[1]]
    profile["quality"].update(n_unparsed=1, unparsed_examples=[HOSTILE[1]])
    for name in ("title", "evidence", "advice", "source", "severity"):
        profile["findings"][1][name] = "".join(HOSTILE)
    profile["findings"][1]["commands"] = [HOSTILE[0], "echo one\necho two", HOSTILE[8]]
    return profile


def comparison() -> JsonObject:
    """Three layouts: a baseline, one that is clearly faster, one of which little was observed."""

    def spread(*runs: float) -> JsonObject:
        return {"median": sorted(runs)[len(runs) // 2], "min": min(runs), "max": max(runs), "runs": list(runs)}

    def cpu(user: float, around: float) -> JsonObject:
        return {"user": spread(user), "sys": spread(0.05), "around": spread(around)}

    return {
        "format": 1,
        "kind": "comparison",
        "baseline": "plain",
        "environment": "/project/env",
        "command": ["python", "-c", "import pandas"],
        "date": "2023-11-14T22:13:20+0000",
        "host": {"host": "node1", "kernel": "6.1"},
        "n_runs": 3,
        "make_cold": "",
        "order": [],
        "notes": [HOSTILE[8]],
        "rows": [
            {
                "layout": "plain",
                "kind": "plain",
                "where": "/project/env",
                "fstype": "lustre",
                "mount_how": "",
                "cache": "cold",
                "wall_s": spread(2.7, 2.8, 2.9),
                "cpu_s": cpu(0.25, 0.02),
                "exit_codes": [0],
                "metrics": {"n_metadata": 2970},
                "requests": {"/project": request_counts(1095, 418, 54, 104, 2), "environment": 1673},
                "server_requests": {"LOOKUP": spread(1095), "OPEN": spread(418), "READ": spread(677)},
                "ratio_wall": None,
                "ratio_wall_low": None,
                "ratio_wall_high": None,
                "ratio_requests": 1.0,
                "clear": None,
                "verdict": "baseline",
            },
            {
                "layout": "squashfs",
                "kind": "squashfs",
                "where": "/project/env.squashfs",
                "fstype": "squashfs",
                "mount_how": "loop",
                "cache": "cold",
                "wall_s": spread(0.7, 0.71, 0.8),
                "cpu_s": cpu(0.25, 0.2),
                "exit_codes": [0],
                "metrics": {"n_metadata": 2970},
                "requests": {"environment": 2},
                "server_requests": None,
                "ratio_wall": 0.25,
                "ratio_wall_low": 0.2,
                "ratio_wall_high": 0.32,
                "ratio_requests": 0.0012,
                "clear": True,
                "verdict": "4 times faster",
            },
            {
                "layout": HOSTILE[1],
                "kind": "overlay",
                "where": HOSTILE[0],
                "fstype": None,
                "mount_how": None,
                "cache": None,
                "wall_s": None,
                "cpu_s": None,
                "exit_codes": [1],
                "metrics": None,
                "requests": None,
                "server_requests": None,
                "ratio_wall": None,
                "ratio_wall_low": None,
                "ratio_wall_high": None,
                "ratio_requests": None,
                "clear": None,
                "verdict": "",
            },
        ],
        "differences": {
            "squashfs": {"n_baseline": 2970, "n_layout": 2970, "n_paths": 0, "rows": []},
            HOSTILE[1]: {
                "n_baseline": 2970,
                "n_layout": 2972,
                "n_paths": 1,
                "rows": [{"path": HOSTILE[3], "op": "open", "baseline": 1, "layout": 3}],
            },
        },
    }
