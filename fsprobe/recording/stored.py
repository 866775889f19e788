"""Jobs and comparisons as their files hold them: JSON in the section `manifest`, read into typed values and checked."""

from __future__ import annotations

from collections.abc import Iterator

from fsprobe.errors import BadInput
from fsprobe.model import serial
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import JsonObject
from fsprobe.model.job import Job
from fsprobe.model.profile import Profile
from fsprobe.recording import format1
from fsprobe.recording.file import Recording

HINT = "was it edited, or made by another program? Record again"


def stored(recording: Recording) -> Profile | Comparison:
    """The value that a file of kind job or comparison holds.

    Raises:
        BadInput: it is of another kind, damaged, or does not hold what fsprobe writes.
    """
    recording.verify()
    try:
        if recording.kind == "job":
            return _whole_job(upgraded(recording))
        if recording.kind == "comparison":
            return _whole_comparison(upgraded(recording))
    except serial.Misfit as error:
        raise BadInput(f"{recording.path} holds what fsprobe does not write: {error}", HINT) from None
    raise BadInput(
        f"{recording.path} is a {recording.kind}: it holds calls, no job or comparison", "see `fsprobe report --help`"
    )


def upgraded(recording: Recording) -> JsonObject:
    """The JSON of a job or comparison in today's format."""
    if recording.format > 1:
        return recording.manifest
    return format1.profile(recording.manifest) if recording.kind == "job" else format1.comparison(recording.manifest)


def as_section(value: Profile | Comparison) -> Iterator[bytes]:
    """A job or comparison as the section `manifest`, in blocks."""
    return (block.encode("ascii") for block in serial.encoded(value))


def _whole_job(data: JsonObject) -> Profile:
    profile = serial.from_json(Profile, data)
    if profile.kind != "job" or profile.job is None:
        raise serial.Misfit("job is missing")
    for where in _gaps_of_job(profile.job):
        raise serial.Misfit(where)
    if profile.metrics.timeline_step_s <= 0:
        raise serial.Misfit("metrics.timeline_step_s is not positive")
    return profile


def _gaps_of_job(job: Job) -> Iterator[str]:
    """What a job's values must have to each other, and these have not."""
    for name in ("ranks", "nodes"):
        if not getattr(job, name):
            yield f"job.{name} is empty"
    nodes = {row.key for row in job.nodes}
    for i, rank in enumerate(job.ranks):
        if rank.node not in nodes:
            yield f"job.ranks[{i}].node is none of job.nodes"
    n_slots = 0 if job.timeline is None else len(job.timeline.n_metadata)
    for i, node in enumerate(job.nodes):
        if node.timeline is not None and len(node.timeline) != n_slots:
            yield f"job.nodes[{i}].timeline is not as long as job.timeline"
    if job.timeline is not None and job.timeline.slot_s <= 0:
        yield "job.timeline.slot_s is not positive"


def _whole_comparison(data: JsonObject) -> Comparison:
    comparison = serial.from_json(Comparison, data)
    labels = {row.layout for row in comparison.rows}
    if not labels:
        raise serial.Misfit("rows is empty")
    if comparison.baseline not in labels:
        raise serial.Misfit("baseline is the layout of no row")
    for label in comparison.differences:
        if label not in labels:
            raise serial.Misfit(f"differences: {label} is the layout of no row")
    return comparison
