"""Predicted requests against those that real clients counted: one cell per run, phase and operation.

The rows (`truth.json`) hold what the clients of NFS and Lustre counted of one run each; the recordings beside them are of
the same programs. A cell is one operation of one row; READ is left out, since recordings hold no reads.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.requests.clients.protocol import Protocol, of_options
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.model.events import ParseQuality
from fsprobe.model.formats import JsonObject
from fsprobe.recording.file import Recording

MOUNT = "/project"
LUSTRE_NAMES = {"ldlm_ibits_enqueue": "enqueue", "mds_close": "close", "mds_readpage": "readpage"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One operation of one run."""

    client: str
    version: str
    options: str
    delegations: bool | None
    workload: str
    phase: str
    operation: str
    counted: int
    predicted: int
    why_not_predictable: str
    """What fsprobe itself says of this operation's number; "" where it says nothing."""

    @property
    def is_exact(self) -> bool:
        """Predicted as counted."""
        return self.counted == self.predicted

    @property
    def run(self) -> tuple[str, str, str]:
        """Version, workload and options: what was mounted and started."""
        return self.version, self.workload, self.options

    def __str__(self) -> str:
        """One line for a table of misses."""
        lent = {True: "", False: ", no delegations", None: ""}[self.delegations]
        return (
            f"{self.workload} {self.phase}, {self.client} {self.version} ({self.options}{lent}): {self.operation} "
            f"predicted {self.predicted}, counted {self.counted}"
        )


def model_of(path: Path) -> RequestModel:
    """The request model of a recording, fed."""
    recording = Recording(str(path))
    hooks = pipeline.read_hooks(recording)
    lookups = pipeline.read_lookups(recording)
    model = pipeline.make_model(recording, pipeline.read_mounts(recording, hooks), lookups)
    quality = ParseQuality()
    events = pipeline.read_events(recording, quality, hooks, model)
    for row in pipeline.attributed(recording, events, Notes()):
        model.fold(row)
    return model


def predict(
    model: RequestModel, protocol: Protocol, mount: str = MOUNT
) -> tuple[dict[str, int], dict[str, int], Mapping[str, str]]:
    """(operations cold, operations warm, operation -> why its number is uncertain) of one mount by a protocol's rules."""
    model.serve({mount.encode(): protocol})
    requests = model.count()
    row = requests.by_mount()[mount]
    warm = row.further.operations if row.further is not None else {}
    return dict(row.operations), dict(warm), requests.served[mount].not_predictable


def counted(row: JsonObject) -> dict[str, int]:
    """A row's operations by the names that fsprobe gives them."""
    if row["client"] == "nfs":
        return {name: n for name, n in row["operations"].items() if name != "READ" and not name.endswith("_failed")}
    found = {LUSTRE_NAMES[name]: n for name, n in row["operations"].items() if name in LUSTRE_NAMES}
    glimpses = row["ost_operations"].get("ldlm_glimpse_enqueue")
    return {**found, "glimpse": glimpses} if glimpses else found


def protocol_of(row: JsonObject, kernel: str = "6.1.0-56-amd64") -> Protocol:
    """By which rules the client of a row asked."""
    if row["client"] == "lustre":
        protocol = of_options("lustre", "", kernel)
        has_open_cache = "opencache_threshold_count=0" not in row["options"]
        return protocol if has_open_cache else dataclasses.replace(protocol, open_cache_opens=0)
    options = row["options"].replace("+", ",")
    protocol = of_options("nfs", f"rw,relatime,vers={row['version']},{options},rsize=524288", kernel)
    return dataclasses.replace(protocol, delegations=row["delegations"] is not False)


def compare(directory: Path, rows: Iterable[JsonObject] | None = None) -> Iterator[Cell]:
    """The cells of the rows whose recording is in `directory`."""
    models: dict[Path, RequestModel] = {}
    answers: dict[tuple[Path, Protocol], tuple[dict[str, int], dict[str, int], Mapping[str, str]]] = {}
    for row in json.loads((directory / "truth.json").read_text()) if rows is None else rows:
        path = directory / f"{row['client']}-{row['workload']}.fsprobe"
        if not path.exists():
            # the same program, recorded on another client's mount
            path = directory / f"nfs-{row['workload']}.fsprobe"
        if not path.exists():
            continue
        if path not in models:
            models[path] = model_of(path)
        protocol = protocol_of(row)
        if (path, protocol) not in answers:
            answers[path, protocol] = predict(models[path], protocol)
        cold, warm, why = answers[path, protocol]
        predicted, found = (cold if row["phase"] == "cold" else warm), counted(row)
        for operation in sorted({*predicted, *found}):
            yield Cell(
                client=row["client"],
                version=row["version"],
                options=row["options"],
                delegations=row.get("delegations"),
                workload=row["workload"],
                phase=row["phase"],
                operation=operation,
                counted=found.get(operation, 0),
                predicted=predicted.get(operation, 0),
                why_not_predictable=why.get(operation, ""),
            )
