"""The one table of rules: code, function, audience, source. `find` asks each rule and sorts what they saw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from dataclasses import dataclass

from fsprobe.analysis.findings import (
    bytecode,
    data,
    environment,
    launchers,
    libraries,
    lookups,
    processes,
    sweeps,
    workers,
)
from fsprobe.analysis.findings.evidence import Evidence, Seen
from fsprobe.analysis.findings.thresholds import SEVERITIES
from fsprobe.model.finding import Finding

_LUMI = "LUMI training material, ai-20241126, extra_07"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: its stable code, the function that looks, who can act, which thresholds it reads, and where it comes from."""

    code: str
    look: Callable[[Evidence], Seen | None]
    catalogue: str
    """The number in the rule catalogue of the design."""
    thresholds: tuple[str, ...]
    source: str
    audience: str = "user"

    @property
    def title(self) -> str:
        """The first line of the function's docstring."""
        return explanation(self)[0]


def _rule(
    number: int,
    look: Callable[[Evidence], Seen | None],
    catalogue: str,
    thresholds: str,
    source: str,
    audience: str = "user",
) -> Rule:
    return Rule(
        code=f"FSP{number:03}",
        look=look,
        catalogue=catalogue,
        thresholds=tuple(thresholds.split()),
        source=source,
        audience=audience,
    )


_EESSI = "EESSI, cvmfs-tutorial-hpc-best-practices, docs/performance.md"

RULES: tuple[Rule, ...] = (
    _rule(1, environment.environment_on_network, "R1", "environment_files", f"{_EESSI}; {_LUMI}"),
    _rule(
        2, lookups.dead_entries, "R2", "removable_calls", "Copper's documentation: duplicates, then what does not exist"
    ),
    _rule(
        3,
        lookups.library_path,
        "R3",
        "removable_calls",
        "Shrinkwrap (arXiv 2211.05118); nixpkgs#207061; vips#206180: 1,086 of 1,181 openat failed",
    ),
    _rule(4, environment.unused_python_path, "R4", "removable_calls", "CSCS documentation; Copper's documentation"),
    _rule(5, environment.user_site, "R5", "removable_calls", f"fmriprep#1103; mriqc#775; blackfish#366; {_LUMI}"),
    _rule(6, environment.path_files, "R6", "path_files", "setuptools#3548 (+0.225 s), setuptools#3006"),
    _rule(
        7,
        bytecode.missing_bytecode,
        "R7",
        "missing_bytecode_modules",
        "cognee PR#3051 (15.5 to 7.1 s); bubblewrap#638 (1.03 to 0.35 s); uv#1788",
    ),
    _rule(8, bytecode.refused_bytecode, "R8", "missing_bytecode_modules", "airflow PR#72567"),
    _rule(9, libraries.package_resources, "R9", "removable_calls", "setuptools#926; gunicorn#2616; ripgrepy#12"),
    _rule(
        10,
        libraries.entry_points,
        "R10",
        "entry_point_files",
        "importlib_metadata#324; opentelemetry-python#3054; colcon-core#614",
    ),
    _rule(11, libraries.font_list, "R11", "removable_calls", "matplotlib#13071, #32246; simsopt PR#592"),
    _rule(12, data.slow_image, "R12", "fuse_image_calls", "apptainer#665", "site"),
    _rule(14, launchers.start_flags, "R14", "short_interpreters", "faster-cpython/ideas#82"),
    _rule(16, workers.spawned_workers, "R16", "same_processes", "rslearn_projects PR#17 (4 to 0.4 s); pytorch#153594"),
    _rule(
        17,
        processes.ranks,
        "R17",
        "start_calls",
        "rainwoodman/python-mpi-bcast (12,288 ranks in 50 s); Spindle (doi 10.1145/2464996.2465020); Copper",
    ),
    _rule(
        18, processes.stage_to_nodes, "R18", "nodes environment_files", "OLCF, Alliance Canada and CSCS documentation"
    ),
    _rule(19, data.small_files, "R19", "data_files", "LUMI AI Guide, 03-file-formats; VAPOR#2904"),
    _rule(20, environment.flash_only, "R20", "environment_files", f"LUMI course, 103-Access; {_LUMI}"),
    _rule(
        21,
        environment.conda_on_network,
        "R21",
        "environment_files",
        "LUMI user guide, python.md; CSC documentation (Tykky)",
    ),
    _rule(22, launchers.shims, "R22", "removable_calls", "kail.io; 237 failed execve counted in one pyenv start"),
    _rule(23, lookups.repeated_path, "R23", "same_path_calls", "HLRN/NHR@ZIB documentation, page 428487"),
    _rule(24, environment.wrong_venv, "R24", "", f"{_LUMI}; LUMI EasyBuild PyTorch, USER.md"),
    _rule(
        25,
        bytecode.bytecode_off,
        "R25",
        "missing_bytecode_modules",
        "LLNL/spheral#194 (-B with precompiled files); as FSP007",
    ),
    _rule(26, lookups.run_path, "R3", "rpath_misses", "Shrinkwrap (arXiv 2211.05118); Copper: probe storms", "site"),
    _rule(27, libraries.caches_on_network, "R11", "cache_calls", "matplotlib#13071; the same for Triton and Numba"),
    _rule(
        28,
        sweeps.swept_paths,
        "R19",
        "swept_paths",
        "LUMI and HLRN documentation: stat storms and polling load the server",
    ),
    _rule(29, processes.restarted, "R16", "restarts", "rslearn_projects PR#17 (4 to 0.4 s a worker); pytorch#153594"),
    _rule(
        30,
        sweeps.files_written,
        "R19",
        "written_files",
        "LUMI AI Guide, 03-file-formats; the file quotas of LUMI and CSC",
    ),
    _rule(
        31,
        sweeps.real_paths,
        "R23",
        "component_calls",
        "10,315 of the 17,704 calls that importing torch 2.13.0 makes, counted",
    ),
)


def explanation(rule: Rule) -> tuple[str, dict[str, str]]:
    """What a rule's docstring says: its title, and its paragraphs by name (Seen, Costs, Do, Saving)."""
    title, *paragraphs = inspect.cleandoc(rule.look.__doc__ or rule.look.__name__).split("\n\n")
    table = {}
    for paragraph in paragraphs:
        name, _, body = " ".join(paragraph.split()).partition(": ")
        table[name] = body[:1].upper() + body[1:]
    return title.rstrip("."), table


def find(evidence: Evidence, codes: Container[str] | None = None) -> list[Finding]:
    """Ask all rules, or those of `codes`; the severest finding first, then the one that saves most."""
    found = []
    for rule in RULES:
        seen = rule.look(evidence) if codes is None or rule.code in codes else None
        if seen is not None:
            found.append(
                Finding(
                    code=rule.code,
                    severity=seen.severity,
                    audience=rule.audience,
                    title=rule.title,
                    evidence=seen.evidence,
                    advice=seen.advice,
                    commands=tuple(seen.commands),
                    saves=dict(seen.saves),
                    source=rule.source,
                )
            )
    return sorted(
        found,
        key=lambda finding: (
            -SEVERITIES.index(finding.severity),
            -max(finding.saves.values(), default=0),
            finding.code,
        ),
    )
