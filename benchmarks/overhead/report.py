"""The report of `benchmarks.overhead`: tables and a picture from its JSON."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks import evidence
from benchmarks.evidence import Json

COUNT, BARE = "strace -f -c", "fsprobe's strace line alone"
RECORD = "fsprobe run --record-only (strace)"
FULL = "fsprobe run (strace)"
PLAIN = "fsprobe run --record-only --no-markers (strace)"
AIM = 0.9
NOT_HAD = (
    "Not beside them: Darshan, of which no package can be had that records. PyPI's `darshan` 3.5.0 holds PyDarshan and "
    "libdarshan-util, which read its logs; Debian 12 has no package of darshan-runtime."
)


def _median(arms: Json, arm: str, key: str = "cpu_s") -> float:
    return float(arms[arm][key]["median"])


def _ratio(arms: Json, arm: str, base: str, key: str = "cpu_s") -> str:
    return f"{_median(arms, arm, key) / _median(arms, base, key):.2f}" if base in arms else "-"


def markdown(result: Json) -> str:
    """The report's tables."""
    parts = [
        "# Cost\n",
        evidence.about(result),
        f"Load when it ended: {result['load_at_end']}. The page cache is warm. CPU is user + system of the program and of "
        f"everything that watches it. {NOT_HAD}\n",
        *_against_the_aim(result),
    ]
    for name, workload in result["workloads"].items():
        found = workload["arms"]
        parts += [
            f"## {name}\n",
            f"```python\n{workload['program'].strip()}\n```\n",
            evidence.table(
                ["", "CPU s, median (min-max)", "over untraced", f"over `{COUNT}`", "wall s, median (min-max)", "over untraced"],
                [
                    [
                        arm, _shown(figures["cpu_s"]), _ratio(found, arm, "untraced"), _ratio(found, arm, COUNT),
                        _shown(figures["wall_s"]), _ratio(found, arm, "untraced", "wall_s"),
                    ]
                    for arm, figures in found.items()
                ],
            ),
        ]  # fmt: skip
        if workload["not_run"]:
            parts.append("Not run: " + "; ".join(f"{arm}: {why}" for arm, why in workload["not_run"].items()) + ".\n")
    if result.get("starts"):
        parts += _starts(result["starts"], result["workloads"].get("pandas", {}).get("arms", {}))
    for what, rows in result["growth"].items():
        names = list(rows[0]["arms"])
        parts += [
            f"## Growth with {what}\n",
            _growth_text(what),
            evidence.table(
                [what, "runs", *names],
                [
                    [
                        f"{row['n']:,}", row["n_runs"],
                        *(_both(row["arms"], name) for name in names),
                    ]
                    for row in rows
                ],
            ),
        ]  # fmt: skip
    return "\n".join(parts)


def _starts(found: Json, alone: Json) -> list[str]:
    arms = found["arms"]
    added = [
        f"{(_median(arms, arm) - _median(arms, 'untraced')) / found['n']:.2f} s of CPU to each start here and "
        f"{_median(alone, arm) - _median(alone, 'untraced'):.2f} s to one alone (pandas, above): {arm}"
        for arm in arms
        if arm != "untraced" and arm in alone
    ]
    return [
        f"## {found['n']} starts at once\n",
        f"{found['n']} times `import pandas`, started together, until the last has ended: medians of {found['n_runs']} runs. A "
        "recorder is an interpreter of its own, and looks several times a second at what was recorded for as long as its program "
        f"runs, which is longer beside others. {'Recording adds ' if added else ''}{'; '.join(added)}.\n",
        evidence.table(
            ["", "CPU s, median (min-max)", "over untraced", "wall s, median (min-max)", "over untraced"],
            [
                [
                    arm, _shown(figures["cpu_s"]), _ratio(arms, arm, "untraced"), _shown(figures["wall_s"]),
                    _ratio(arms, arm, "untraced", "wall_s"),
                ]
                for arm, figures in arms.items()
            ],
        ),
    ]  # fmt: skip


def _shown(spread: Json) -> str:
    return f"{spread['median']:.3f} ({spread['min']:.3f}-{spread['max']:.3f})"


def _both(arms: Json, name: str) -> str:
    return f"{_median(arms, name):.2f} / {_median(arms, name, 'wall_s'):.2f}" if name in arms else "not run"


def _growth_text(what: str) -> str:
    program = {
        "calls": "One process that stats one directory n times",
        "processes": "n interpreters (`import json`), two at a time",
        "threads": "20,000 stats, shared out among n threads",
    }[what]
    return f"{program}. CPU s / wall s, medians.\n"


