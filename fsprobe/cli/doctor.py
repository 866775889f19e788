"""fsprobe doctor: what this machine allows, which backend is taken and why, and what gets what is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence

import click
from rich.console import Console
from rich.text import Text

from fsprobe import numbers
from fsprobe.analysis.requests.clients.protocol import Family, of_options
from fsprobe.capture import backends, doctor
from fsprobe.capture.backends.protocol import NO, OK, Machine
from fsprobe.capture.machine import counters, mounts
from fsprobe.errors import EXIT_DONE, EXIT_MACHINE, EXIT_NO, BadInput
from fsprobe.layouts.mount.methods import plan_ways, read_host_facts
from fsprobe.model.formats import JsonObject
from fsprobe.report.terminal.console import BAD, MIND, broken, clean, console_on, print_words

INDENT = 23
"""Columns that the sign and the name of a check take."""
_SIGN = {"ok": ("ok", ""), "limited": ("!", MIND), "no": ("no", BAD)}


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option(
    "--mount",
    "mount",
    metavar="PATH",
    help="Say by which rules the requests of the filesystem at PATH are predicted, and which counters are readable.",
)
@click.option(
    "--selftest",
    "is_selftest",
    is_flag=True,
    help="Run strace and the inline recorder in the same run, compare call for call.",
)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def command(as_json: bool, mount: str | None, is_selftest: bool, cmd: tuple[str, ...]) -> int:
    """Say what this machine allows: tracing, scratch, mounting images; and which backend `run` takes here.

    With --selftest a handful of programs, or CMD (after --), run under strace and the inline recorder together, and what
    the two saw is compared; 1 is the exit code where it differs.
    """
    if is_selftest:
        return selftest(as_json, cmd)
    if cmd:
        raise click.UsageError("a command is taken with --selftest alone")
    if mount is not None:
        found = describe_mount(mount)
        if as_json:
            click.echo(json.dumps(found, indent=1))
        else:
            draw_mount(console_on(sys.stdout), found)
        return 0
    answer = examine()
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    else:
        draw(console_on(sys.stdout), answer)
    return 0 if answer["backend"] else EXIT_MACHINE


def selftest(as_json: bool, command: Sequence[str]) -> int:
    """Run the programs, print how far the two agree, and give the exit code.

    Raises:
        FsprobeError: one of the two does not work here.
    """
    from fsprobe.experiment import selftest as test

    found = []
    for name, words in test.programs(command):
        one = test.run(name, words)
        found.append(one)
        if not as_json:
            sign, style = _SIGN["ok" if one.is_complete else "no"]
            line = (
                f"{numbers.count(one.n_equal)} of {numbers.plural(one.n_calls, 'call')} equal, {one.n_threads_in_order} of "
                f"{numbers.plural(one.n_threads, 'thread')} in order, {numbers.count(one.n_opened_equal)} of "
                f"{numbers.count(one.n_opened)} opens led to the same file"
            )
            extra = f"; {numbers.count(one.n_extra)} more calls" if one.n_extra else ""
            extra += f"; {numbers.count(one.n_cut_off)} in which a thread was ended" if one.n_cut_off else ""
            extra += (
                f"; {numbers.count(one.n_loaders)} of the loader, before the recorder is loaded"
                if one.n_loaders
                else ""
            )
            extra += f"; {numbers.count(one.n_restarted)} begun anew after a signal" if one.n_restarted else ""
            extra += f"; {numbers.count(one.n_unseen)} of programs that it does not see" if one.n_unseen else ""
            lost = f"; {numbers.count(one.n_lost)} lost" if one.n_lost else ""
            console = console_on(sys.stdout)
            console.print(Text.assemble((sign, style), " ", (clean(name), "bold"), f": {line}{extra}{lost}"))
            for example in one.examples:
                print_words(console, example, indent=3)
    agrees = all(one.is_complete for one in found)
    if as_json:
        rows = [{**dataclasses.asdict(one), "is_complete": one.is_complete} for one in found]
        click.echo(json.dumps({"kind": "selftest", "agrees": agrees, "programs": rows}, indent=1))
    return EXIT_DONE if agrees else EXIT_NO


def describe_mount(path: str) -> JsonObject:
    """By which rules the requests of the filesystem at `path` are predicted, and what its client counts of them.

    Raises:
        BadInput: nothing is there, or no mount is known that holds it.
    """
    place = os.fsencode(os.path.realpath(path))
    if not os.path.lexists(place):
        raise BadInput(f"{path} is not there", "name a path on the filesystem")
    row = mounts.mount_of(place, mounts.parse_mountinfo(mounts.read_own()))
    if row is None:
        raise BadInput(f"no mount is known that holds {path}", "is /proc mounted?")
    mounted, fstype, source, options = row
    protocol = of_options(fstype, options, os.uname().release)
    is_network = mounts.classify(fstype) == "network"
    counted, why_not = counters.find(place)
    if protocol.family is Family.NFS:
        rules = f"those of {protocol.name}'s client"
    elif protocol.family is Family.LUSTRE:
        rules = "those of Lustre's client"
    else:
        rules = f"FUSE's: those of {fstype} are not known" if protocol.is_standing_in and is_network else "FUSE's"
    return {
        "kind": "doctor mount",
        "mount": os.fsdecode(mounted),
        "fstype": fstype,
        "source": os.fsdecode(source),
        "options": options,
        "protocol": protocol.name,
        "rules": rules,
        "counters": counted.name if counted is not None else None,
        "operations": sorted(counted.read()) if counted is not None else [],
        "why_no_counters": why_not or ("" if counted is not None else f"{fstype} keeps none that are known"),
    }


def draw_mount(console: Console, found: JsonObject) -> None:
    """The mount, its rules, its counters."""
    console.print(Text(f"{clean(found['mount'])} ({found['fstype']})", style="bold"))
    print_words(console, f"requests are predicted by these rules: {found['rules']}")
    if found["counters"] is None:
        console.print(Text(f"no counters: {clean(found['why_no_counters'])}"))
        return
    console.print(Text(f"counters: {clean(found['counters'])}"))
    print_words(console, "`fsprobe run --counters` puts predicted and counted side by side")


def examine() -> JsonObject:
    """All checks, the backend that `auto` takes and why, and how images can be mounted."""
    name, why = best_backend()
    checks = doctor.examine(os.environ)
    for kind, check in (
        ("squashfs", _check_images("squashfs")),
        ("overlay", _check_images("overlay")),
        ("packing", _check_packing),
    ):
        checks += filter(None, [doctor.isolated(kind, check, os.environ)])
    no_place = next((check for check in checks if check["check"] == "scratch" and check["status"] == NO), None)
    if no_place is not None:
        # every backend keeps its log there
        name, why = "", f"no place for the log: {no_place['found']}"
    return {"kind": "doctor", "backend": name, "why": why, "checks": checks}


def best_backend() -> tuple[str, str]:
    """The backend of `--backend auto` on this machine, and what kept it from a better one; "" where none works."""
    try:
        best = backends.best(Machine(os.environ))
    except Exception as error:  # the checks below still say what this machine has
        return "", f"the choice itself failed: {type(error).__name__}: {error}"
    return best.name, best.why


def _check_images(kind: str) -> Callable[[Mapping[str, str]], JsonObject]:
    title = {"squashfs": "images", "overlay": "writable images"}[kind]

    def check(environment: Mapping[str, str]) -> JsonObject:
        ways = plan_ways(read_host_facts(), kind)
        possible = [way.name for way in ways if not way.why_not]
        if possible:
            return doctor.row(title, OK, f"can be mounted for one command: {', '.join(possible)}")
        reasons = "; ".join(f"{way.name}: {way.why_not}" for way in ways)
        return doctor.row(title, NO, reasons, "a container runtime can: apptainer exec -B IMG:PATH:image-src=/ ...")

    return check


def _check_packing(environment: Mapping[str, str]) -> JsonObject:
    program = shutil.which("mksquashfs") or shutil.which("mksquashfs", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program:
        return doctor.row("packing", OK, program)
    return doctor.row("packing", NO, "mksquashfs is not there", "install squashfs-tools, or load a module that has it")


def draw(console: Console, answer: JsonObject) -> None:
    """The answer first, then each check; what is missing has its remedy below."""
    console.print()
    if answer["backend"]:
        reason = f" ({clean(answer['why'])})" if answer["why"] else ""
        console.print(Text.assemble((f"fsprobe run uses {answer['backend']}", "bold"), reason))
    else:
        console.print(Text.assemble(("no backend works here", BAD), f" ({clean(answer['why'])})"))
    console.print()
    for check in answer["checks"]:
        sign, style = _SIGN[check["status"]]
        begin = Text.assemble((sign, style), " " * (3 - len(sign)), (f"{check['check']:20}", "bold"))
        for line in broken(Text(clean(check["found"])), max(30, console.width - INDENT)):
            console.print(begin + line, soft_wrap=True)
            begin = Text(" " * INDENT)
        if check["hint"]:
            print_words(console, f"-> {check['hint']}", indent=INDENT)
