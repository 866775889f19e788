"""Secrets and names planted in one recording: which of them reach a ticket, and is that said?

Every planted word is made up and stands in one place only. A secret has to be replaced in any ticket; a name in a redacted
one, or what may be a name and stayed is listed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unicodedata
import urllib.parse
import zipfile
from pathlib import Path

from benchmarks.evidence import Json
from benchmarks.robustness.trial import FSPROBE
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording

USER, HOST = "zoëmarten", "lnx0412"
SECRETS = {
    "option with =": ["prog", "--api-token=Qh7sECRETa1"],
    "option and value": ["prog", "--password", "Qh7sECRETb2"],
    "trait": ["prog", "--IdentityProvider.token=Qh7sECRETc3"],
    "variable before the command": ["env", "AWS_SECRET_ACCESS_KEY=Qh7sECRETd4", "python3", "x.py"],
    "URL": ["prog", "https://me:Qh7sECRETe5@git.example.org/x"],
    "header": ["curl", "-H", "Authorization: Bearer Qh7sECRETf6"],
    "upper case": ["prog", "--DB-PASSWD=Qh7sECRETg7"],
    "credential": ["prog", "--credential", "Qh7sECRETh8"],
}
MOUNTS = {
    "sshfs": ("fuse.sshfs", "pkowalski1@sshgate1.example.org:/d", "rw"),
    "sshfs, relative": ("fuse.sshfs", "pkowalski2@sshgate2.example.org:", "rw"),
    "davfs": ("fuse.davfs", "https://pkowalski3:Qh7sECRETi9@dav3.example.org/x", "rw"),
    "cifs": ("cifs", "//filer4.example.org/pkowalski4", "rw,username=pkowalski4b,addr=10.9.8.4"),
    "nfs": ("nfs4", "filer5.example.org:/export/pkowalski5", "rw,addr=10.9.8.5,clientaddr=10.9.8.55"),
    "lustre": ("lustre", "mds6.example.org@o2ib:/fs6", "rw,flock"),
    "gluster": ("fuse.glusterfs", "gl7.example.org:/vol7", "rw"),
    "ceph": ("ceph", "pkowalski8@b3acfc0d.fs=/v", "rw,name=pkowalski8b,mon_addr=10.9.8.8:6789"),
    "9p": ("9p", "srv9.example.org", "rw,aname=/x,uname=pkowalski9"),
    "autofs": ("autofs", "ldap:ldap10.example.org:ou=auto.home", "rw"),
    "beegfs": ("beegfs", "beegfs_nodev", "rw,sysMgmtdHost=mg11.example.org"),
}
MOUNT_WORDS = {
    "sshfs": ["pkowalski1", "sshgate1"], "sshfs, relative": ["pkowalski2", "sshgate2"], "davfs": ["pkowalski3", "dav3.example"],
    "cifs": ["filer4", "pkowalski4", "pkowalski4b", "10.9.8.4"], "nfs": ["filer5", "pkowalski5", "10.9.8.5", "10.9.8.55"],
    "lustre": ["mds6"], "gluster": ["gl7.example"], "ceph": ["pkowalski8", "pkowalski8b", "10.9.8.8"],
    "9p": ["srv9.example", "pkowalski9"], "autofs": ["ldap10"], "beegfs": ["mg11"],
}  # fmt: skip
COLLEAGUES = ("/data/hnovak21/x", "/lustre/hnovak22/x", "/gpfs/fs1/hnovak23/x", "/home/hnovak24/x", "/work/hnovak25/x")


def measure() -> Json:
    """Make the recording and two tickets of it, and look for every word in every file of them."""
    with tempfile.TemporaryDirectory(prefix="fsprobe-words-") as directory:
        place = Path(directory)
        given = place / "given.fsprobe"
        _write(given)
        plain, _ = _ticket(given, place / "plain.zip", [])
        redacted, said = _ticket(given, place / "redacted.zip", ["--redact"])
        whole = Recording(str(given))
        planted = {name: b"".join(whole.section(name)) for name in whole.names()}
    absent = [row["word"] for row in [*_secrets(planted, ""), *_names(planted, "")] if not row["left"]]
    if absent:
        raise RuntimeError(f"not planted: {absent}")
    rows = [*_secrets(plain, ""), *_secrets(redacted, ", --redact"), *_names(redacted, said)]
    failed = [
        {"place": row["place"], "word": row["word"], "problem": f"in {row['left']}"} for row in rows if row["left"]
    ]
    return {"n_secrets": len(SECRETS) + 1, "n_names": len({row["word"] for row in rows if row["is_name"]}), "rows": rows,
            "failed": failed}  # fmt: skip


def _secrets(blobs: dict[str, bytes], how: str) -> list[Json]:
    secrets = {
        where: words[-1] if "=" not in words[-1] else words[-1].partition("=")[2] for where, words in SECRETS.items()
    }
    secrets |= {where: "Qh7sECRET" + text.partition("Qh7sECRET")[2][:2] for where, words in SECRETS.items()
                for text in words if "Qh7sECRET" in text}  # fmt: skip
    secrets["davfs"] = "Qh7sECRETi9"
    return [_row(where + how, word, blobs, False) for where, word in secrets.items()]


def _names(blobs: dict[str, bytes], said: str) -> list[Json]:
    words = [(where, word) for where, found in MOUNT_WORDS.items() for word in found]
    words += [("colleague's directory", path.split("/")[-2]) for path in COLLEAGUES]
    words += [("host", HOST), ("scheduler: partition", "smithlab31"), ("lock file's target", "pkowalski32")]
    forms = {
        "as it is": USER,
        "NFD": unicodedata.normalize("NFD", USER),
        "upper case": USER.upper(),
        "percent-encoded": urllib.parse.quote(USER),
        "percent-encoded, lower case": urllib.parse.quote(USER).replace("%C3%AB", "%c3%ab"),
    }
    words += [(f"user, {form}", word) for form, word in forms.items()]
    rows = [_row(where, word, blobs, True) for where, word in words]
    return [{**row, "left": ""} if row["word"] in said else row for row in rows]


def _row(where: str, word: str, blobs: dict[str, bytes], is_name: bool) -> Json:
    shapes = {word.encode(), "".join(f"\\{byte:03o}" if byte > 126 else chr(byte) for byte in word.encode()).encode()}
    left = sorted({name for name, data in blobs.items() for shape in shapes if shape in data})
    return {"place": where, "word": word, "is_name": is_name, "left": ", ".join(left)}


def _ticket(given: Path, output: Path, options: list[str]) -> tuple[dict[str, bytes], str]:
    env = {**os.environ, "USER": USER, "LOGNAME": USER, "HOME": f"/home/{USER}"}
    done = subprocess.run(
        [*FSPROBE, "ticket", str(given), *options, "-o", str(output)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    blobs: dict[str, bytes] = {}
    with zipfile.ZipFile(output) as archive:
        for name in archive.namelist():
            blobs[name] = archive.read(name)
            if name.endswith(".fsprobe"):
                inner = output.with_suffix(".inner")
                inner.write_bytes(blobs.pop(name))
                recording = Recording(str(inner))
                blobs |= {f"{name}: {section}": b"".join(recording.section(section)) for section in recording.names()}
    return blobs, done.stderr


def _write(path: Path) -> None:
    home = f"/home/{USER}"
    escaped = "".join(f"\\{byte:03o}" if byte > 126 else chr(byte) for byte in home.encode())
    first = [word for words in SECRETS.values() for word in words[1:]]
    command = ["python3", "run.py", *first]
    rows = [("execve", f'"/usr/bin/python3", {json.dumps(command)}, 0x7ffd /* 9 vars */', "0")]
    rows += [
        ("execve", f'"/usr/bin/{words[0]}", {json.dumps(words)}, 0x7ffd /* 9 vars */', "0")
        for words in SECRETS.values()
    ]
    paths = [
        f"{escaped}/x",
        *COLLEAGUES,
        f"/tmp/{urllib.parse.quote(USER)}",
        f"/tmp/{urllib.parse.quote(USER).lower()}-x",
    ]
    paths += ["/data/" + "".join(f"\\{byte:03o}" if byte > 126 else chr(byte)
                                 for byte in unicodedata.normalize("NFD", USER).encode()) + "/q"]  # fmt: skip
    paths += ["/tmp/" + "".join(f"\\{byte:03o}" if byte > 126 else chr(byte) for byte in USER.upper().encode()) + "/q"]
    rows += [
        ("openat", f'AT_FDCWD<{escaped}>, "{one}", O_RDONLY', "-1 ENOENT (No such file or directory)") for one in paths
    ]
    log = "".join(
        f"77    1795506711.{n:06d} (+     0.000001000) {name}({args}) = {result} <0.000010>\n"
        for n, (name, args, result) in enumerate(rows)
    )
    mounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "".join(
        f"{n} 21 0:{n} / /mnt/m{n} rw - {fstype} {source} {options}\n"
        for n, (fstype, source, options) in enumerate(MOUNTS.values(), start=31)
    )
    manifest = {
        "backend": "strace", "markers": "none", "command": command, "cwd": home, "host": HOST, "uid": 4711, "exit_code": 0,
        "wall_s": 1.0, "environment": {}, "job": {"SLURM_JOB_PARTITION": "smithlab31", "SLURM_JOB_ID": "7"},
    }  # fmt: skip
    lookups = {"links": {f"{home}/.lock": "pkowalski32@gate32.example.org.12:34"}, "distributions": {}, "missing": []}
    recordings.write(
        str(path),
        "recording",
        [
            ("manifest", json.dumps(manifest).encode()),
            ("log", log.encode()),
            ("marks", b""),
            ("mounts", mounts.encode()),
            ("lookups", json.dumps(lookups).encode()),
        ],
    )
