"""Files, arguments and environments that somebody made or damaged: a result, or one line and a documented exit code."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence import REPOSITORY, Json, say
from benchmarks.robustness.trial import FSPROBE, forced
from fsprobe.cli import group
from fsprobe.errors import FsprobeError
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording

SEED = 20261128
SECONDS = 40.0
"""Of mutated recordings, and as much of mutated logs."""
LIMIT_S = 40
CODES = (0, 1, 2, 3, 4)
FORMATS = ("json", "html", "md", "csv", "folded", "speedscope", "chrome", "terminal")
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 0.5, 2**31, 2**63, 10**40, 1e308, -1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "²", "1e999",
    "9" * 5000, "/" * 300, "\u202e", [], {}, [[]], [None], {"": None}, {"a": {}}, [1, "x"], "../../x", "--help", "\n",
)  # fmt: skip
NUMBERS = ("²", "１２", "nan", "inf", "1e999", "-5", "", "0x10", "1_0", "9" * 400, "9" * 5000, "1e30T")
OPTIONS = (
    "check GIVEN --max-metadata", "check GIVEN --max-requests", "check GIVEN --baseline GIVEN --tolerance", "whatif GIVEN --nodes",
    "whatif GIVEN --ranks-per-node", "scan ENV --top", "scan ENV --quota-files", "attach", "attach 1 --for", "explain",
    "compare --runs", "merge GIVEN --executor local=", "run -q --ranks", "run -q --max-log", "run -q --wait-descendants",
)  # fmt: skip
LAUNCHERS = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NNODES", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK")


class _Late(BaseException):
    pass


class Tries:
    """What was tried so far, by kind, and what failed."""

    def __init__(self) -> None:
        self.n_tried: dict[str, int] = {}
        self.failed: list[Json] = []

    def call(self, kind: str, words: Iterable[object]) -> int:
        """One command line, in this process; gives its exit code, -1 where it failed."""
        self.n_tried[kind] = self.n_tried.get(kind, 0) + 1
        out, error = io.StringIO(), io.StringIO()
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(LIMIT_S)
        line = forced([str(word) for word in words])
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
                code = group.main(line)
        except SystemExit as left:
            code = int(left.code or 0)
        except _Late:
            return self._fail(kind, line, f"not ended within {LIMIT_S} s")
        except BaseException as wrong:
            last = traceback.extract_tb(wrong.__traceback__)[-1]
            return self._fail(kind, line, f"{type(wrong).__name__} in {Path(last.filename).name}: {last.name}")
        finally:
            signal.alarm(0)
        if code not in CODES or (code in (3, 4) and "fsprobe: " not in error.getvalue()):
            return self._fail(kind, line, f"exit code {code}")
        return code

    def start(self, kind: str, words: Iterable[str], **changes: str) -> None:
        """One command line, as a process of its own."""
        self.n_tried[kind] = self.n_tried.get(kind, 0) + 1
        line = forced(list(words))
        env = {**os.environ, **changes}
        try:
            done = subprocess.run(
                [*FSPROBE, *line], env=env, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            self._fail(kind, line, f"not ended within {LIMIT_S} s")
            return
        if "Traceback" in done.stderr:
            self._fail(kind, line, done.stderr.strip().splitlines()[-1][:120])
        elif done.returncode not in (*CODES, 125, 126, 127):
            self._fail(kind, line, f"exit code {done.returncode}")

    def _fail(self, kind: str, line: list[str], problem: str) -> int:
        shown = " ".join(Path(word).name if word.startswith("/") else word[:20] for word in line)
        self.failed.append({"kind": kind, "line": shown[:80], "problem": problem})
        return -1


def _late(*_: object) -> None:
    raise _Late


def measure() -> Json:
    """Try all kinds."""
    tries = Tries()
    draw = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="fsprobe-inputs-") as directory:
        place, here = Path(directory), Path.cwd()
        os.chdir(place)
        try:
            seeds = _seeds(place)
            trials: dict[str, Callable[[], None]] = {
                "mutated recordings, jobs, comparisons, streams": lambda: _mutated(tries, draw, seeds, place),
                "mutated logs": lambda: _logs(tries, draw, seeds[0], place),
            }
            for kind, trial in trials.items():
                say(f"  {kind}")
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    trial()
            for one in (_numbers, _environments, _bombs, _long_lines):
                say(f"  {one.__name__.strip('_')}")
                one(tries, seeds[0], place)
        finally:
            os.chdir(here)
    return {"seed": SEED, "n_tried": tries.n_tried, "failed": tries.failed}


def _seeds(place: Path) -> list[Path]:
    made = []
    for name, options in (
        ("given", []),
        ("stream", ["--stream"]),
        ("audit", ["--backend", "audit"]),
        ("inline", ["--backend", "inline"]),
    ):
        path = place / f"{name}.fsprobe"
        done = subprocess.run(
            [*FSPROBE, "run", "-q", "--record-only", *options, "-o", path, "--", "python3", "-c", "import json"]
        )
        made += [path] if done.returncode == 0 else []
    subprocess.run([*FSPROBE, "merge", made[0], made[0], "-o", place / "job.fsprobe"], capture_output=True, check=True)
    made.append(place / "job.fsprobe")
    for name in ("comparison", "job-stream", "run-streamed"):
        path = REPOSITORY / "tests" / "data" / "format1" / f"{name}.fsprobe"
        made += [path] if path.exists() else []
    return made


# ---- mutation -----------------------------------------------------------------------------------------------------


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _paths(value[key], (*at, key))


def _changed(draw: random.Random, value: Any) -> Any:
    value = copy.deepcopy(value)
    places = list(_paths(value))
    for _ in range(draw.choice((1, 1, 1, 3, 20))):
        at = draw.choice(places)
        inner = value
        try:
            for key in at[:-1]:
                inner = inner[key]
            if not at:
                return copy.deepcopy(draw.choice(ODD))
            if draw.random() < 0.3:
                del inner[at[-1]]
            else:
                inner[at[-1]] = copy.deepcopy(draw.choice(ODD))
        except (LookupError, TypeError):
            continue
    return value


def _mutated(tries: Tries, draw: random.Random, seeds: list[Path], place: Path) -> None:
    seed = Recording(str(draw.choice(seeds)))
    sections = []
    for name in seed.names():
        body = b"".join(seed.section(name))
        if body[:1] in (b"{", b"[") and draw.random() < 0.6:
            body = json.dumps(_changed(draw, json.loads(body))).encode("utf-8", "surrogatepass")
        elif body and draw.random() < 0.3:
            data = bytearray(body)
            for _ in range(draw.choice((1, 5, 50))):
                data[draw.randrange(len(data))] = draw.randrange(256)
            body = bytes(data)
        if draw.random() > 0.04:
            sections.append((name, body))
    kind = seed.kind if draw.random() < 0.95 else draw.choice(recordings.KINDS)
    try:
        recordings.write("mutated.fsprobe", kind, sections, seed.format)
    except FsprobeError:
        return
    _views(tries, "mutated recordings, jobs, comparisons, streams", draw, "mutated.fsprobe", seeds[0])


def _views(tries: Tries, kind: str, draw: random.Random, path: str, other: Path) -> None:
    tries.call(kind, ["report", path, "--format", draw.choice(FORMATS), "-o", "out"])
    words = draw.choice((
        ["check", path, "--max-metadata", "5"], ["whatif", path, "--nodes", "4"], ["merge", path, path, "-o", "merged.fsprobe"],
        ["ticket", path, "--redact", "-o", "ticket.zip"], ["compare", path, other], ["check", other, "--baseline", path],
    ))  # fmt: skip
    tries.call(kind, words)


def _logs(tries: Tries, draw: random.Random, seed: Path, place: Path) -> None:
    lines = b"".join(Recording(str(seed)).section("log")).split(b"\n")[: draw.choice((5, 50, 400))]
    odd = (
        b'"',
        b"\\",
        b"<",
        b">",
        b" = ",
        b"\0",
        b"\xff",
        b"<unfinished ...>",
        b"[",
        b"9" * 30,
        b", ",
        b") = ",
        b"\r",
        b"1e999",
        b"(+",
    )
    for _ in range(draw.choice((1, 5, 40))):
        at = draw.randrange(len(lines))
        cut = draw.randrange(len(lines[at]) + 1)
        lines[at] = (
            lines[at][:cut] + draw.choice(odd) * draw.choice((1, 1, 40)) + lines[at][cut + draw.choice((0, 1, 9)) :]
        )
    draw.shuffle(lines) if draw.random() < 0.1 else None
    Path("mutated.log").write_bytes(b"\n".join(lines))
    if tries.call("mutated logs", ["load", "mutated.log", "-o", "loaded.fsprobe"]) == 0:
        _views(tries, "mutated logs", draw, "loaded.fsprobe", seed)


# ---- numbers, environments ----------------------------------------------------------------------------------------


def _numbers(tries: Tries, seed: Path, place: Path) -> None:
    for option in OPTIONS:
        for number in NUMBERS:
            words = [{"GIVEN": str(seed), "ENV": str(place)}.get(word, word) for word in option.split()]
            words = [*words[:-1], words[-1] + number] if option.endswith("=") else [*words, number]
            if words[0] == "run":
                tries.start("numbers", [*words, "--record-only", "-o", "numbers.fsprobe", "--", "true"])
            else:
                tries.call("numbers", words)
    for name in LAUNCHERS:
        for number in ("²", "nan", "-1", "9" * 5000):
            words = ["run", "-q", "--record-only", "-o", "launched/", "--", "true"]
            tries.start("launchers' variables", words, **{name: number, "SLURM_STEP_ID": "0"})


def _environments(tries: Tries, seed: Path, place: Path) -> None:
    minor = f"python3.{sys.version_info[1]}"
    site = Path("odd", "lib", minor, "site-packages")
    deep = "[" * 100_000
    for name, content in {
        "pyvenv.cfg": (
            b"home = /us\0r/bin\nversion = 3.11.2\n",
            b"home = /usr/bin\nversion = " + b"9" * 5000 + b".1\n",
            b"\xff\xfe",
            None,
        ),
        f"{site}/foo-1.dist-info/RECORD": (b"a\0b,,\n", b'"' * 100_000, b"\xff" * 1000, None),
        f"{site}/foo-1.dist-info/direct_url.json": (deep.encode(), b"[]", b"{", None),
        f"{site}/x.pth": (b"/a\0b\nimport \0\n", b"\xff\n" * 1000, None),
        f"{site}/x.py": (b"def f(:\n", b"\0", None),
        "bin/tool": (b"#!/x\0y/bin/python3\n", b"#!/" + b"a" * 100_000 + b"/bin/python3", None),
    }.items():
        for data in content:
            shutil.rmtree("odd", ignore_errors=True)
            Path("odd/bin").mkdir(parents=True)
            (site / "foo-1.dist-info").mkdir(parents=True)
            Path("odd/pyvenv.cfg").write_text(f"home = /usr/bin\nversion = 3.{sys.version_info[1]}.2\n")
            os.symlink(sys.executable, "odd/bin/python")
            path = Path(name if name.startswith("odd") else f"odd/{name}")
            path.unlink(missing_ok=True)
            if data is None:
                os.mkfifo(path)
            else:
                path.write_bytes(data)
            tries.call("odd environments", ["scan", "odd"])


# ---- what unpacks to much, long lines -----------------------------------------------------------------------------


def _packed(path: str, sections: list[tuple[str, Iterable[bytes]]]) -> None:
    """A recording as `recordings.write` makes it, of blocks that need not be in memory."""
    recordings.write(path, "recording", sections)


def _bombs(tries: Tries, seed: Path, place: Path) -> None:
    manifest = json.dumps({"backend": "strace", "markers": "time", "command": ["x"], "host": "h", "cwd": "/"}).encode()

    def many(unit: bytes, n_mib: int) -> Iterator[bytes]:
        block = unit * ((1 << 20) // len(unit))
        return (block for _ in range(n_mib))

    plain: list[tuple[str, Iterable[bytes]]] = [("manifest", manifest), ("log", b"")]  # type: ignore[list-item]
    makers: dict[str, Callable[[], list[tuple[str, Any]]]] = {
        "a log of one line": lambda: [("manifest", manifest), ("log", many(b"a", 1024))],
        "marks": lambda: [*plain, ("marks", many(b"a", 1024))],
        "many marks": lambda: [
            *plain,
            ("marks", (one for part in ([b"@marks.1 99999999\n"], many(b"1 1 >a\n", 90)) for one in part)),
        ],
        "lookups": lambda: [*plain, ("lookups", many(b" ", 1024))],
        "lists in lists": lambda: [
            *plain,
            ("lookups", (one for part in ([b'{"missing":['], many(b"[],", 90), [b"1]}"]) for one in part)),
        ],
        "mounts": lambda: [*plain, ("mounts", many(b"1 1 0:1 / / rw - a b c\n", 200))],
        "a tally": lambda: [("manifest", manifest), ("tally", many(b"{},", 200))],
        "a ring": lambda: [("manifest", manifest), ("ring", many(b"\0", 300))],
    }
    for make in makers.values():
        _packed("bomb.fsprobe", make())
        for words in (["report", "bomb.fsprobe", "-o", "out", "--format", "json"], ["ticket", "bomb.fsprobe", "--redact", "-o", "t.zip"],
                      ["merge", "bomb.fsprobe", "-o", "m.fsprobe"]):  # fmt: skip
            tries.call("what unpacks to much", words)
    squeeze = zlib.compressobj(9, wbits=31)
    Path("bomb.log.gz").write_bytes(b"".join(squeeze.compress(block) for block in many(b"a", 512)) + squeeze.flush())
    tries.call("what unpacks to much", ["load", "bomb.log.gz", "-o", "bomb.fsprobe"])


def _long_lines(tries: Tries, seed: Path, place: Path) -> None:
    head = b"77    1795506711.169777 (+     0.000257743) "
    units = (b" = ", b'"', b"\\", b'\\"', b"<", b"</a>", b", ", b"{", b"/a", b"/..", b"\\377", b"->", b"9", b'"/a", ')
    starts = (
        b'openat(AT_FDCWD, "',
        b'execve("/bin/x", ["',
        b"<... openat resumed>",
        b'mount("',
        b'readlink("/x", "',
        b"",
    )
    for start in starts:
        lines = [head + b'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3 <0.000010>']
        lines += [
            head + start + unit * (60_000 // len(unit)) + end for unit in units for end in (b"", b'") = 0 <0.000010>')
        ]
        Path("long.log").write_bytes(b"\n".join(lines) + b"\n")
        if tries.call("long lines", ["load", "long.log", "-o", "long.fsprobe"]) == 0:
            tries.call("long lines", ["report", "long.fsprobe", "--format", "json", "-o", "out"])
            tries.call("long lines", ["ticket", "long.fsprobe", "--redact", "-o", "t.zip"])
