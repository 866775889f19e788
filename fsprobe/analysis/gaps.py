"""What a log does not hold, so that its counts are a part of the run's: for verdict, check and views."""

from __future__ import annotations

from fsprobe.model.profile import ENOUGH_CALLS, Profile

MOST_UNPARSED = 0.1
"""Share of a log's lines that may be no lines of strace before it says nothing for certain: a judgement."""


def gaps(profile: Profile) -> list[str]:
    """Why counts are not the whole run's, each with what would tell; empty where nothing speaks against them."""
    manifest, quality, metrics = profile.manifest, profile.quality, profile.metrics
    found = []
    if manifest.logs:
        if not metrics.n_metadata:
            return [
                "the log holds no call on a path (strace without `-e`, or with `-e trace=%file,%process,getdents64`)"
            ]
        if not profile.has_start:
            found.append("the log does not hold the start of the program: it has no execve")
        absent = [name for name in profile.absent_calls if name != "list"]
        if absent:
            found.append(
                f"the log has no {' and no '.join(absent)} calls (strace without `-e`, or with `-e trace=%file,getdents64`)"
            )
        if metrics.n_not_found == metrics.n_metadata > ENOUGH_CALLS:
            found.append("the log holds nothing but failed lookups (strace without `-Z`)")
    if manifest.log_truncated:
        found.append(f"the recording is not complete ({manifest.log_truncated})")
    if quality.n_lost > MOST_UNPARSED * quality.n_lines:
        found.append(f"{quality.n_lost:,} records were lost, {quality.n_lines:,} are there")
    if quality.n_lines and quality.n_unparsed > MOST_UNPARSED * quality.n_lines:
        found.append(f"{quality.n_unparsed:,} of {quality.n_lines:,} lines of the log were not understood")
    if quality.n_unread_paths > MOST_UNPARSED * max(1, metrics.n_metadata):
        found.append(f"of {quality.n_unread_paths:,} calls the paths could not be read")
    return found
