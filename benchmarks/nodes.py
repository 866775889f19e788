"""Many nodes against one capped metadata server: what `fsprobe whatif` predicts, and what is measured.

    python -m benchmarks.nodes VENV [-o reports/nodes.json] [--quick]

A node is a mount of its own of the simulated file server, with its own cache; all mounts wait for turns in one queue. On every
node the program starts at the same moment on an empty cache; measured is the time until the last one is done. The
prediction is made from one recording of the program on the local disk, one start's CPU and the server's rate. Reads of
contents cost nothing here, as in the formula. VENV needs pandas and must be on a local disk. Root.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import evidence
from benchmarks.fileserver import Server, SharedCap, serve, share_cap
from fsprobe import pipeline
from fsprobe.analysis import whatif
from fsprobe.capture import traced
from fsprobe.layouts.mount.namespace import enter_argv
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.pack.build import pack
from fsprobe.model.answers import CurvePoint
from fsprobe.model.comparison import REQUEST_KINDS
from fsprobe.model.formats import JsonObject
from fsprobe.report import plots

CODE = "import pandas"
RATE = 1000.0
"""Requests/s of the server. Low, so that two cores can start 16 nodes while all wait for it."""
LATENCY_MS = 2.0
NODES = (1, 2, 4, 8, 16)
CASES = (("plain", NODES, 1), ("plain, 4 a node", (1, 4), 4), ("squashfs", NODES, 1))
"""Layout, numbers of nodes, processes on each."""
N_RUNS = 3
TOLERANCE = 0.15
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def recorded_demand(env: Path, scratch: Path) -> whatif.Demand:
    """What one recording of the program says that it asks for its environment; CPU is measured without the tracer."""
    out = scratch / "run.fsprobe"
    command = [str(env / "bin/python"), "-c", CODE]
    subprocess.run(traced.argv(str(out), [], {"label": "plain"}, command), check=True, env=ENVIRONMENT, cwd="/")
    analysis = pipeline.read(out)
    assert analysis.requests is not None
    return whatif.from_profile(analysis.profile.manifest, "plain", analysis.requests.environment(os.fsencode(env)))


def cpu_of_one_start(server: Server) -> float:
    """User and system seconds of one cold start on one mount, median."""
    found = []
    for _ in range(N_RUNS):
        server.remount()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([os.fsdecode(server.mnt) + "/bin/python", "-c", CODE], check=True, env=ENVIRONMENT, cwd="/")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return statistics.median(found)


def start_everywhere(commands: Sequence[Sequence[str]]) -> float:
    """Start all commands at once; seconds until the last is done."""
    begin = time.perf_counter()
    processes = [subprocess.Popen(list(command), env=ENVIRONMENT, cwd="/") for command in commands]
    codes = [process.wait() for process in processes]
    took = time.perf_counter() - begin
    if any(codes):
        raise RuntimeError(f"a start failed: {codes}")
    return took


def measure_plain(
    env: Path, scratch: Path, cap: SharedCap, nodes: int, ranks: int, n_runs: int
) -> tuple[list[float], list[int]]:
    """Makespans, and the metadata requests of all nodes together."""
    with ExitStack() as stack:
        servers = []
        for number in range(nodes):
            mount = scratch / f"node-{number}"
            mount.mkdir(exist_ok=True)
            servers.append(stack.enter_context(serve(env, mount, meta_ms=LATENCY_MS, read_ms=0, cap=cap)))
        commands = [[os.fsdecode(server.mnt) + "/bin/python", "-c", CODE] for server in servers for _ in range(ranks)]
        return repeat(servers, commands, n_runs)


def measure_squashfs(
    env: Path, scratch: Path, cap: SharedCap, nodes: int, ranks: int, n_runs: int
) -> tuple[list[float], list[int]]:
    """The same with the image on every node's mount; that each start mounts it is in the time."""
    with ExitStack() as stack:
        servers, commands = [], []
        for number in range(nodes):
            mount = scratch / f"node-{number}"
            mount.mkdir(exist_ok=True)
            server = stack.enter_context(serve(scratch / "images", mount, meta_ms=LATENCY_MS, read_ms=0, cap=cap))
            servers.append(server)
            spec = Spec(kind="squashfs", source=str(mount / "env.sqsh"), at=str(env), way="root+kernel")
            commands += [[*enter_argv(spec), str(env / "bin/python"), "-c", CODE]] * ranks
        return repeat(servers, commands, n_runs)


def repeat(servers: Sequence[Server], commands: Sequence[Sequence[str]], n_runs: int) -> tuple[list[float], list[int]]:
    """Run it a few times, every node cold."""
    times, requests = [], []
    for _ in range(n_runs):
        for server in servers:
            server.remount()
            server.reset()
        times.append(start_everywhere(commands))
        requests.append(sum(server.counters().metadata for server in servers))
    return times, requests


def wait_for_one(server: Server, env: Path) -> float:
    """What a client waits for one LOOKUP, ms."""
    names = [os.path.join(server.mnt, b"bin", name) for name in os.listdir(os.fsencode(env / "bin"))]
    server.remount()
    before, begin = server.counters(), time.perf_counter()
    for name in names:
        os.lstat(name)
    return (time.perf_counter() - begin) / (server.counters() - before).metadata * 1e3


