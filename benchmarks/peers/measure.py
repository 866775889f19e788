"""What other tools say to the questions of somebody whose job starts slowly; each with its real output.

    python -m benchmarks.peers [-o DIRECTORY]

One program for all of them: `import pandas` from an environment that a file server (the simulated one, 0.3 ms a request) holds,
with a PYTHONPATH of twenty directories of which nothing comes. Six questions: how many stats? which import? which
filesystem? how many failed, and why? what reaches the server? what shall I do? What a tool's output holds is taken from it
by a pattern; what it does not hold is said in words, beside the excerpt that shows it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import fsprobe_of, prepare
from benchmarks.evidence import PLACE, Json, say
from benchmarks.overhead.measure import environment
from benchmarks.peers.report import N_USELESS_ENTRIES, markdown, picture
from benchmarks.peers.tools import QUESTIONS, Peer, peers


@contextmanager
def scene(python: str, scratch: Path) -> Iterator[tuple[dict[str, str], Callable[[], dict[str, int]] | None]]:
    """The environment on a file server, where that can be; and what the server counted since it was last asked."""
    useless = [scratch / f"useless{number:02}" for number in range(N_USELESS_ENTRIES)]
    for directory in useless:
        directory.mkdir()
    variables = {**environment(), "PYTHONPATH": ":".join(map(str, useless)), "COLUMNS": "100"}
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        yield variables, None
        return
    from benchmarks.fileserver import serve

    env = Path(python).parent.parent
    with serve(env, env, meta_ms=0.3, read_ms=0.1) as server:

        def count_cold() -> dict[str, int]:
            server.remount()
            server.reset()
            subprocess.run([python, str(scratch / "workload.py")], check=True, env=variables, cwd=scratch)
            counted = server.counters()
            return {
                name: getattr(counted, name)
                for name in ("lookup", "negative", "open", "opendir", "readdir", "readlink")
            }

        yield variables, count_cold


def ask(peer: Peer, python: str, scratch: Path, variables: dict[str, str]) -> Json:
    """Run one tool and read its answers."""
    out, script = scratch / "out", scratch / "workload.py"
    out.unlink(missing_ok=True)
    words = peer.words(python, script, out)
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", env=variables, cwd=scratch, timeout=180
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"name": peer.name, "not_run": evidence.neutral(str(error))}
    text = out.read_text(errors="replace") if out.exists() and out.stat().st_size else done.stdout
    shown = neutral(" ".join(word if " " not in word else f"'{word}'" for word in words), python, scratch)
    row: Json = {
        "name": peer.name,
        "command": shown,
        "needs_root": peer.needs_root,
        "wall_s": round(time.perf_counter() - begin, 2),
    }
    if done.returncode or not text:
        return {
            **row,
            "not_run": neutral(done.stderr.strip()[-300:], python, scratch) or f"exit code {done.returncode}",
        }
    row["answers"] = dict(zip(QUESTIONS, peer.answers(text), strict=True))
    if peer.name == "fsprobe run":
        text = _report(python, scratch, variables)
    lines = [line for line in text.splitlines() if not peer.excerpt or re.search(peer.excerpt, line)]
    row["n_lines_of_output"] = len(text.splitlines())
    row["excerpt"] = [
        _shortened(neutral(line, python, scratch))
        for line in (lines if peer.excerpt else text.splitlines())[: peer.n_lines]
    ]
    return row


def _report(python: str, scratch: Path, variables: dict[str, str]) -> str:
    words = [*fsprobe_of(python), "report", str(scratch / "out.fsprobe")]
    done = subprocess.run(words, capture_output=True, text=True, env=variables, check=True)
    return done.stdout


def _shortened(line: str, most: int = 160) -> str:
    """A line of at most so many characters, cut between words: of a path that is cut nobody knows what it names."""
    return line if len(line) <= most else line[:most].rpartition(" ")[0] or line[:most]


def neutral(text: str, python: str, scratch: Path) -> str:
    """Text without the places of this machine."""
    base = subprocess.run(
        [python, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True
    ).stdout.strip()
    text = re.sub(r"[\w/.-]*/useless(\d\d)", r"USELESS\1", text)
    return evidence.neutral(text, SCRATCH=scratch, PYTHON=base or "/nowhere")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask every tool and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="TOOL", action="append", help="ask only this one; may be given several times")
    parser.add_argument("--python", help="an interpreter with pandas, the tools and fsprobe beside it [default: made]")
    parser.add_argument("-o", "--output", type=Path, help="directory for peers.json, .md and .png")
    words = parser.parse_args(arguments)
    python = words.python or str(prepare())
    names = ["pandas", "tuna", "snaketrace", "stracetools", "pyinstrument", "py-spy"]
    versions: Json = {
        **evidence.package_versions(python, names),
        **{name: evidence.version_of([name, "--version"]) for name in ("perf",) if shutil.which(name)},
    }
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        scratch = Path(directory)
        (scratch / "workload.py").write_text("import pandas\n")
        result = evidence.head("peers", ["-o reports"], versions=versions)
        with scene(python, scratch) as (variables, count_cold):
            say("counting at the server")
            requests = count_cold() if count_cold is not None else None
            result["served"] = (
                {"requests": requests, "metadata": sum(n for name, n in requests.items() if name != "negative")}
                if requests
                else None
            )
            result["peers"] = []
            for peer in peers(python):
                if words.only and peer.name not in words.only:
                    continue
                say(f"asking {peer.name}")
                result["peers"].append(ask(peer, python, scratch, variables))
    print(evidence.save(result, markdown, picture, words.output))
    return 0
