"""A ring analysed both ways: its events one by one, and as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fsprobe.analysis.attribution.attribute import Attributed, Attributor, Notes, attribute
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.columns.analysis import fold_ring
from fsprobe.analysis.counting.tally import fold
from fsprobe.analysis.findings.watch import Watch, watch
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.steps import kind_of_number
from fsprobe.analysis.time.observed import Observed, watch_time
from fsprobe.events import ring
from fsprobe.model.events import Mount, ParseQuality

HOOK, MARKS = b"/scratch/hook", b"/scratch/marks"
LOCAL = Mount(path=b"/", fstype="ext4", fs_class="local", source=b"/dev/x", options="rw")
NFS = Mount(path=b"/data", fstype="nfs4", fs_class="network", source=b"s:/data", options="rw,vers=4.2")


def taken_in(rows: Iterable[Attributed], model: RequestModel) -> Iterator[Attributed]:
    """As the pipeline's, but one by one: there the statuses of descriptors may come some rows early."""
    for row in rows:
        model.fold(row)
        yield row


@dataclass(slots=True)
class Found:
    """All that is filled."""

    tally: Any
    notes: Notes
    quality: ParseQuality
    times: Observed
    seen: Watch
    model: RequestModel

    def told(self) -> dict[str, str]:
        """It as text, the order of tables included."""
        taken, seen = self.model.taken, self.seen
        steps = {field.name: getattr(taken, field.name) for field in fields(taken) if field.name[:1] != "_"}
        modules = dict(sorted(self.tally.by_module.items()))  # their order depends on when sums are added up
        watched = {field.name: getattr(seen, field.name) for field in fields(seen)}
        watched["modules"] = {key: sorted(names) for key, names in seen.modules.items()}
        watched["launching"] = sorted(seen.launching)
        return {
            **{f"tally.{field.name}": repr(getattr(self.tally, field.name)) for field in fields(self.tally)},
            "tally.by_module": repr(modules),
            **{f"times.{field.name}": repr(getattr(self.times, field.name)) for field in fields(self.times)},
            **{f"steps.{name}": repr(value) for name, value in steps.items()},
            **{f"watch.{name}": repr(value) for name, value in watched.items()},
            "notes": repr(self.notes),
            "quality": repr(self.quality),
            "sizes": repr(self.model.sizes),
        }


def _empty(mounts: Sequence[Mount]) -> Found:
    model = RequestModel(mounts, {}, b"/work", "6.1", keeps_order=False)
    return Found(None, Notes(), ParseQuality(), Observed(), Watch(), model)


def by_events(data: bytes, mounts: Sequence[Mount] = (LOCAL,)) -> Found:
    """One by one."""
    found, facts = _empty(mounts), ring.RingFacts()
    model = found.model
    events = ring.read(data, found.quality, facts, cwd=b"/work", on_status=model.on_status)
    rows = attribute(watch_time(events, found.times, facts), found.notes, hook_dir=HOOK, marks_dir=MARKS)
    found.tally = fold(watch(taken_in(rows, model), found.seen), WhyNotFound([]))
    model.sizes.update({path: (kind_of_number(mode), size) for path, (mode, size) in facts.fstats.items()})
    return found


def by_columns(data: bytes, mounts: Sequence[Mount] = (LOCAL,)) -> Found | None:
    """As columns; None where that is left to the other way."""
    found = _empty(mounts)
    at = len(data) // 3
    found.tally = fold_ring(
        (data[:at], data[at:]),
        len(data),
        found.quality,
        Attributor(HOOK, MARKS, found.notes),
        WhyNotFound([]),
        cwd=b"/work",
        model=found.model,
        times=found.times,
        seen=found.seen,
    )
    return found if found.tally is not None else None


def same(data: bytes, mounts: Sequence[Mount] = (LOCAL,)) -> Found | None:
    """Hold the two ways against each other."""
    columns = by_columns(data, mounts)
    if columns is None:
        return None
    expected, got = by_events(data, mounts).told(), columns.told()
    for name, text in expected.items():
        assert got[name] == text, name
    return columns
