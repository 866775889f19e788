"""The wire structs have the sizes that the kernel's header gives them."""

from __future__ import annotations

import os
import struct

import pytest

from benchmarks.fileserver.kernel import protocol


def test_replies_have_the_size_of_the_kernels_structs() -> None:
    replies = {
        "entry": (protocol.pack_entry(2, os.stat("/"), 10**9), 128),
        "negative entry": (protocol.pack_negative_entry(10**9), 128),
        "attributes": (protocol.pack_attributes_reply(os.stat("/"), 10**9), 104),
        "open": (protocol.pack_open(3, 0), 16),
        "statfs": (protocol.pack_statfs(os.statvfs("/")), 80),
        "write": (protocol.pack_write_reply(1), 8),
        "init": (
            protocol.pack_init_reply(memoryview(struct.pack("=IIII", 7, 38, 1 << 20, 0xFFFFFFFF)), 1 << 20),
            64,
        ),
        "header": (protocol.pack_reply_header(1, 0, 0), 16),
    }
    assert {name: len(packed) for name, (packed, _) in replies.items()} == {
        name: n_bytes for name, (_, n_bytes) in replies.items()
    }


def test_requests_have_the_size_of_the_kernels_structs() -> None:
    structs = {
        protocol.GETATTR_IN: 16,
        protocol.SETATTR_IN: 88,
        protocol.READ_IN: 40,
        protocol.WRITE_IN: 40,
        protocol.CREATE_IN: 16,
        protocol.MKNOD_IN: 16,
        protocol.MKDIR_IN: 8,
    }
    assert {form.format: form.size for form in structs} == {form.format: size for form, size in structs.items()}
    assert protocol.HEADER_BYTES == 40


@pytest.mark.parametrize("length", range(1, 18))
def test_entries_of_a_listing_are_padded_to_eight_bytes(length: int) -> None:
    record = protocol.pack_dirent(1, 1, 8, b"n" * length)
    assert len(record) % 8 == 0
    assert len(record) - 24 - length < 8


def test_init_asks_for_nothing_that_the_kernel_does_not_offer() -> None:
    body = memoryview(struct.pack("=IIII", 7, 38, 1 << 20, protocol.ASYNC_READ))
    assert struct.unpack_from("=IIII", protocol.pack_init_reply(body, 4096))[2:] == (4096, protocol.ASYNC_READ)


def test_two_names_in_one_body() -> None:
    body = memoryview(b"12345678old\nname\0new\xffname\0")
    assert protocol.name_at(body, 8) == b"old\nname"
    assert protocol.name_at(body, 8 + len(b"old\nname") + 1) == b"new\xffname"
