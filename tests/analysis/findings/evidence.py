"""Evidence made by hand, for rules that need a mount, a job or a size that a test can't have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.attribution.ownership import Mounts
from fsprobe.analysis.counting.profile import numbers
from fsprobe.analysis.counting.tally import PathTally, ProcessTally, Tally, add
from fsprobe.analysis.findings.evidence import Evidence, Watch
from fsprobe.analysis.findings.rules import find
from fsprobe.analysis.findings.thresholds import DEFAULTS, Thresholds
from fsprobe.analysis.requests.model import RequestCounts, Requests
from fsprobe.model.events import Mount
from fsprobe.model.finding import Finding
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Metrics, Profile
from fsprobe.model.rows import Counts

LOCAL = Mount(path=b"/", fstype="ext4", fs_class="local", source=b"/dev/sda1", options="rw")
LUSTRE = Mount(path=b"/project", fstype="lustre", fs_class="network", source=b"mds:/p", options="rw")
FLASH = Mount(path=b"/flash", fstype="lustre", fs_class="network", source=b"mds:/f", options="rw")
SQUASHFUSE = Mount(path=b"/image", fstype="fuse.squashfuse", fs_class="image", source=b"squashfuse", options="ro")
SQUASHFUSE_LL = Mount(path=b"/image", fstype="fuse.squashfuse_ll", fs_class="image", source=b"x", options="ro")
MOUNTS = (LOCAL, LUSTRE, FLASH)


def opened(n: int = 1) -> Counts:
    """A file that was opened n times."""
    return Counts(n_open=n)


def missed(n: int = 1) -> Counts:
    """A path that n stats did not find."""
    return Counts(n_stat=n, n_not_found=n)


def fact(prefix: str = "/usr", **more: Any) -> dict[str, Any]:
    """What an interpreter says of itself."""
    base = more.pop("base_prefix", "/usr")
    return {
        "ns": 1,
        "version": "3.11.7",
        "executable": f"{prefix}/bin/python",
        "prefix": prefix,
        "base_prefix": base,
        "path": [f"{base}/lib/python3.11", f"{prefix}/lib/python3.11/site-packages"],
        **more,
    }


def process(pid: int, label: str, n: int, parent: int = 1, kind: str = "python") -> ProcessTally:
    return ProcessTally(pid, parent, label, kind, Counts(n_stat=n))


def make(
    paths: Mapping[bytes, Counts] | None = None,
    *,
    facts: Sequence[Mapping[str, Any]] = (),
    environment: Mapping[str, str] | None = None,
    job: Mapping[str, str] | None = None,
    mounts: Sequence[Mount] = MOUNTS,
    not_found: Mapping[tuple[str, bytes], int] | None = None,
    processes: Sequence[ProcessTally] = (),
    watch: Watch | None = None,
    with_requests: bool = False,
    thresholds: Thresholds = DEFAULTS,
    metrics: Metrics | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence of a run with these calls."""
    tally = Tally(not_found=dict(not_found or {}))
    for path, counts in (paths or {}).items():
        is_found = counts.n_open and not counts.n_not_found
        tally.by_path[path] = PathTally(counts=counts, resolved=path if is_found else None)
        add(tally.total, counts)
    for row in processes:
        tally.by_process[f"{row.pid} {row.label}"] = row
    table = Mounts(mounts)
    requests = None
    if with_requests:
        requests = Requests(
            per_path={p: RequestCounts(lookup=1, open=counted.counts.n_open) for p, counted in tally.by_path.items()},
            mount_of={path: table.of(path) for path in tally.by_path},
        )
    return Evidence(
        tally=tally,
        notes=Notes(),
        profile=Profile(
            manifest=Manifest(
                environment=dict(environment or {}),
                job=dict(job or {}),
                **{"command": ("python", "train.py"), **(manifest or {})},
            ),
            metrics=metrics or Metrics(**numbers(tally.total, timed=False)),
        ),
        facts=list(facts),
        mounts_of=table.of,
        requests=requests,
        watch=watch,
        thresholds=thresholds,
    )


def found(evidence: Evidence) -> dict[str, Finding]:
    """The findings by code."""
    return {finding.code: finding for finding in find(evidence)}
