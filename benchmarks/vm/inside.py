"""Runs in the machine: workloads on an NFS mount of its own server, with what the client counted of each run.

    python3 inside.py JOB.json OUT.json

A job is a list of {"version", "options", "workload", "phases"}; a phase is cold (a fresh mount), warm (again at once) or
record (under fsprobe's recorder, on a fresh mount, into the job's NAME.fsprobe). The result has a row a phase, as
tests/data/servers/truth.json; a recorded one has what the recorder itself asked for after the run in `own_operations`; the
job's `wait_s` passes before that.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

AT, SOURCE = "/project", "127.0.0.1:/srv/nfs"
PYTHON, LOCAL = AT + "/myenv/bin/python", "/usr/bin/python3"
SITE = AT + "/myenv/lib/python3.11/site-packages"
WALK = "import os\nfor d, _, files in os.walk('/project/small4'):\n  for f in files:\n    %s\n"
KNOWN = "import os\nfor d in range(4):\n  for f in range(100):\n    p = '/project/small4/d%%d/file_%%d.txt' %% (d, f)\n    %s\n"
MISSING = """import os
for _ in range(%d):
  for n in range(1000):
    try: os.stat('/project/empty/none_%%d' %% n)
    except OSError: pass
"""
FROM_MOUNT = "import sys; sys.path.insert(0, '/project/stdlib'); import sqlite3, email, xml.dom.minidom"
LINKS = (
    "cd /project/myenv/bin; for i in 1 2 3; do [ -x python ] && readlink -f python3; cat ../pyvenv.cfg; "
    "ls -l ../lib/python3.11 nothere; done"
)
NUMPY = "%s -c 'import numpy'" % PYTHON
WORKLOADS = {
    "pass": [PYTHON, "-c", "pass"],
    "numpy": [PYTHON, "-c", "import numpy"],
    "s4_list": [LOCAL, "-c", WALK % "pass"],
    "s4_stat": [LOCAL, "-c", WALK % "os.stat(d + '/' + f)"],
    "s4_read": [LOCAL, "-c", WALK % "open(d + '/' + f, 'rb', 0).read()"],
    "k4_stat": [LOCAL, "-c", KNOWN % "os.stat(p)"],
    "k4_open": [LOCAL, "-c", KNOWN % "open(p, 'rb', 0).read()"],
    "k4_stat_open": [LOCAL, "-c", KNOWN % "os.stat(p); open(p, 'rb', 0).read()"],
    "miss2": [LOCAL, "-c", MISSING % 2],
    "miss2p": ["/bin/sh", "-c", '%s -c "$0"; %s -c "$0"' % (LOCAL, LOCAL), MISSING % 1],
    "lslr": ["/bin/ls", "-lR", SITE + "/numpy/core"],
    "tar": ["/bin/tar", "cf", "/tmp/x.tar", "-C", AT, "small4", "myenv/bin"],
    "find": ["/usr/bin/find", SITE + "/numpy", "-name", "*.py", "-size", "+4k"],
    "grepr": ["/bin/grep", "-r", "zzz", AT + "/small4"],
    "shlinks": ["/bin/sh", "-c", LINKS],
    "stdlib": [LOCAL, "-c", FROM_MOUNT],
    "seq4": ["/bin/sh", "-c", "for i in 1 2 3 4; do %s; done" % NUMPY],
    "par4": ["/bin/sh", "-c", "for i in 1 2 3 4; do %s & done; wait" % NUMPY],
}
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
RECORDER = "/share/fsprobe-rec.pyz"
SETTLE_S = 0.15


def counted(file: str = "/proc/self/mountstats") -> dict[str, int]:
    """Operation -> how often since the mount."""
    found: dict[str, int] = {}
    is_here = False
    with open(file) as lines:
        for line in lines:
            if line.startswith("device "):
                is_here = " mounted on %s with" % AT in line
            elif is_here:
                name, _, rest = line.strip().partition(":")
                words = rest.split()
                if name.replace("_", "").isupper() and words and words[0].isdigit():
                    found[name] = int(words[0])
    return found


def settled() -> dict[str, int]:
    """The counts once they stand still: a CLOSE is sent after close(2) has returned."""
    last = counted()
    for _ in range(40):
        time.sleep(SETTLE_S)
        now = counted()
        if now == last:
            break
        last = now
    return last


def mount(version: str, options: str) -> None:
    words = "vers=%s" % version + (",nolock" if version == "3" else "") + ("," + options if options else "")
    subprocess.run(["mount", "-t", "nfs", "-o", words, SOURCE, AT], check=True)


def unmount() -> None:
    for _ in range(20):
        if subprocess.run(["umount", AT], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.2)


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def run(words: list[str], snapshot: str | None = None) -> dict[str, Any]:
    before, start = settled(), time.monotonic()
    done = subprocess.run(words, env=ENVIRONMENT, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = time.monotonic() - start
    after = settled()
    row: dict[str, Any] = {"s": round(took, 2), "exit_code": done.returncode}
    row["stderr"] = done.stderr.decode(errors="replace")[-300:]
    if snapshot is not None:
        # a CLOSE may still be on its way when the snapshot is taken: what is closed late is the run's, not the recorder's
        at_end = counted(snapshot)
        late = after.get("CLOSE", 0) - at_end.get("CLOSE", 0)
        at_end["CLOSE"] = at_end.get("CLOSE", 0) + late
        row["own_operations"] = difference(after, at_end)
        after = at_end
    row["operations"] = difference(after, before)
    return row


def main() -> None:
    job, out = sys.argv[1:3]
    rows = []
    with open(job) as source:
        runs = json.load(source)
    for one in runs:
        version, options, workload = one["version"], one["options"], one["workload"]
        for phase in one["phases"]:
            if phase != "warm":
                mount(version, options)
            words = WORKLOADS[workload]
            snapshot = None
            if phase == "record":
                # the counters are read as the last thing of the recorded run, before the recorder looks things up
                snapshot = "/tmp/snapshot"
                script = '"$@"; code=$?; sleep %d; /bin/cat /proc/self/mountstats > %s; exit $code'
                script = script % (one.get("wait_s", 0), snapshot)
                where = "/share/out/%s.fsprobe" % one["name"]
                words = [LOCAL, RECORDER, "-q", "--counters", "-o", where, "--", "/bin/sh", "-c", script, "sh"] + words
            row = {"client": "nfs", "version": version, "options": options, "workload": workload, "phase": phase}
            row["name"] = one.get("name", "")
            row["delegations"] = None if version == "3" else True
            row.update(run(words, snapshot))
            rows.append(row)
            print(version, options, workload, phase, row["s"], json.dumps(row["operations"]), flush=True)
            if phase != "cold" or "warm" not in one["phases"]:
                unmount()
        with open(out + ".tmp", "w") as target:
            json.dump(rows, target)
        os.replace(out + ".tmp", out)


if __name__ == "__main__":
    main()
