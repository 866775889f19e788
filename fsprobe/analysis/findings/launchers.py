"""Rules on how interpreters are started: start-up flags, launchers in between."""

from __future__ import annotations

import os
import re
import sys

from fsprobe.analysis.counting.tally import ProcessTally
from fsprobe.analysis.findings.evidence import Evidence, Seen, plural, python_of, quote, weigh

_SHIM = re.compile(
    r"^(?:env|pyenv\S*|conda|mamba|micromamba|asdf|python[0-9.]*|pip[0-9.]*|ipython|pytest|jupyter)(?: |$)"
)
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_DURATION = re.compile(r"^[0-9.]+[smhd]?$")
_PYTHON_NAME = re.compile(r"^python[0-9.]*$")
_START_PHASES = ("loader", "init", "site")


def start_flags(evidence: Evidence) -> Seen | None:
    """Many interpreters that do little but start.

    Seen: interpreters most of whose calls were their own start (loader, initialisation, site) and not imports or work.

    Costs: a bare start takes about a hundred calls, in a venv with .pth files many more; a script that starts hundreds
    of small helpers pays it each time.

    Do: start such helpers with `-I -S` (no site, no user site, no PYTHONPATH) where they need the standard library only,
    or do the work in one process.

    Saving: not computed. The calls of phase site are the most it can be; what site imported for itself and a helper needs
    too, the helper then imports.
    """
    if evidence.watch is None:
        return None
    n_short = n_site = n_start = 0
    programs: dict[str, int] = {}
    for process in evidence.tally.by_process.values():
        phases = evidence.watch.phases.get(process.key, {})
        start = sum(phases.get(phase, 0) for phase in _START_PHASES)
        if process.kind == "python" and start > sum(phases.values()) - start:
            n_short, n_start, n_site = n_short + 1, n_start + start, n_site + phases.get("site", 0)
            program = process.label.partition(" ")[2]
            programs[program] = programs.get(program, 0) + 1
    severity = weigh(evidence, "short_interpreters", n_short)
    if severity is None:
        return None
    most = max(programs, key=lambda program: (programs[program], program))
    return Seen(
        severity=severity,
        evidence=f"{plural(n_short, 'interpreter')} ({most or 'no script'}) spent {n_start:,} calls on starting, {n_site:,} of "
        "them on site (site-packages, .pth files), and fewer on what they were started for.",
        advice="Start helpers that need the standard library only with -I -S, or do their work in one process.",
        commands=_without_site(evidence, most),
    )


def _without_site(evidence: Evidence, program: str) -> list[str]:
    """How to start a script without site; nothing where it is not known to need the standard library alone, or where it lies."""
    assert evidence.watch is not None
    suffix = b"/" + program.encode()
    scripts = [path for path in evidence.tally.by_path if path.endswith(suffix)]
    names = set().union(
        *(
            evidence.watch.modules.get(process.key, set())
            for process in evidence.tally.by_process.values()
            if process.label.partition(" ")[2] == program
        )
    )
    # what imports no module needs none
    is_plain = all(name.partition(".")[0] in sys.stdlib_module_names for name in names)
    if not program.endswith(".py") or len(scripts) != 1 or not is_plain:
        return []
    return [f"{quote(python_of(evidence))} -I -S {quote(scripts[0])}"]


def shims(evidence: Evidence) -> Seen | None:
    """A launcher between the command and the interpreter.

    Seen: program images that ran under the name of python (or as env, pyenv, conda) in the very process that became the
    interpreter, and what they started.

    Costs: a shim is a shell script: its interpreter, its libraries, the search of PATH and its helpers are looked up for
    each start of Python.

    Do: call the interpreter by its full path.

    Saving: all calls of these images and of the processes they started, and the interpreter's own search of PATH for
    its name. What remains is the one execve of the interpreter.
    """
    watch = evidence.watch
    if watch is None:
        return None
    labels: set[str] = set()
    calls = 0
    for pid, images in _by_pid(evidence).items():
        last = next((n for n, image in enumerate(images) if image.kind == "python"), None)
        if last is None:
            continue
        # a shim that is called as python has the interpreter's own name: its calls are told by their phase
        n = watch.phases.get(images[last].key, {}).get("launch", 0)
        first = next((n for n, image in enumerate(images[:last]) if _SHIM.match(image.label)), last)
        n += sum(image.counts.n_metadata for image in images[first:last])
        if not n:
            continue
        labels.update(image.label for image in images[first : last + 1])
        for child in _children(evidence, pid):
            labels.add(child.label)
            n += child.counts.n_metadata
        calls += n
    calls += watch.n_searches
    severity = weigh(evidence, "removable_calls", calls)
    if severity is None:
        return None
    target = quote(python_of(evidence))
    started = f"{', '.join(sorted(labels)[:4])} made " if labels else "The search of PATH took "
    return Seen(
        severity=severity,
        evidence=f"{started}{plural(calls, 'call')} before {target} ran.",
        advice="Call the interpreter by its full path, where it is started.",
        commands=_by_interpreter(evidence),
        saves={"calls": calls},
    )


def _by_pid(evidence: Evidence) -> dict[int, list[ProcessTally]]:
    table: dict[int, list[ProcessTally]] = {}
    for process in evidence.tally.by_process.values():
        table.setdefault(process.pid, []).append(process)
    return table


def _children(evidence: Evidence, pid: int) -> list[ProcessTally]:
    """What a launcher started besides, with all that those started; nothing that an interpreter started."""
    pids = {pid}
    while True:
        new = {
            process.pid
            for process in evidence.tally.by_process.values()
            if process.parent in pids and process.kind == "launcher"
        } - pids
        if not new:
            break
        pids |= new
    return [p for p in evidence.tally.by_process.values() if p.pid in pids - {pid} and p.kind == "launcher"]


def _by_interpreter(evidence: Evidence) -> list[str]:
    """The command with its interpreter by full path; nothing where the command does not name what ran (a shell, a job script).

    Before the interpreter only `env` with assignments and `timeout` with a duration are understood; the shell assigns without a
    program. A script that was started by its first line gets the interpreter in front of it.
    """
    if evidence.profile.manifest.command_cut:
        return []
    words = [str(word) for word in evidence.profile.manifest.command or ()]
    target, at = quote(python_of(evidence)), 0
    assigned: list[str] = []
    before: list[str] = []
    while at < len(words) and os.path.basename(words[at]) in ("env", "timeout"):
        is_env = os.path.basename(words[at]) == "env"
        first, at = at, at + 1
        while at < len(words) and (_ASSIGNMENT if is_env else _DURATION).match(words[at]):
            at += 1
        if is_env:
            pairs = (word.partition("=") for word in words[first + 1 : at])
            assigned += [f"{name}={quote(value) if value else ''}" for name, _, value in pairs]
        else:
            before += map(quote, words[first:at])
    if at == len(words):
        return []
    before = [*assigned, *before, target]
    if _PYTHON_NAME.match(os.path.basename(words[at])):
        return [" ".join([*before, *map(quote, words[at + 1 :])])]
    scripts = {p.label.partition(" ")[2] for p in evidence.tally.by_process.values() if p.kind == "python"}
    if "/" in words[at] and os.path.basename(words[at]) in scripts and words[at].endswith(".py"):
        return [" ".join([*before, *map(quote, words[at:])])]
    return []
