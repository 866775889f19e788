"""The cell magic in a real Jupyter kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("ipykernel")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=120)
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def execute(client: Any, code: str) -> tuple[dict[str, str], list[dict[str, str]], list[str]]:
    """(text by stream, displayed data, errors) of a cell."""
    streams: dict[str, str] = {}
    shown: list[dict[str, str]] = []
    errors: list[str] = []

    def take(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            streams[content["name"]] = streams.get(content["name"], "") + content["text"]
        elif message["msg_type"] in ("execute_result", "display_data"):
            shown.append(content["data"])
        elif message["msg_type"] == "error":
            errors.append(content["ename"])

    client.execute_interactive(code, output_hook=take, timeout=120)
    return streams, shown, errors


def test_a_cell_runs_in_a_fresh_interpreter_and_its_profile_is_shown(kernel: Any) -> None:
    assert execute(kernel, "%load_ext fsprobe\nsecret = 1") == ({}, [], [])
    streams, shown, errors = execute(kernel, "%%fsprobe\nimport json\nprint('secret' in globals(), __name__)")
    assert (streams, errors) == ({"stdout": "False __main__\n"}, [])
    assert "<svg" in shown[0]["text/html"]
    assert "json" in shown[0]["text/html"]


def test_a_profile_goes_to_a_variable(kernel: Any) -> None:
    execute(kernel, "%load_ext fsprobe")
    streams, shown, errors = execute(kernel, "%%fsprobe --save p\nraise SystemExit(3)")
    assert "exit code 3" in shown[0]["text/html"]
    streams, shown, errors = execute(kernel, "p.exit_code, len(p.modules) > 0")
    assert shown[0]["text/plain"] == "(3, True)"


def test_what_goes_wrong_is_one_line(kernel: Any) -> None:
    execute(kernel, "%load_ext fsprobe")
    streams, shown, errors = execute(kernel, "%%fsprobe --nonsense\npass")
    assert (shown, errors) == ([], [])
    assert streams["stderr"].startswith("fsprobe: %%fsprobe: unrecognized arguments")
