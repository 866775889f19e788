"""One profile as JSON, from a log that stays the same: whoever changes what scripts read sees it here."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from fsprobe import loading, pipeline
from fsprobe.model import serial

ROOT = Path(__file__).parent
GOLD = ROOT / "gold" / "profile.json"
MOUNTS = b"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /tmp/demo rw - lustre 10.0.0.1@tcp:/fs rw\n3 1 0:3 / /proc rw - proc proc rw\n"


def test_the_profile_of_a_stored_log_is_the_gold_file(tmp_path: Path) -> None:
    log = min((ROOT / "data" / "strace").iterdir(), key=lambda path: path.name)
    loading.load_logs([log], str(tmp_path / "x.fsprobe"), cwd="/tmp/demo", mounts=MOUNTS, label="gold")
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    profile = replace(profile, manifest=replace(profile.manifest, fsprobe_version="VERSION"))
    text = json.dumps(serial.to_json(profile), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLD"):
        GOLD.write_text(text)
    assert text == GOLD.read_text(), "UPDATE_GOLD=1 takes what came out; raise FORMAT if a script could break on it"
