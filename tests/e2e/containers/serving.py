"""A program that serves a file itself (FUSE), and hands the kernel a path out of a page of it that nobody has touched yet.

    python serving.py MOUNTPOINT [given]

The server looks a path up before it answers a read, so a tracer of both that reads the page waits for a server that waits
for the tracer. MOUNTPOINT is a file; needs root. With `given` the server gets its descriptor of /dev/fuse from its parent
over a socket. Prints what the look-up said, and exits with 0.
"""

import array
import ctypes
import errno
import mmap
import os
import socket
import struct
import sys

PAGE = b"/no/such/path\0".ljust(4096, b"\0")
libc = ctypes.CDLL(None, use_errno=True)


def reply(device: int, unique: int, data: bytes = b"", error: int = 0) -> None:
    os.write(device, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)


def serve(device: int) -> None:
    attributes = struct.pack("<QII", 0, 0, 0) + struct.pack(
        "<QQQQQQIIIIIIIIII", 1, len(PAGE), 8, 0, 0, 0, 0, 0, 0, 0o100644, 1, 0, 0, 0, 4096, 0
    )
    answers = {
        26: struct.pack("<IIIIHHIIHHI28x", 7, 31, 4096, 0, 1, 1, 4096, 1, 1, 0, 0),
        3: attributes,
        14: struct.pack("<QII", 0, 0, 0),
        18: b"",
        25: b"",
    }
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            return  # unmounted, or aborted
        opcode, unique = struct.unpack_from("<IQ", request, 4)
        if opcode == 15:
            os.path.exists("/some/path")  # a traced call of the server's
            offset, size = struct.unpack_from("<QI", request, 48)
            reply(device, unique, PAGE[offset : offset + size])
        elif opcode in answers:
            reply(device, unique, answers[opcode])
        elif opcode != 2:
            reply(device, unique, error=errno.ENOSYS)


def send(channel: socket.socket, fd: int) -> None:
    channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


def receive(channel: socket.socket) -> int:
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    return struct.unpack("i", ancillary[0][2])[0]


def main() -> None:
    place, is_given = sys.argv[1], sys.argv[2:] == ["given"]
    ours, theirs = socket.socketpair()
    server = os.fork()
    if not server:
        ours.close()
        device = receive(theirs) if is_given else os.open("/dev/fuse", os.O_RDWR)
        if not is_given:
            send(theirs, device)
        theirs.recv(1)  # mounted: before that nothing can be read from the device
        serve(device)
        os._exit(0)
    theirs.close()
    device = os.open("/dev/fuse", os.O_RDWR) if is_given else receive(ours)
    if is_given:
        send(ours, device)
    options = b"fd=%d,rootmode=100644,user_id=0,group_id=0" % device
    if libc.mount(b"serving", os.fsencode(place), b"fuse.serving", 6, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.close(device)
    ours.send(b"m")
    try:
        fd = os.open(place, os.O_RDONLY)
        mapped = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        libc.access(ctypes.c_void_p(address), 0)
        print(errno.errorcode[ctypes.get_errno()], flush=True)
        os.close(fd)
    finally:
        libc.umount2(os.fsencode(place), 2)
    os._exit(0)


if __name__ == "__main__":
    main()
