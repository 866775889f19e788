"""`fsprobe fix` on a simulated file server of 1 ms: one command from a plain recording to an image in use.

    python -m benchmarks.fix [--interruptions 40] [-o reports]

A venv with numpy, scipy, pandas, scikit-learn and matplotlib lies on the server. `fsprobe run` records a program, `fsprobe
fix` packs, compares and keeps the image, and the line that it prints runs the program from there. What the server counts
for one cold start each way is set beside fsprobe's own figures; the environment is compared byte for byte, and the mounts
are. Then a fix of a small environment is interrupted again and again. Exit code 1 where a bound is not kept. Takes root, /dev/fuse
and some minutes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import clean_environment
from benchmarks.fileserver import serve
from benchmarks.fix.interruptions import interrupt
from benchmarks.fix.traces import mounts_below, snapshot
from fsprobe.model.comparison import Comparison
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored

PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "matplotlib")
PROGRAM = "import matplotlib.pyplot, pandas, scipy.stats, sklearn.linear_model"
META_MS, READ_MS = 1.0, 0.5
FEWER, FASTER = 100, 2
"""Times fewer requests, times quicker cold starts that are wanted at least."""
PLACE = evidence.PLACE / "fix"
FSPROBE = [sys.executable, "-m", "fsprobe"]


def environment(place: Path, packages: tuple[str, ...]) -> Path:
    """A venv with packages, made once."""
    env = place / "venv"
    done = place / "packages"
    if not done.exists() or done.read_text() != " ".join(packages):
        evidence.say(f"making {env}: {' '.join(packages) or 'pip alone'}")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        base = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        subprocess.run([base, "-m", "venv", str(env)], check=True, env=clean_environment())
        pip = [str(env / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if packages:
            subprocess.run([*pip, *packages], check=True, env=clean_environment())
        done.write_text(" ".join(packages))
    for name in ("venv.sqsh", "venv.sqsh.json"):
        (place / name).unlink(missing_ok=True)
    return env


def cure(place: Path) -> evidence.Json:
    """Record, fix, use the image; with what the server counts."""
    env = environment(place / "served", PACKAGES)
    mount = place / "mnt"
    mount.mkdir(exist_ok=True)
    kept = place / "recordings"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    with serve(place / "served", mount, meta_ms=META_MS, read_ms=READ_MS, writable=True) as server:
        mounted = mounts_below(place)
        program = [str(mount / "venv/bin/python"), "-c", PROGRAM]
        quiet = {**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(kept / "matplotlib")}
        evidence.say("recording")
        subprocess.run([*FSPROBE, "run", "-q", "-o", str(kept / "slow.fsprobe"), "--", *program], check=True, env=quiet)
        before = snapshot(env)
        evidence.say("fixing")
        begin = time.monotonic()
        words = [*FSPROBE, "fix", str(kept / "slow.fsprobe"), "--yes", "-o", str(kept / "fixed.fsprobe")]
        done = subprocess.run(words, env=quiet, capture_output=True, text=True)
        took_s = time.monotonic() - begin
        if done.returncode:
            raise SystemExit(f"fix ended with {done.returncode}\n{done.stdout}{done.stderr}")
        is_equal = snapshot(env) == before
        left = sorted(mounts_below(place) - mounted)
        line = next(line.strip() for line in done.stdout.splitlines() if " exec --image " in line)
        counted = {}
        for name, command in (("plain", program), ("image", shlex.split(line))):
            evidence.say(f"counting a cold start: {name}")
            server.remount()
            at_first = server.counters().metadata
            subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)
            counted[name] = server.counters().metadata - at_first
    compared = stored(Recording(str(kept / "fixed.fsprobe")))
    assert isinstance(compared, Comparison)
    plain, image = compared.rows
    assert plain.wall_s is not None
    assert image.wall_s is not None
    assert image.ratio_wall is not None
    return {
        "packages": evidence.package_versions(str(env / "bin/python"), PACKAGES),
        "n_files": sum(kind == "f" for kind, *_ in before.values()),
        "fix_s": round(took_s, 1),
        "n_runs": compared.n_runs,
        "cache": plain.cache,
        "plain_s": list(plain.wall_s.runs),
        "image_s": list(image.wall_s.runs),
        "times_faster": round(1 / image.ratio_wall, 2),
        "times_faster_between": [
            round(1 / bound, 2) for bound in (image.ratio_wall_high or 1, image.ratio_wall_low or 1)
        ],
        "p": image.p,
        "requests_predicted": {
            row.layout: row.environment_requests.n_metadata if row.environment_requests else None
            for row in (plain, image)
        },
        "requests_counted": counted,
        "environment_is_equal": is_equal,
        "mounts_left": len(left),
    }


def misses(result: evidence.Json) -> list[str]:
    """Bounds that were not kept, in words."""
    found = []
    counted = result["requests_counted"]
    if counted["plain"] < FEWER * counted["image"]:
        found.append(f"requests: {counted['plain']:,} to {counted['image']:,}, not {FEWER} times fewer")
    if result["times_faster"] < FASTER:
        found.append(f"a cold start is {result['times_faster']} times as fast, not {FASTER}")
    if not result["environment_is_equal"]:
        found.append("the environment changed")
    if result["mounts_left"]:
        found.append(f"{result['mounts_left']} mounts are left")
    bad = sum(not row["is_clean"] for row in result["interruptions"])
    if bad:
        found.append(f"{bad} of {len(result['interruptions'])} interruptions left something")
    return found


def markdown(result: evidence.Json) -> str:
    """The report."""
    counted, predicted = result["requests_counted"], result["requests_predicted"]
    low, high = result["times_faster_between"]
    shown: list[list[object]] = [
        ["cold start, median of " + str(result["n_runs"]), *(f"{sorted(result[k])[len(result[k]) // 2]:.2f} s" for k in ("plain_s", "image_s"))],
        ["requests of one cold start, counted by the server", *(f"{counted[k]:,}" for k in ("plain", "image"))],
        ["requests for the environment, predicted", *(f"{n:,}" if n is not None else None for n in predicted.values())],
    ]  # fmt: skip
    found = misses(result)
    n = len(result["interruptions"])
    lines = [
        "# From a recording to an image in use\n",
        evidence.about(result),
        f"`fsprobe run`, then `fsprobe fix FILE --yes`, of `{PROGRAM}` in a venv of {result['n_files']:,} files on a simulated file "
        f"server ({META_MS:g} ms a metadata request, {READ_MS:g} ms a read). The fix took {result['fix_s']:.0f} s, "
        f"{result['cache']} cache. The image is used by the line that it prints.\n",
        evidence.table(["", "as it is", "from the image"], shown),
        f"{result['times_faster']} times as fast ({low} to {high}, p {result['p']}); "
        f"{counted['plain'] / max(1, counted['image']):,.0f} times fewer requests. The environment afterwards: "
        f"{'equal, byte for byte' if result['environment_is_equal'] else 'changed'}; mounts left: {result['mounts_left']}.\n",
        f"{n} fixes of a small environment, interrupted at random moments (seed {result['seed']}) by SIGINT, SIGTERM, SIGHUP and SIGKILL in "
        f"turn: {sum(not row['is_clean'] for row in result['interruptions'])} left a file, a mount or a process, changed the environment or "
        f"printed a traceback; {sum(row['had_ended'] for row in result['interruptions'])} had ended before.\n",
        "All bounds are kept." if not found else "Not kept: " + "; ".join(found) + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and report; 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interruptions", type=int, default=40, metavar="N")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="directory for fix.json and fix.md")
    options = parser.parse_args()
    result = {**evidence.head("fix", ["-o reports"], n_runs=5), **cure(PLACE)}
    result["versions"] = {**result["versions"], **result.pop("packages")}
    result["seed"] = options.seed
    small = environment(PLACE / "small", ())
    result["interruptions"] = interrupt(FSPROBE, small, options.interruptions, options.seed)
    print(evidence.save(result, markdown, None, options.output))
    return int(bool(misses(result)))


if __name__ == "__main__":
    sys.exit(main())
