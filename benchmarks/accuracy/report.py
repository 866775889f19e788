"""The report on accuracy: tables and a picture, from its JSON alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks import evidence
from benchmarks.evidence import Json


def markdown(result: Json) -> str:
    """The report's tables."""
    # "stand-in" is the committed report's word; it changes with the next measurement
    parts = ["# Accuracy\n", evidence.about(result)]
    rows = result["calls"]["summary"]
    parts += [
        "## Calls, against strace's own summary of the same run\n",
        "`strace -C` sums up every call that it saw. What fsprobe counted is the target's calls, and apart from these its own "
        "(taken out of every figure), calls that name no path (fstat and the like), and the hook's visible notes. Calls that "
        "never returned are in fsprobe's count and in no summary. Added up, they must be strace's figure.\n",
        evidence.table(
            ["workload", "markers", "system calls", "target's calls", "own", "no path", "notes", "sum", "strace -C", "difference",
             "errors", "strace -C", "difference", "unparsed lines"],
            [
                [row["workload"], row["markers"], row["n_syscalls"], f"{row['n_calls']:,}", row["n_own"], f"{row['n_pathless']:,}",
                 f"{row['n_marks']:,}", f"{row['ours']['calls']:,}", f"{row['summary']['calls']:,}",
                 row["ours"]["calls"] - row["summary"]["calls"], f"{row['ours']['errors']:,}", f"{row['summary']['errors']:,}",
                 row["ours"]["errors"] - row["summary"]["errors"], row["n_unparsed"]]
                for row in rows
            ],
        ),
        f"Groupings (phase, module, process, path) that do not sum to the totals: "
        f"{sum(len(row['groupings_that_do_not_sum']) for row in rows)}.\n",
        "## The ptrace backend against the strace backend\n",
        "Two runs, compared call for call by name, path and result. Names that every run makes anew (semaphores of joblib, "
        "/proc/PID) are counted apart: equal but for the pid or the random part.\n",
        evidence.table(
            ["workload", "ptrace", "strace", "with another pid or random part", "only under ptrace", "only under strace"],
            [
                [row["workload"], f"{row['n_calls']:,}", f"{row['n_calls_strace']:,}", row["n_other_name"],
                    row["n_only_here"], row["n_only_strace"]]
                for row in result["calls"]["backends"]
            ],
        ),
        "## Imports, against -X importtime\n",
        "What importtime lists before `site` is loaded (frozen modules and encodings) runs before any hook and is left out. "
        "importtime does not see a module that importlib's own Python code imports (`from package import module`): what such a "
        "module imports is listed there under the next one up, here under it; these are counted apart, as explained. Both runs "
        "have PYTHONHASHSEED=0: scipy imports in the order of a set, and without it a handful of parents differ from run to run.\n",
        evidence.table(
            ["workload", "listed after site", "not seen by fsprobe", "same parent", "parent that importtime does not list",
             "other parent", "seen by fsprobe only"],
            [
                [row["workload"], row["n_importtime"], row["n_not_ours"], row["n_same_parent"], row["n_parent_not_in_importtime"],
                 row["n_other_parent"], row["n_only_ours"]]
                for row in result["imports"]
            ],
        ),
        "Without markers imports are estimated from the order of the paths, and reports say so. Against the markers of the same "
        "run:\n",
        evidence.table(
            ["workload", "opens", "of these under another module", "stats", "of these under another module"],
            [
                [row["workload"], *(cell for op in ("open", "stat") for cell in (
                    f"{row['estimate'][op]['n']:,}",
                    f"{row['estimate'][op]['n_wrong']} ({row['estimate'][op]['n_wrong'] / max(1, row['estimate'][op]['n']):.1%})",
                ))]
                for row in result["imports"]
            ],
        ),
        "## Calls and requests, against arithmetic\n",
        "Trees of generated modules (`benchmarks/accuracy/pynamic.py` states the rules): expected / counted. Modules, libraries, levels of "
        "packages, sys.path entries.\n",
        _arithmetic_table(result["arithmetic"]),
        "## Requests, against the stand-in file server\n",
        "Served and predicted, for a cold client; the multisets of (request, path) are compared, not only the sums. READ is an "
        "upper bound. The stand-in is a FUSE server, not Lustre or NFS.\n",
        _requests_table(result["requests"]),
    ]  # fmt: skip
    return "\n".join(parts)


def _arithmetic_table(rows: list[Json]) -> str:
    names = list(next((row["counts"] for row in rows if "counts" in row), {}))
    lines = []
    for row in rows:
        shape = row["shape"]
        size = f"{shape['n_modules']}, {shape['n_libraries']}, {shape['n_levels']}, {shape['n_path_entries']}"
        if "counts" not in row:
            lines.append([row["tree"], size, "", *[row["not_run"]] * len(names), ""])
            continue
        cells = [f"{a:,} / {b:,}" for a, b in row["counts"].values()]
        lines.append([row["tree"], size, row["backend"], *cells, sum(abs(a - b) for a, b in row["counts"].values())])
    return evidence.table(["tree", "size", "backend", *names, "differences"], lines)


def _requests_table(rows: list[Json] | str) -> str:
    if isinstance(rows, str):
        return rows + "\n"
    ops = list(rows[0]["requests"])
    lines = []
    for row in rows:
        cells = []
        for op in ops:
            pair = row["requests"][op]
            known = row.get("arithmetic", {}).get(op)
            cells.append(
                f"{pair['served']:,} / {pair['predicted']:,}" + ("" if known is None else f" (arithmetic {known:,})")
            )
        reads = row["read"]
        bound = "not observed" if reads["read_max"] is None else f"{reads['read_max']:,}"
        lines.append(
            [
                row["workload"],
                *cells,
                row["n_paths_that_differ"],
                row["n_listings_that_differ"],
                f"{reads['served']:,} / <= {bound}",
            ]
        )
    return evidence.table(["workload", *ops, "paths that differ", "listings that differ", "READ"], lines)


def picture(result: Json, path: Path) -> None:
    """Counted against the truth, all of them on one line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    groups: dict[str, list[tuple[int, int]]] = {
        "calls: strace -C": [(row["summary"]["calls"], row["ours"]["calls"]) for row in result["calls"]["summary"]],
        "errors: strace -C": [(row["summary"]["errors"], row["ours"]["errors"]) for row in result["calls"]["summary"]],
        "calls and requests: arithmetic": [
            tuple(pair) for row in result["arithmetic"] if "counts" in row for pair in row["counts"].values() if pair[0]
        ],
    }
    if not isinstance(result["requests"], str):
        groups["requests: simulated file server"] = [
            (pair["served"], pair["predicted"])
            for row in result["requests"]
            for pair in row["requests"].values()
            if pair["served"]
        ]
    most = max(value for pairs in groups.values() for pair in pairs for value in pair)
    axes.plot([1, most], [1, most], color="#b9b4aa", linewidth=1, zorder=0)
    for (name, pairs), marker, colour in zip(
        groups.items(), "osD^", ("#0d6468", "#d69d3c", "#6f7fc4", "#a8433a"), strict=False
    ):
        differ = sum(a != b for a, b in pairs)
        label = f"{name} ({len(pairs)} figures, {differ} differ)"
        truths, found = zip(*pairs, strict=True)
        axes.scatter(truths, found, s=26, marker=marker, facecolors="none", edgecolors=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="the truth, from elsewhere", ylabel="fsprobe")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
