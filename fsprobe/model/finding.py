"""A finding: something that was seen, why it costs and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was seen, why it costs, what to type, and what that would save in this very run."""

    code: str
    severity: str
    """info | warn | critical"""
    audience: str
    """user | site"""
    title: str
    evidence: str
    advice: str
    commands: tuple[str, ...]
    saves: Mapping[str, int]
    """{"calls": n, "requests": n}; empty where it can't be computed."""
    source: str