def _against(arms: Json, arm: str, base: str) -> str:
    """Ratio of medians, median of the rounds' own ratios, ratio of the least: they agree on a quiet machine."""
    over, under = arms[arm]["cpu_s"], arms[base]["cpu_s"]
    by_round = statistics.median(a / b for a, b in zip(over["runs"], under["runs"], strict=True))
    return f"{over['median'] / under['median']:.2f} / {by_round:.2f} / {over['min'] / under['min']:.2f}"


def _against_the_aim(result: Json) -> list[str]:
    rows = []
    met: list[str] = []
    missed: list[str] = []
    for name, workload in result["workloads"].items():
        found = workload["arms"]
        if not {COUNT, BARE, RECORD, FULL, PLAIN} <= found.keys():
            continue
        least = {arm: found[arm]["cpu_s"]["min"] for arm in (COUNT, BARE, RECORD, FULL, PLAIN)}
        (met if _median(found, RECORD) / _median(found, COUNT) <= AIM else missed).append(name)
        rows.append(
            [
                name, _against(found, RECORD, COUNT), _against(found, BARE, COUNT), f"{least[COUNT]:.3f}",
                f"{least[BARE]:.3f}", f"{least[RECORD] - least[BARE]:+.3f}", f"{least[RECORD] - least[PLAIN]:+.3f}",
                f"{least[FULL] - least[RECORD]:+.3f}",
            ]
        )  # fmt: skip
    own = "; ".join(f"`{command}` {n}" for command, n in result["n_own_calls"].items())
    return [
        f"## `fsprobe run --record-only` against `{COUNT}`\n",
        f"The aim is {AIM} of its CPU, by medians: met for {', '.join(met) or 'none'}; not for {', '.join(missed) or 'none'}. What "
        "stands in the way is, first, strace's line itself (the third column), which keeps every call's line where -c keeps a "
        "sum, and which no recorder that uses strace can undercut. On top of it comes what does not depend on the program (an "
        "interpreter, its modules, asking strace for its version) and what grows with the log (reading it once for what has to be "
        "looked up right after the run, packing it). The markers are the hook's start in each interpreter and two noted times "
        "an import. Three ratios: of medians, median of the rounds' own, of the least; where they differ, other work on the "
        "machine was in the figures. The columns in s are of the least.\n",
        evidence.table(
            ["workload", f"record-only over `{COUNT}`", "strace line alone over it", f"`{COUNT}`, s", "line alone, s",
             "record-only adds, s", "of that markers, s", "full run adds, s"],
            rows,
        ),
        f"strace of /bin/true costs {result['strace_of_true_cpu_s']['median'] * 1e3:.0f} ms of CPU. The recorder's own metadata "
        f"calls, as installed, beside those of the interpreter alone: {own}.\n",
    ]  # fmt: skip


def picture(result: Json, path: Path) -> None:
    """CPU over untraced for every tool, and growth."""
    from matplotlib.figure import Figure

    names = list(result["workloads"])
    growth = result["growth"]
    figure = Figure(figsize=(13, 4.4 + 3.6 * bool(growth)), layout="constrained")
    parts = figure.subfigures(1 + bool(growth), 1, height_ratios=(4.4, 3.6)[: 1 + bool(growth)], squeeze=False)[:, 0]
    upper, lower = parts[0], parts[1] if growth else None
    axes = upper.subplots(1, len(names), sharey=True, squeeze=False)[0]
    labels = list(
        dict.fromkeys(arm for name in names for arm in result["workloads"][name]["arms"] if arm != "untraced")
    )
    for panel, name in zip(axes, names, strict=True):
        found = result["workloads"][name]["arms"]
        base = _median(found, "untraced")
        for y, arm in enumerate(labels[::-1]):
            if arm not in found:
                continue
            spread = found[arm]["cpu_s"]
            panel.barh(
                y, spread["median"] / base, height=0.62, color="#0d6468" if arm.startswith("fsprobe") else "#b9b4aa"
            )
            panel.plot([spread["min"] / base, spread["max"] / base], [y, y], color="#1d2125", linewidth=1)
        panel.axvline(1, color="#1d2125", linewidth=0.6)
        panel.set_title(f"{name} ({base:.2f} s)", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.set_yticks(range(len(labels)), labels[::-1])
    upper.supxlabel("CPU over untraced (bar: median, line: least to most)", fontsize=9)
    if lower is not None:
        for panel, (what, rows) in zip(lower.subplots(1, len(growth), squeeze=False)[0], growth.items(), strict=True):
            for arm in rows[0]["arms"]:
                measured = [row for row in rows if arm in row["arms"]]
                panel.plot(
                    [row["n"] for row in measured],
                    [_median(row["arms"], arm) for row in measured],
                    marker=".",
                    label=arm,
                )
            panel.set(xscale="log", yscale="log", xlabel=what, ylabel="CPU s")
            panel.tick_params(labelsize=8)
        lower.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
