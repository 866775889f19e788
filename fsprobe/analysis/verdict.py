"""The verdict: is it the filesystem? One sentence, a level, why, and what could not be seen.

Calls alone say little: a warm cache on the node answers ten thousand of them in a tenth of a second. So three things are
weighed. What the run waited for, as far as the time account shows it. What one start asks of file servers, times the processes
of the job. And how fast it asks, against what support staff call too much. Thresholds: `findings.thresholds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fsprobe import capabilities, numbers
from fsprobe.analysis.counting.rates import SUSTAINED_S
from fsprobe.analysis.findings.evidence import Evidence, n_ranks, n_written, plural
from fsprobe.analysis.findings.thresholds import cold_ms, is_per_open
from fsprobe.analysis.gaps import gaps
from fsprobe.analysis.requests.rows import NOT_KNOWN
from fsprobe.analysis.time import weighing
from fsprobe.model.profile import LEVELS, Verdict
from fsprobe.model.requests import total_of
from fsprobe.model.rows import MountRow, sum_of
from fsprobe.model.time.account import TICK_S, TimeAccount

NOT, NOTICEABLE, HEAVY, DANGER = LEVELS
CAN_NOT_TELL = "can't tell"
"""No level: what would have to be known for an acquittal was not observed."""
_OF_SEVERITY = {"info": NOTICEABLE, "warn": HEAVY, "critical": DANGER}
_MOSTLY_WAITING = 0.4
"""Share of the wall time from which on calls on local storage are worth a word: a judgement."""
_CPU_BOUND = 0.6
"""Share of the wall time that was CPU time from which on a run on local storage is called busy computing: a judgement."""


WAIT, START, RATE, COLD, MACHINE = "wait", "start", "rate", "cold", "machine"
"""What a reason is about: the time that calls took, their number, their rate, a start with empty caches, what else took time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that was weighed."""

    about: str
    level: str
    text: str
    n_processes: int = 1
    """How many processes it was multiplied by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A level and why, before it is put into a sentence."""

    level: str
    reasons: tuple[Reason, ...]
    """The worst first, what is harmless after it, what else took time last."""
    unseen: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """Judge one run."""
    made = judge(evidence)
    reasons = tuple(reason.text for reason in made.reasons)
    return Verdict(
        level=made.level,
        sentence=_sentence(evidence, made.level, reasons),
        reasons=reasons,
        unseen=made.unseen,
    )


def _sentence(evidence: Evidence, level: str, reasons: Sequence[str]) -> str:
    if level == CAN_NOT_TELL:
        return can_not_tell(evidence)
    return _not(evidence) if level == NOT else sentence(level, reasons[0])


def can_not_tell(evidence: Evidence) -> str:
    """The sentence where an acquittal would rest on what was not observed: what that is, and what would tell."""
    return f"Whether it is the filesystem can't be told: {'; '.join(lacking(evidence))}."


def judge(evidence: Evidence) -> Judgement:
    """Weigh what one run did."""
    served = _served(evidence)
    found = _by_time(evidence, served)
    if served:
        found += _by_start(evidence, served) + _by_rate(evidence, served) + _by_cold_start(evidence, served)
    found.sort(key=lambda reason: -LEVELS.index(reason.level))
    level = found[0].level if found else NOT
    return Judgement(
        # what was seen can convict all the same; only an acquittal needs the rest
        level=CAN_NOT_TELL if level == NOT and lacking(evidence) else level,
        reasons=(*found, *_beside(evidence)),
        unseen=tuple(unseen(evidence)),
    )


def lacking(evidence: Evidence) -> list[str]:
    """What was not observed and would have to be, for "not the filesystem" to be said; each with what would tell."""
    metrics, manifest = evidence.profile.metrics, evidence.profile.manifest
    found = []
    job = evidence.profile.job
    if job is not None and (job.killed or job.failed):
        n_ended = len(job.killed) + len(job.failed)
        found.append(
            f"{n_ended:,} of {plural(job.n_recordings, 'rank')} failed or {'was' if n_ended == 1 else 'were'} killed, so this may "
            "be a part of what the job does when it succeeds"
        )
    elif manifest.signal:
        found.append(f"the command was ended by {manifest.signal_name}, so this may be a part of what it does")
    elif manifest.exit_code:
        found.append(
            f"the command failed (exit code {manifest.exit_code}), so this may be a part of what it does when it succeeds"
        )
    is_placed = any(row.fs_class for row in metrics.by_mount)
    has_calls = metrics.n_metadata > 0
    if has_calls and not is_placed:
        found.append(
            "it is not known on which filesystems the paths lie (`fsprobe load --mounts` takes the machine's mountinfo)"
        )
    if (
        has_calls
        and metrics.time_s is None
        and (not is_placed or any(row.fs_class == "network" for row in metrics.by_mount))
    ):
        found.append("calls were not timed (`strace -T`)")
    account = evidence.profile.time
    if account is not None:
        served = _served(evidence)
        keys = {row.key for row in served}
        n_unseen = sum(evidence.profile.quality.unseen.values())
        beside = n_written(evidence, keys), n_unseen
        for wait_s, said in weighing.untold(account, sum_of(served).n_open, keys, *beside):
            share = account.share(wait_s)
            if share >= weighing.MUCH and _level_of_wait(evidence, share, wait_s) != NOT:
                found.append(said)
    found += gaps(evidence.profile)
    return found


def sentence(level: str, reason: str) -> str:
    """The verdict in one sentence, for a level other than `NOT`."""
    words = {
        NOTICEABLE: "The filesystem is noticeable",
        HEAVY: "The filesystem load is heavy",
        DANGER: "This is a danger to the shared filesystem",
    }
    return f"{words[level]}: {reason}."


def _rows(evidence: Evidence) -> list[MountRow]:
    return [row for row in evidence.profile.metrics.by_mount if row.fs_class != "pseudo"]


def _served(evidence: Evidence) -> list[MountRow]:
    """The mounts that a file server answers for, the busiest first; unknown ones only where they answer as slowly as one."""
    slow_ms = evidence.thresholds["slow_call_ms"].info
    return [
        row
        for row in _rows(evidence)
        if row.fs_class == "network" or (row.fs_class is None and (row.p50_ms or 0.0) >= slow_ms)
    ]


def _waited(evidence: Evidence, rows: Sequence[MountRow]) -> tuple[float, float] | None:
    """What calls on some mounts took at most: (share of the wall time, s), of several processes at once, per process.

    What the run's own cheapest calls took is the tracer's cost and taken off each call and the wall time.
    """
    metrics, wall_s = evidence.profile.metrics, evidence.profile.manifest.wall_s
    if metrics.tracing_overhead_us is None or not wall_s:
        return None
    overhead_s = metrics.tracing_overhead_us / 1e6
    n_parallel = _n_parallel(evidence)
    time_s = sum(max(0.0, (row.time_s or 0.0) - overhead_s * row.n_metadata) for row in rows)
    waited_s = time_s / n_parallel
    untraced_s = max(wall_s - overhead_s * metrics.n_metadata / n_parallel, waited_s, 1e-9)
    return waited_s / untraced_s, waited_s


def _n_parallel(evidence: Evidence) -> float:
    """How many processes made calls at the same time: the mean over calls of the processes active in the same 0.1 s."""
    active: dict[int, set[int]] = {}
    n_by_bin: dict[int, int] = {}
    for process in evidence.tally.by_process.values():
        for number, n in process.n_metadata_by_bin.items():
            active.setdefault(number, set()).add(process.pid)
            n_by_bin[number] = n_by_bin.get(number, 0) + n
    total = sum(n_by_bin.values())
    return max(1.0, sum(n * len(active[number]) for number, n in n_by_bin.items()) / total) if total else 1.0


def _by_time(evidence: Evidence, served: Sequence[MountRow]) -> list[Reason]:
    account = evidence.profile.time
    if account is not None and account.metadata_s is not None and account.wall_s > 0:
        return _by_account(evidence, served, account)
    found = []
    waited = _waited(evidence, served) if served else None
    if waited is not None:
        reason = f"calls on {_names(served)} took at most {numbers.rounded_seconds(waited[1])}, {numbers.share(waited[0])} of the wall time"
        found.append(Reason(about=WAIT, level=_level_of_wait(evidence, *waited), text=reason))
    others = [row for row in _rows(evidence) if row not in served]
    waited = _waited(evidence, others) if others else None
    if waited is None:
        return found
    reason = f"calls on local disks, memory and images took at most {numbers.rounded_seconds(waited[1])}, {numbers.share(waited[0])} of the wall time"
    is_waiting = (
        _level_of_wait(evidence, *waited) != NOT and waited[0] >= _MOSTLY_WAITING and not _is_computing(evidence)
    )
    # never worse than noticeable: nobody else waits for this machine's own disk
    return [*found, Reason(about=WAIT, level=NOTICEABLE if is_waiting else NOT, text=reason)]


def _by_account(evidence: Evidence, served: Sequence[MountRow], account: TimeAccount) -> list[Reason]:
    found = []
    if served:
        keys = {row.key for row in served}
        wait_s = weighing.waited_s(account, keys)
        kinds = weighing.kinds(account, keys)
        said = f"waiting for {_names(served)} took {numbers.rounded_seconds(wait_s)}, {numbers.share(account.share(wait_s))} of the wall time"
        if account.both_s and wait_s:
            said += f", of all such waiting {numbers.rounded_seconds(account.both_s)} while others computed"
        level = _level_of_wait(evidence, account.share(wait_s), wait_s)
        found.append(Reason(about=WAIT, level=level, text=said + (f" ({kinds})" if kinds else "")))
        fault_s = weighing.fault_s(account, keys)
        level = _level_of_wait(evidence, account.share(wait_s + fault_s), wait_s + fault_s) if fault_s else NOT
        if fault_s and level != found[0].level:
            n = plural(account.n_major_faults or 0, "major page fault")
            said = f"{account.other_name} took {numbers.rounded_seconds(fault_s)}, {numbers.share(account.share(fault_s))} of the wall time, with {n}"
            found.append(Reason(about=WAIT, level=level, text=said))
    others = [row.key for row in _rows(evidence) if row not in served]
    if others:
        wait_s = weighing.waited_s(account, others)
        share = account.share(wait_s)
        is_waiting = _level_of_wait(evidence, share, wait_s) != NOT and share >= _MOSTLY_WAITING
        said = f"waiting for local disks, memory and images took {numbers.rounded_seconds(wait_s)}, {numbers.share(share)} of the wall time"
        # never worse than noticeable: nobody else waits for this machine's own disk
        found.append(Reason(about=WAIT, level=NOTICEABLE if is_waiting else NOT, text=said))
    return found


def _level_of_wait(evidence: Evidence, share: float, wait_s: float) -> str:
    """A large share of a short time is as harmless as a small share of a long one: both must be reached."""
    by_share, by_time = evidence.thresholds["share_time"].level(share), evidence.thresholds["wait_s"].level(wait_s)
    if by_share is None or by_time is None:
        return NOT
    return min(_OF_SEVERITY[by_share], _OF_SEVERITY[by_time], key=LEVELS.index)


def _is_computing(evidence: Evidence) -> bool:
    """Whether processors were busy for most of the time: then calls are not what a run waits for."""
    manifest = evidence.profile.manifest
    cpu_s = (manifest.user_s or 0.0) + (manifest.sys_s or 0.0)
    return bool(manifest.wall_s) and cpu_s / (manifest.wall_s or 1.0) >= _CPU_BOUND


def _by_start(evidence: Evidence, served: Sequence[MountRow]) -> list[Reason]:
    n = _start_calls(evidence, served)
    ranks = n_ranks(evidence)
    severity = evidence.thresholds["start_calls"].level(n * ranks)
    if severity is None:
        return []
    times = f" x {ranks:,} processes = {n * ranks:,}" if ranks > 1 else ""
    text = f"a start makes {plural(n, 'metadata call')} on {_names(served)}{times}"
    return [Reason(about=START, level=_OF_SEVERITY[severity], text=text, n_processes=ranks)]


def _start_calls(evidence: Evidence, served: Sequence[MountRow]) -> int:
    """Calls on servers until the last import has ended: the tally has phases and mounts apart, so their shares are multiplied."""
    metrics = evidence.profile.metrics
    total = metrics.n_metadata
    return round(sum_of(served).n_metadata * metrics.n_startup / total) if total else 0


def _by_rate(evidence: Evidence, served: Sequence[MountRow]) -> list[Reason]:
    metrics = evidence.profile.metrics
    rates, total, on_servers = metrics.rates, metrics.n_metadata, sum_of(served)
    if rates.sustained_metadata_per_s is None or not total:
        return []
    share = on_servers.n_metadata / total
    ranks = n_ranks(evidence)
    found = []
    per_s = rates.sustained_metadata_per_s * share * ranks
    severity = evidence.thresholds["sustained_calls_per_s"].level(per_s)
    if severity:
        text = f"{per_s * SUSTAINED_S:,.0f} metadata calls within {SUSTAINED_S} s ({per_s:,.0f}/s)"
        text += f" by {ranks:,} processes" if ranks > 1 else ""
        found.append(Reason(about=RATE, level=_OF_SEVERITY[severity], text=text, n_processes=ranks))
    opens = on_servers.n_open / max(1, metrics.n_open)
    opens_per_s = (rates.sustained_open_per_s_process or 0.0) * opens
    severity = evidence.thresholds["sustained_opens_per_s_process"].level(opens_per_s)
    if severity:
        text = f"one process opens {opens_per_s * SUSTAINED_S:,.0f} files within {SUSTAINED_S} s ({opens_per_s:,.0f}/s)"
        found.append(Reason(about=RATE, level=_OF_SEVERITY[severity], text=text))
    return found


def _by_cold_start(evidence: Evidence, served: Sequence[MountRow]) -> list[Reason]:
    """What the same would wait with empty caches: by published latencies, so never more than noticeable."""
    wait_s = 0.0
    sources = []
    for row in served:
        ms, source = cold_ms(row.fstype or "")
        wait_s += _n_cold(evidence, row) * ms / 1e3
        if source not in sources:
            sources.append(source)
    if evidence.thresholds["cold_wait_s"].level(wait_s) is None:
        return []
    text = f"with empty caches the same start may wait {wait_s:,.0f} s (estimated; {'; '.join(sources)})"
    return [Reason(about=COLD, level=NOTICEABLE, text=text)]


def _n_cold(evidence: Evidence, row: MountRow) -> int:
    """What the latency of a mount's kind is of: its open calls where it was published per open, else the predicted requests."""
    requests = evidence.profile.requests
    asked = [asked for asked in requests.by_mount if asked.key == row.key] if requests is not None else []
    if is_per_open(row.fstype or "") or not asked:
        return row.n_open
    return total_of(asked).n_metadata


