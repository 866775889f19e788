"""A machine of its own under QEMU, of Debian's packages alone: an NFS server, and its client, which counts every request.

`build` lays the machine out in a directory, `machine` boots it and has jobs run in it, `inside` is what runs there.
"""
