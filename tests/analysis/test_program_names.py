from __future__ import annotations

import pytest

from fsprobe.analysis.attribution.attribute import label_of, without_hook


@pytest.mark.parametrize(
    ("argv", "label"),
    [
        (["python3.11", "-u", "/work/train.py", "--token", "SECRET"], "python3.11 train.py"),
        (["python", "-m", "torch.distributed.run", "SECRET"], "python -m torch.distributed.run"),
        (["python", "-c", "SECRET"], "python -c"),
        (["python", "-Ic", "SECRET"], "python -c"),
        (["python", "-X", "importtime", "-Wignore", "a.py"], "python a.py"),
        (["bash", "-ec", "true SECRET"], "bash -c"),
        (["sh", "-c", "SECRET"], "sh -c"),
        (["bash", "--login", "run.sh", "SECRET"], "bash run.sh"),
        (["env", "TOKEN=SECRET", "python", "a.py"], "env python"),
        (["env", "-S", "python -u SECRET"], "env python"),
        (["curl", "-H", "SECRET"], "curl"),
        (["python"], "python"),
    ],
)
def test_a_label_names_the_program_and_its_script_and_no_other_argument(argv: list[str], label: str) -> None:
    found = label_of(b"/usr/bin/" + argv[0].encode(), [word.encode() for word in argv])
    assert found == label
    assert "SECRET" not in found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-I", True),
        ("-sE", True),
        ("-BS -c x", True),
        ("-u a.py -I", False),
        ("-m mod -I", False),
        ("-X dev -I", True),
        ("-c -I", False),
        ("a.py", False),
    ],
)
def test_options_that_keep_the_hook_out(words: str, expected: bool) -> None:
    assert without_hook([b"python", *(word.encode() for word in words.split())]) is expected
