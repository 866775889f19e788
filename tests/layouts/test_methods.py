"""Planning is pure: facts in, ways in order out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsprobe.layouts.mount.methods import HostFacts, hint_for, plan_ways, read_host_facts

ALL = HostFacts(
    may_mount=True,
    user_namespaces=True,
    no_new_privileges=False,
    dev_fuse="",
    loop_devices=True,
    tools={name: f"/usr/bin/{name}" for name in ("mount", "squashfuse_ll", "squashfuse", "bwrap", "fusermount3")},
    setuid_tools=frozenset({"fusermount3"}),
)
USER = replace(ALL, may_mount=False)


def possible(facts: HostFacts, kind: str = "squashfs") -> list[str]:
    return [way.name for way in plan_ways(facts, kind) if not way.why_not]


def test_the_order_is_the_measured_one() -> None:
    assert possible(ALL) == ["root+kernel", "root+fuse", "user+fuse", "bwrap+fuse"]
    assert possible(USER) == ["user+fuse", "bwrap+fuse"]
    assert possible(ALL, "bind") == ["root", "user", "bwrap"]
    assert possible(USER, "overlay") == ["user+fuse"]


@pytest.mark.parametrize(
    ("facts", "left", "word"),
    [
        (replace(USER, user_namespaces=False), ["bwrap+fuse"], "max_user_namespaces"),
        (replace(USER, dev_fuse="/dev/fuse: Permission denied"), [], "Permission denied"),
        (replace(USER, tools={"bwrap": "/b", "fusermount3": "/f"}), [], "squashfuse is not installed"),
        (replace(USER, setuid_tools=frozenset()), ["user+fuse"], "not setuid root"),
        (replace(USER, no_new_privileges=True), ["user+fuse"], "no_new_privs"),
        (replace(ALL, loop_devices=False), ["root+fuse", "user+fuse", "bwrap+fuse"], "no loop devices"),
    ],
)
def test_what_is_missing_is_named(facts: HostFacts, left: list[str], word: str) -> None:
    assert possible(facts) == left
    assert any(word in way.why_not for way in plan_ways(facts, "squashfs"))


def test_the_multithreaded_server_is_preferred() -> None:
    way = next(way for way in plan_ways(USER, "squashfs") if way.name == "user+fuse")
    assert way.mounter.endswith("squashfuse_ll")
    single = replace(USER, tools={key: value for key, value in USER.tools.items() if key != "squashfuse_ll"})
    assert next(way for way in plan_ways(single, "squashfs") if way.name == "user+fuse").mounter.endswith("squashfuse")


def test_the_hint_says_how_to_get_it() -> None:
    ways = plan_ways(replace(USER, tools={}), "squashfs")
    assert "install squashfuse" in hint_for(ways, "squashfs")
    assert "image-src=/" in hint_for(ways, "squashfs")
    assert "image-src" not in hint_for(ways, "bind")


def test_this_machine_can_be_read() -> None:
    facts = read_host_facts()
    assert all(path.startswith("/") for path in facts.tools.values())
    assert facts.setuid_tools <= facts.tools.keys()