def main() -> int:
    """Predict, measure, write JSON, Markdown and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/nodes.json"))
    parser.add_argument("--quick", action="store_true", help="up to 4 nodes, one run of each")
    parser.add_argument("--runs", type=int, default=N_RUNS)
    parser.add_argument("--render", action="store_true", help="draw the table and picture of a JSON that is there")
    words = parser.parse_args()
    if words.render:
        render(json.loads(words.output.read_text()), words.output)
        return 0
    env = Path(os.path.realpath(words.venv))
    options = " --quick" if words.quick else f" --runs {words.runs}" if words.runs != N_RUNS else ""
    n_runs, most = (1, 4) if words.quick else (words.runs, max(NODES))
    rows: list[JsonObject] = []
    with tempfile.TemporaryDirectory(prefix="nodes-", dir=env.parent) as place, share_cap(RATE) as cap:
        scratch = Path(place)
        (scratch / "images").mkdir()
        (scratch / "one").mkdir()
        subprocess.run([str(env / "bin/python"), "-m", "compileall", "-q", str(env / "lib")], check=False)
        pack(str(env), str(scratch / "images" / "env.sqsh"))
        recorded = recorded_demand(env, scratch)
        with serve(env, scratch / "one", meta_ms=LATENCY_MS, read_ms=0) as server:
            cpu_s = cpu_of_one_start(server)
            latency_ms = wait_for_one(server, env)
        latency = whatif.Latency(name="measured", ms=latency_ms, source="one request of the simulated server")
        counts = {name: getattr(recorded, name) for name in REQUEST_KINDS}
        plain = whatif.Demand(layout="plain", cpu_s=cpu_s, **counts)
        demands = {"plain": plain, "plain, 4 a node": plain, "squashfs": whatif.one_file(plain)}
        for label, nodes, ranks in CASES:
            demand = demands[label]
            for n in (n for n in nodes if n <= most):
                print(f"{label}, {n} nodes", file=sys.stderr, flush=True)
                measure = measure_squashfs if label == "squashfs" else measure_plain
                times, requests = measure(env, scratch, cap, n, ranks, n_runs)
                at_server = n * demand.n_requests_node(ranks) / RATE
                predicted = whatif.job_s(demand, latency, n, ranks, RATE)
                rows.append(
                    {
                        "layout": label,
                        "nodes": n,
                        "ranks_per_node": ranks,
                        "predicted_s": round(predicted, 3),
                        "measured_s": round(statistics.median(times), 3),
                        "runs_s": [round(value, 3) for value in times],
                        "predicted_requests": n * demand.n_requests_node(ranks),
                        "served_requests": round(statistics.median(requests)),
                        "is_saturated": at_server >= whatif.start_s(demand, latency),
                        "cpu_bound_s": round(n * ranks * cpu_s / (os.cpu_count() or 1), 3),
                        "load": round(os.getloadavg()[0], 2),
                    }
                )
    about = evidence.head("nodes")
    report = {
        "benchmark": "nodes",
        "made_by": f"python -m benchmarks.nodes VENV{options} -o reports/nodes.json",
        "date": about["date"],
        "commit": about["commit"],
        "machine": about["machine"],
        "program": CODE,
        "rate": RATE,
        "latency_ms": LATENCY_MS,
        "wait_ms": round(latency_ms, 3),
        "t_cpu_s": round(cpu_s, 3),
        "demand": counts,
        "knee_nodes": round(whatif.saturates_at_n_nodes(plain, latency, 1, RATE), 2),
        "n_runs": n_runs,
        "n_cores": os.cpu_count(),
        "rows": rows,
    }
    words.output.parent.mkdir(exist_ok=True)
    words.output.write_text(json.dumps(report, indent=1) + "\n")
    render(report, words.output)
    return 0


def render(report: JsonObject, output: Path) -> None:
    """Table and picture from the JSON alone."""
    lines = [
        "# Many nodes, one metadata server",
        "",
        f"Made by `{report['made_by']}` on {report['date']} at commit {report['commit']}: "
        f"`{report['program']}`, {report['rate']:g} requests/s for all nodes together, {report['latency_ms']:g} ms "
        f"a request ({report['wait_ms']:.2f} ms as a client sees it), {report['t_cpu_s']:.2f} s CPU a start, reads free. A node is a mount of "
        f"its own, cold. Medians of {report['n_runs']}; {report['n_cores']} cores do all nodes' work. The knee is predicted at "
        f"{report['knee_nodes']:g} nodes.",
        "",
        "| layout | nodes | processes a node | predicted s | measured s (all) | measured to predicted | requests predicted | "
        "requests served | served at the rate s | the server is what all wait for | this machine's cores need at least s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        lines.append(
            f"| {row['layout']} | {row['nodes']} | {row['ranks_per_node']} | {row['predicted_s']:.2f} | {row['measured_s']:.2f} "
            f"({', '.join(f'{value:.2f}' for value in row['runs_s'])}) | {row['measured_s'] / row['predicted_s']:.2f} | "
            f"{row['predicted_requests']:,} | {row['served_requests']:,} | "
            f"{row['served_requests'] / report['rate']:.2f} | {'yes' if row['is_saturated'] else 'no'} | {row['cpu_bound_s']:.1f} |"
        )
    saturated = [row for row in report["rows"] if row["is_saturated"]]
    within = [row for row in saturated if abs(row["measured_s"] / row["predicted_s"] - 1) <= TOLERANCE]
    lines += [
        "",
        f"Where the server is what all wait for, {len(within)} of {len(saturated)} measurements are within {TOLERANCE:.0%} of the prediction. "
        "An image's start asks next to nothing of the server: on a cluster it would not grow with the nodes; here the nodes share "
        "this machine's cores, and its time is theirs (last column).",
        "",
    ]
    output.with_suffix(".md").write_text("\n".join(lines))
    points = [
        CurvePoint(
            layout=row["layout"], n_nodes=row["nodes"], predicted_s=row["predicted_s"], measured_s=row["measured_s"]
        )
        for row in report["rows"]
    ]
    plots.nodes_curve(points, output.with_suffix(".png"))
    print("\n".join(lines[4:]))


if __name__ == "__main__":
    sys.exit(main())
