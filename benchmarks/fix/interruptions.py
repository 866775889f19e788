"""A fix that is interrupted at random moments, and what is left of each."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.fix.traces import mounts_below, processes_of, scratch, snapshot

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
_SETTLE_S = 20.0
"""How long what was killed may take until its janitor has taken all away."""


def interrupt(fsprobe: Sequence[str], env: Path, n: int, seed: int) -> list[evidence.Json]:
    """Interrupt a fix of an environment `n` times.

    Args:
        fsprobe: its command line.
        env: the environment, alone in its directory but for what was made beside it before.
        n: how often.
        seed: of the moments.

    Returns:
        Of each: signal, moment (s), and what was left.
    """
    place = env.parent
    kept = place.parent / "small-recording"
    kept.mkdir(exist_ok=True)
    recording = kept / "a.fsprobe"
    program = [str(env / "bin/python"), "-c", "import pip, json, email.message"]
    subprocess.run([*fsprobe, "run", "-q", "--force", "-o", str(recording), "--", *program], check=True)
    words = [*fsprobe, "fix", str(recording), "--yes", "--cache", "warm"]
    begin = time.monotonic()
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole_s = time.monotonic() - begin
    for name in ("venv.sqsh", "venv.sqsh.json"):
        (place / name).unlink(missing_ok=True)
    evidence.say(f"a fix that nobody interrupts takes {whole_s:.1f} s")
    names, before, old_scratch, old_mounts = sorted(os.listdir(place)), snapshot(env), scratch(), mounts_below(place)
    moments = random.Random(seed)
    rows = []
    for number in range(n):
        sent = SIGNALS[number % len(SIGNALS)]
        moment_s = moments.uniform(0.02, whole_s)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(moment_s)
        had_ended = process.poll() is not None
        if not had_ended:
            # as a terminal does, or as a batch system and a user do
            (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
        try:
            said = process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = b"it did not end\n" + process.communicate()[1]
        left = _left(env, names, before, old_scratch, old_mounts, recording, had_ended)
        if b"Traceback" in said or b"it did not end" in said:
            left.append("a traceback, or no end")
        row = {"signal": sent.name, "moment_s": round(moment_s, 2), "had_ended": had_ended, "exit": process.returncode}
        row |= {"left": left, "is_clean": not left}
        old_scratch |= scratch()  # what one left is not the next one's fault
        rows.append(row)
        evidence.say(f"{number + 1} of {n}: {row}")
    return rows


def _left(
    env: Path,
    names: list[str],
    before: object,
    old_scratch: set[str],
    old_mounts: set[str],
    recording: Path,
    had_ended: bool,
) -> list[str]:
    end_s = time.monotonic() + _SETTLE_S
    while True:
        beside = [name for name in os.listdir(env.parent) if name not in names]
        if had_ended:  # an image that was kept is none of what an interruption left
            beside = [name for name in beside if name not in ("venv.sqsh", "venv.sqsh.json")]
        found = [f"beside the environment: {name}" for name in beside]
        found += [f"scratch: {path}" for path in scratch() - old_scratch]
        found += [f"mount: {path}" for path in mounts_below(env.parent) - old_mounts]
        found += [f"process {pid}" for pid in processes_of(str(recording))]
        if not found or time.monotonic() > end_s:
            break
        time.sleep(0.1)
    for name in ("venv.sqsh", "venv.sqsh.json"):
        (env.parent / name).unlink(missing_ok=True)
    return found + ([] if snapshot(env) == before else ["the environment changed"])
