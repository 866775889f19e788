"""fsprobe ticket: one archive with the evidence that a support desk asks for."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from fsprobe import pipeline
from fsprobe.capture.machine import host
from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.model import serial
from fsprobe.model.formats import JsonObject
from fsprobe.model.formats import text as shown
from fsprobe.privacy import disclosure
from fsprobe.privacy.concealment import Concealment
from fsprobe.privacy.identities import Names, from_environment
from fsprobe.privacy.json_values import json_value
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.redaction import Redaction
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report.ticket import archive, reproducer
from fsprobe.report.ticket import bundle as ticket

MAX_ACCOUNTS_ASKED = 500
"""Each may be a question to a directory server."""
UID_OF_NOBODY = 65534
N_SHOWN = 40
"""Of each place."""
VARIABLES = frozenset({*host.TARGET_VARIABLES, *host.JOB_VARIABLES})


@click.command("ticket", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=click.Path(), metavar="FILE...")
@click.option("-o", "--output", required=True, type=click.Path(), help="The archive to write, e.g. ticket.zip.")
@click.option("--redact", is_flag=True, help="Replace names of users, homes, projects, hosts and file servers.")
@click.option("--name", "words", multiple=True, metavar="NAME", help="One more name to replace; implies --redact.")
@click.option("--env", type=click.Path(), metavar="VENV", help="Count this environment's files (walks all of it).")
def command(files: tuple[str, ...], output: str, redact: bool, words: tuple[str, ...], env: str | None) -> None:
    """Pack recordings, comparisons and jobs for a support desk.

    The archive holds a summary, an HTML and a JSON report of each FILE, the recordings, versions, facts of the job, a script
    to run it again, and checksums. Never in it: file contents, variables outside of a fixed list, arguments of other programs
    beyond program and script.
    """
    if not files:
        raise FsprobeError("no recordings given", "`fsprobe ticket slow.fsprobe -o ticket.zip`", EXIT_USAGE)
    for word in words:
        if not word.strip() or "/" in word:
            raise FsprobeError(f"--name {word!r} is no name", "give one component of a path at a time", EXIT_USAGE)
    recordings = [Recording(file) for file in files]
    environment = scan(env) if env else None
    hide = redaction(recordings, words, environment) if redact or words else concealment(recordings)
    with tempfile.TemporaryDirectory(prefix="fsprobe-ticket-") as scratch:
        items = [
            disclosed(recording, f"{number:02d}", Path(scratch), hide)
            for number, recording in enumerate(recordings, start=1)
        ]
        if environment is not None:
            environment = json_value(environment, hide)
        entries = list(bundle(items, environment, Path(scratch), hide))
        if isinstance(hide, Redaction):
            report_what_is_left(hide, entries)
        if hide.n_concealed:
            n = hide.n_concealed
            say(
                f"{n} {'value' if n == 1 else 'values'} named like a password, token or key {'is' if n == 1 else 'are'} replaced"
            )
        archive.write(output, entries)
    say(f"wrote {output}")


def scan(env: str) -> JsonObject:
    """What there is in an environment, in numbers.

    Raises:
        BadInput: no such directory.
    """
    from fsprobe.layouts.scan.environment import scan_environment

    found = scan_environment(env, os.environ)
    return {
        "path": shown(found.path),
        "is_venv": found.is_venv,
        "python": found.python,
        **{
            name: getattr(found, name)
            for name in ("n_files", "n_directories", "n_symlinks", "n_inodes", "n_bytes", "n_disk_bytes", "n_small")
        },
        "n_packages": len(found.packages),
        "misfits": list(found.misfits),
    }


def concealment(recordings: list[Recording]) -> Concealment:
    """Find the secrets in all files: names stay, secrets never do.

    Raises:
        BadInput: a file is damaged.
    """
    names = Names()
    for recording in recordings:
        disclosure.learn(recording, names, VARIABLES)
    return Concealment(names)


def redaction(recordings: list[Recording], words: tuple[str, ...], environment: JsonObject | None) -> Redaction:
    """Find the names in all files, so that each is replaced alike in all of them.

    Raises:
        BadInput: a file is damaged.
    """
    names = Names()
    from_environment(names, os.environ)
    names.add_host(os.fsencode(os.uname().nodename))
    try:
        import pwd

        entry = pwd.getpwuid(os.getuid())
        names.add("user", os.fsencode(entry.pw_name))
        names.add_home(os.fsencode(entry.pw_dir))
    except (ImportError, KeyError):
        pass
    for word in words:
        names.add_forced(os.fsencode(word))
    for recording in recordings:
        disclosure.learn(recording, names, VARIABLES)
    if environment is not None:
        json_value(environment, Learning(names))
    for name in accounts(names.candidates):
        names.add("user", name)
    shy = [os.fsdecode(name) for name in names.only_in_place()]
    if shy:
        say(f"also ordinary words, so replaced only below home and project directories: {', '.join(shy)}")
    return Redaction(names)


def accounts(candidates: Collection[bytes]) -> list[bytes]:
    """Which words are people's accounts on this machine."""
    try:
        import pwd
    except ImportError:
        return []
    found = []
    for name in sorted(candidates)[:MAX_ACCOUNTS_ASKED]:
        try:
            uid = pwd.getpwnam(os.fsdecode(name)).pw_uid
        except (KeyError, ValueError, OSError):
            continue
        if uid >= disclosure.FIRST_UID_OF_PEOPLE and uid != UID_OF_NOBODY:
            found.append(name)
    return found


