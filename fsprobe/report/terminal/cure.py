"""The command that tries the cure of a finding."""

from __future__ import annotations

import shlex

from fsprobe.capture import shipped
from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile

CURED = ("FSP001",)
"""Findings that an image answers, whatever its own run still shows."""


def cure_of(finding: Finding, profile: Profile, recording: str) -> str:
    """What to type to try it; "" where `fsprobe fix` is no answer, or takes no such recording."""
    is_one_file = recording and ", layout " not in recording and profile.job is None
    return f"{shipped.typed()} fix {shlex.quote(recording)}" if finding.code in CURED and is_one_file else ""
