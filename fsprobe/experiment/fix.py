"""From diagnosis to cure: the recorded command again, from an image of its environment; the image stays if it is better."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fsprobe import pipeline
from fsprobe.analysis.verdict import NOT
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError, MachineCannot
from fsprobe.experiment import compare
from fsprobe.experiment.adoption import judge, put_in_place
from fsprobe.experiment.janitor import janitor
from fsprobe.experiment.plan import STARTING_S, Image, Plan, Progress
from fsprobe.experiment.significance import MIN_RUNS
from fsprobe.layouts.mount.methods import hint_for, plan_ways, read_host_facts
from fsprobe.layouts.pack import build as packing
from fsprobe.layouts.pack.side_file import side_file_of
from fsprobe.layouts.scan.walk import Node, walk
from fsprobe.model.answers import Fix, Outcome
from fsprobe.model.comparison import IMAGE_KINDS, Comparison
from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile

LABEL = "squashfs"
NO_GAIN = "the recorded run did not wait for a file server: from an image it may start no sooner"
PACKED_BYTES_PER_S = 40e6
"""What mksquashfs with zstd made of a scientific environment on two cores; for the estimate alone."""


def prepare(
    profile: Profile,
    *,
    command: Sequence[str] = (),
    env: str | None = None,
    image: str | None = None,
    n_runs: int = 5,
    cache: str = "",
    make_cold: str = "",
    progress: packing.Progress | None = None,
) -> Fix:
    """Plan it, and refuse what can't be done before anything is started or made.

    Args:
        profile: of the recording.
        command: what to run instead of the recorded command.
        env: the environment; else that of the recorded interpreter.
        image: where the image goes; else beside the environment.
        n_runs: timed runs of each layout.
        cache: cold or warm; else cold where caches can be emptied.
        make_cold: the shell command that empties them.
        progress: told while the environment is looked at.

    Raises:
        BadInput: a recording that says too little of how to run it again; no environment; see `pack.check`.
        MachineCannot: nothing can be packed or mounted here.
    """
    manifest = profile.manifest
    if not command:
        command = _recorded_command(profile)
    root = _environment(profile, env)
    cwd = Path(manifest.cwd if manifest.cwd and not manifest.disclosed and not _elsewhere(profile) else os.getcwd())
    if not cwd.is_dir():
        raise BadInput(f"{cwd}, where the command ran, is not there", "go to where it shall run, and give it after --")
    if n_runs < MIN_RUNS:
        raise FsprobeError(
            f"too few runs to tell two layouts apart: {n_runs}", f"--runs {MIN_RUNS} or more", EXIT_USAGE
        )
    cold = bool(make_cold) or os.access("/proc/sys/vm/drop_caches", os.W_OK)
    if cache == "cold" and not cold:
        raise MachineCannot(
            "no cold runs: emptying the caches takes root, or a command for it", "--make-cold CMD, or --cache warm"
        )
    target = Path(os.path.abspath(image)) if image else root.parent / f"{root.name}.sqsh"
    for output in (target, side_file_of(target)):
        if os.path.lexists(output):
            raise BadInput(f"{output} is there already", "name another image with --image")
    packing.check_environment(str(root))  # before the machine: what is not there can't be packed anywhere
    ways = plan_ways(read_host_facts(), LABEL)
    if all(way.why_not for way in ways):
        reasons = "; ".join(f"{way.name}: {way.why_not}" for way in ways)
        raise MachineCannot(f"no image can be mounted for one command here ({reasons})", hint_for(ways, LABEL))
    found = packing.check(str(root), str(target), progress=progress)
    wall = manifest.wall_s
    planned = Fix(
        env=root,
        command=tuple(command),
        cwd=cwd,
        image=target,
        n_runs=n_runs,
        cache=cache or ("cold" if cold else "warm"),
        make_cold=make_cold,
        n_files=found.tree.count("f"),
        n_bytes=found.n_bytes,
        n_to_compile=len(found.to_compile),
        warnings=(
            *found.warnings,
            *([NO_GAIN] if profile.verdict is not None and profile.verdict.level == NOT else []),
        ),
    )
    if wall is None:
        return planned
    return replace(planned, estimate_s=(wall + STARTING_S) * planned.n_starts + found.n_bytes / PACKED_BYTES_PER_S)


def _recorded_command(profile: Profile) -> tuple[str, ...]:
    manifest = profile.manifest
    hint = "say what to run: `fsprobe fix FILE -- CMD...`"
    if profile.kind == "job":
        raise BadInput("this is a job: what one rank runs is in the recordings of its ranks", hint)
    if manifest.logs:
        raise BadInput("this recording was loaded from logs: it does not know how the command was run", hint)
    if manifest.attached is not None:
        raise BadInput("this recording was attached to a running program: its start is not in it", hint)
    if manifest.disclosed:
        raise BadInput("this recording was made for somebody else: words of its command may have been replaced", hint)
    if manifest.uid is not None and manifest.uid != os.getuid():
        raise BadInput(f"this recording is of user id {manifest.uid}'s run, you are {os.getuid()}", hint)
    if _elsewhere(profile):
        raise BadInput(f"this recording was made on {manifest.host}, this is {socket.gethostname()}", hint)
    if not manifest.command:
        raise BadInput("this recording does not know its command", hint)
    if manifest.exit_code or manifest.signal:
        how = f"exit code {manifest.exit_code}" if manifest.exit_code else manifest.signal_name
        raise BadInput(f"the recorded command failed ({how}): it can't be timed", "record a run that works")
    return manifest.command


def _elsewhere(profile: Profile) -> bool:
    return bool(profile.manifest.host) and profile.manifest.host != socket.gethostname()


def _environment(profile: Profile, given: str | None) -> Path:
    python, layout = profile.manifest.python, profile.manifest.layout
    if given is None and layout is not None and layout.kind in IMAGE_KINDS:
        raise BadInput(
            "the recorded run had its environment in an image already", "`fsprobe report FILE` says what is left"
        )
    prefix = given or (python.prefix if python is not None else None)
    if not prefix:
        raise BadInput("no Python environment was seen in this recording", "name it: --env VENV")
    if given is None and python is not None and python.prefix == python.base_prefix:
        raise BadInput(
            f"the recorded Python is that of {prefix}, no virtual environment", "name the environment: --env VENV"
        )
    return Path(os.path.realpath(prefix))


def carry_out(fix: Fix, *, progress: Progress | None = None) -> Outcome:
    """Pack, run in both layouts, keep the image if it is better; otherwise, or ended early, nothing is left.

    Raises:
        FsprobeError: the command fails, or something can't be made.
        Interrupted: before anything was counted.
    """
    before = walk(str(fix.env)).nodes
    kept: list[str] = []
    # the janitor sees the output's end: what may be killed until then leaves nothing
    with janitor() as behind_us, tempfile.TemporaryDirectory(prefix="fsprobe-fix-") as output:
        behind_us.note(output)
        plan = Plan(
            env=fix.env,
            command=list(fix.command),
            images=(Image(label=LABEL, kind=LABEL),),
            image_dir=fix.image.parent,
            n_runs=fix.n_runs,
            caches=(fix.cache,),
            make_cold=fix.make_cold,
            spares_env=True,
            output_dir=Path(output),
        )

        def adopt(result: Comparison, image: Path) -> None:
            is_better, why = judge(result, LABEL)
            if is_better:
                put_in_place(image, fix.image)
            kept.append(why)

        here = os.getcwd()
        os.chdir(fix.cwd)
        try:
            comparison, recordings = compare.run(plan, progress=progress, adopt=adopt, behind_us=behind_us)
        except FsprobeError as error:
            error.hint = _last_words(Path(output)) or error.hint
            raise
        finally:
            os.chdir(here)
        left = _findings_of(recordings.get(LABEL), output)
    after = walk(str(fix.env)).nodes
    is_kept = bool(kept) and judge(comparison, LABEL)[0]
    if is_kept:  # it was measured in a directory that is gone
        rows = [replace(row, where=str(fix.image)) if row.layout == LABEL else row for row in comparison.rows]
        comparison = replace(comparison, rows=tuple(rows))
    else:
        comparison = replace(comparison, notes=(*comparison.notes, "the image is not kept"))
    return Outcome(
        comparison=comparison,
        image=fix.image if is_kept else None,
        why=kept[0] if kept else f"ended early ({comparison.interrupted}): nothing is kept",
        left=left,
        changed=_changed(before, after),
        recordings=recordings,
    )


def _findings_of(recording: bytes | None, scratch: str) -> tuple[Finding, ...]:
    if recording is None:
        return ()
    path = os.path.join(scratch, "image.fsprobe")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(recording)
    return pipeline.analyse(path).findings


def _last_words(output: Path) -> str:
    """The last three lines of what the command said last."""
    files = sorted(output.glob("*.err"), key=lambda file: file.stat().st_mtime_ns)
    lines = files[-1].read_text("utf-8", "replace").strip().splitlines()[-3:] if files else []
    return f"it said: {' / '.join(lines)}" if lines else ""


def _changed(before: Mapping[bytes, Node], after: Mapping[bytes, Node]) -> tuple[str, ...]:
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return tuple(sorted(os.fsdecode(name) or "." for name in names))