def disclosed(recording: Recording, name: str, scratch: Path, hide: Concealment) -> reproducer.Item:
    """Write the recording as it may be given away, and read that one: no report can show more than it holds."""
    place = scratch / f"{name}.fsprobe"
    disclosure.write(recording, str(place), hide, VARIABLES)
    value = pipeline.analyse(place) if recording.kind == "recording" else stored(Recording(str(place)))
    return reproducer.Item(
        name=name,
        file="" if hide.is_redacting else os.fsdecode(hide.text(os.fsencode(os.path.basename(recording.path)))),
        value=value,
    )


def bundle(
    items: list[reproducer.Item], environment: JsonObject | None, scratch: Path, hide: Concealment
) -> Iterator[archive.Entry]:
    """The files of the archive, in its order."""
    from fsprobe.report.html import page

    here = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    is_redacted = hide.is_redacting
    yield archive.Entry(
        name="summary.md",
        body=encoded(ticket.summary(items, environment, is_redacted=is_redacted, has_secrets=hide.n_concealed > 0)),
    )
    yield archive.Entry(
        name="reproduce.sh",
        body=reproducer.reproducer(items, is_redacted=is_redacted, has_secrets=hide.n_concealed > 0).encode(
            "utf-8", "surrogateescape"
        ),
        is_program=True,
    )
    yield archive.Entry(name="versions.json", body=as_json(ticket.versions(items, here)))
    yield archive.Entry(name="job.json", body=as_json(ticket.jobs_of(items)))
    if environment is not None:
        yield archive.Entry(name="environment.json", body=as_json(environment))
    for item in items:
        recording = f"recordings/{item.name}.fsprobe"
        yield archive.Entry(name=f"reports/{item.name}.html", body=encoded(page.render(item.value, recording)))
        yield archive.Entry(name=f"reports/{item.name}.json", body=as_json(item.value))
        yield archive.Entry(name=recording, body=scratch / f"{item.name}.fsprobe")


def encoded(text: str) -> bytes:
    """Text as UTF-8, whatever it holds."""
    return text.encode("utf-8", "backslashreplace")


def as_json(value: Any) -> bytes:
    """JSON of a value, or of what is JSON already."""
    return encoded(json.dumps(serial.to_json(value), indent=1, ensure_ascii=False) + "\n")


def report_what_is_left(hide: Redaction, entries: list[archive.Entry]) -> None:
    """Say which names still stand inside of longer words, and which words may be names: that is for their owner to judge."""
    left: dict[bytes, set[bytes]] = {}
    for entry in entries:
        if entry.name.endswith(".html"):
            continue  # the same facts as the JSON, among this program's own words
        for data in contents(entry):
            for name, longer in hide.left_in(data).items():
                left.setdefault(name, set()).update(longer)
    for name, longer in sorted(left.items()):
        some = ", ".join(os.fsdecode(word) for word in sorted(longer)[:3])
        say(f"warning: {os.fsdecode(name)} still stands inside longer words ({some}): hide those with --name WORD")
    places = []
    for place, words in sorted(hide.left.items()):
        kept = sorted(shown(word) for word in words)
        more = f" and {len(kept) - N_SHOWN} more" if len(kept) > N_SHOWN else ""
        places.append(f"{'in ' if place.startswith('/') else ''}{place}: {', '.join(kept[:N_SHOWN])}{more}")
    if places:
        say(f"left as they are, and perhaps names: {'; '.join(places)}. Hide those with --name NAME")


def contents(entry: archive.Entry) -> Iterator[bytes]:
    """What an entry holds, unpacked."""
    if isinstance(entry.body, bytes):
        yield entry.body
    else:
        yield from unpacked(entry.body)


def unpacked(path: Path) -> Iterator[bytes]:
    """Every section of a recording, in blocks that end with their lines; recordings within it too."""
    recording = Recording(str(path))
    for section in recording.names():
        if section.startswith("recording."):
            with tempfile.TemporaryDirectory(prefix="fsprobe-ticket-") as scratch:
                inner = Path(scratch, "inner")
                disclosure.extract(recording, section, str(inner))
                yield from unpacked(inner)
            continue
        rest = b""
        for block in recording.section(section):
            head, end, rest = (rest + block).rpartition(b"\n")
            yield head + end
        yield rest