def _names(rows: Sequence[MountRow]) -> str:
    shown = [f"{row.key} ({row.fstype})" if row.fstype else _unknown(row) for row in rows[:2]]
    return " and ".join(shown) + (f" and {len(rows) - 2} more" if len(rows) > 2 else "")


def _unknown(row: MountRow) -> str:
    return (
        "filesystems that the log does not tell" if row.key == NOT_KNOWN else f"{row.key} (of a type that is not known)"
    )


def _not(evidence: Evidence) -> str:
    """The sentence where it is not the filesystem."""
    metrics, served = evidence.profile.metrics, _served(evidence)
    if not served:
        n = metrics.n_metadata
        return f"It is not the filesystem: {plural(n, 'metadata call')}, none of them to a file server."
    calls = f"{plural(sum_of(served).n_metadata, 'metadata call')} on {_names(served)}"
    if metrics.time_s is None:
        return f"By number it is not the filesystem: {calls}; how long they took was not observed."
    return (
        f"It is not the filesystem in this run: {calls}, and they took little of the time; with empty caches or many processes "
        "it may be."
    )


def _beside(evidence: Evidence) -> list[Reason]:
    """What else took the time: CPU, wall, page faults and bytes."""
    manifest = evidence.profile.manifest
    parts = []
    if manifest.wall_s is not None:
        has_cpu = manifest.user_s is not None
        cpu_s = (manifest.user_s or 0.0) + (manifest.sys_s or 0.0)
        cpu = f"{cpu_s:.2f}" if cpu_s >= TICK_S else f"less than {TICK_S}"
        parts.append(f"{manifest.wall_s:.2f} s wall" + (f", {cpu} s CPU (user + system)" if has_cpu else ""))
    if manifest.majflt is not None:
        parts.append(plural(manifest.majflt, "major page fault"))
    if manifest.read_bytes is not None:
        parts.append(f"{numbers.size_bytes(manifest.read_bytes)} read")
    where = "under the tracer"
    if manifest.lacks(capabilities.FOREIGN_PROGRAMS):
        where = "under the hooks"
    elif manifest.shows(capabilities.TRUE_DURATIONS):
        where = "under the inline recorder"
    return [Reason(about=MACHINE, level=NOT, text=f"{where}: " + ", ".join(parts))] if parts else []


def unseen(evidence: Evidence) -> list[str]:
    """What this recording can't show."""
    manifest, metrics = evidence.profile.manifest, evidence.profile.metrics
    found = ["pages of shared libraries that are read when they are first touched: a page fault is no call"]
    if manifest.cache in ("", "unknown"):
        found.append("whether caches were warm: a second run on the same node waits less, a first one on another more")
    if metrics.time_s is None or metrics.tracing_overhead_us is None:
        found.append("how long calls took: the log has no durations or no wall time")
    if not any(row.fs_class for row in metrics.by_mount):
        found.append("on which filesystems the paths lie: no mount table")
    if manifest.lacks(capabilities.LOADER):
        found.append("what the dynamic loader and programs other than Python looked up")
        found.append("interpreters under -I, -E, -S or without the environment, and what ran before site")
    if metrics.by_module is None and (
        not metrics.by_process or any(row.kind not in ("program", "launcher") for row in metrics.by_process)
    ):
        found.append("which import made which call: imports were not timed")
    if manifest.privileged:
        found.append("programs with raised privileges: tracing takes these away")
    if manifest.descendants_left:
        found.append("what processes did that outlived the command")
    if manifest.log_truncated:
        found.append("the end of the run: the log was cut off")
    if evidence.profile.quality.io_uring:
        found.append("operations that were handed over by io_uring")
    if evidence.requests is None and _served(evidence):
        found.append("how many calls a client's cache answers: requests were not predicted")
    return found
