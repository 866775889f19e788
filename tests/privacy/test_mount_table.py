"""Mount tables: every form of a source, with a user, a host and a volume in it, and nothing of them left."""

from __future__ import annotations

import re

import pytest

from fsprobe.privacy.concealment import Concealment
from fsprobe.privacy.identities import Names
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.mount_table import mount_table, shared_roots
from fsprobe.privacy.redaction import Redaction

FORMS = [
    ("fuse.sshfs", "useraq7@hostaq7.siteaq7.org:", "rw,user_id=4711,group_id=4711"),
    ("fuse.sshfs", "useraq7@hostaq7.siteaq7.org:dataq7/x", "rw"),
    ("fuse.sshfs", "useraq7@hostaq7.siteaq7.org:/export/dataq7", "rw"),
    ("fuse.davfs", "https://useraq7:passaq7@davaq7.siteaq7.org/remote.php/dav/useraq7", "rw"),
    ("fuse.rclone", "remoteaq7:bucketaq7/useraq7", "rw"),
    ("fuse.glusterfs", "hostaq7.siteaq7.org:volaq7", "rw"),
    ("ceph", "useraq7@b3aq7.cephaq7=/volaq7", "rw,name=useraq7,secret=<hidden>,mon_addr=10.7.7.7:6789/10.7.7.8:6789"),
    ("ceph", "10.7.7.7:6789,10.7.7.8:6789:/volaq7", "rw,name=useraq7"),
    ("9p", "hostaq7.siteaq7.org", "rw,trans=tcp,aname=/x/useraq7,uname=useraq7"),
    ("zfs", "tankaq7/home/useraq7", "rw"),
    ("beegfs", "beegfs_nodev", "rw,cfgFile=/etc/beegfs/b.conf,sysMgmtdHost=hostaq7.siteaq7.org"),
    (
        "cifs",
        "//hostaq7.siteaq7.org/shareaq7/useraq7",
        "rw,username=useraq7,domain=DOMAQ7,addr=10.1.2.3,prefixpath=useraq7",
    ),
    ("nfs4", "[2001:db8:12::12aa]:/export/home/useraq7", "rw,addr=2001:db8:12::12,clientaddr=2001:db8:12::13"),
    ("nfs4", "hostaq7.siteaq7.org:/volaq7/useraq7", "rw,sec=krb5,fsc=tagaq7,clientaddr=10.15.15.15"),
    ("fuse.s3fs", "s3fs", "rw,bucket=bucketaq7,url=https://s3aq7.siteaq7.org"),
    ("fuse.goofys", "s3://bucketaq7/useraq7", "rw"),
    ("fuse.gcsfuse", "bucketaq7", "rw"),
    ("gpfs", "projaq7", "rw"),
    ("gpfs", "/dev/gpfsaq7", "rw"),
    ("ext4", "/dev/mapper/vg-useraq7", "rw"),
    ("ext4", "/dev/disk/by-label/useraq7", "rw"),
    ("autofs", "ldap:hostaq7.siteaq7.org:ou=auto.useraq7", "rw"),
    ("autofs", "/etc/auto.useraq7", "rw,fd=7,pgrp=9,timeout=300"),
    ("lustre", "hostaq7.siteaq7.org@o2ib:/fsaq7/useraq7", "rw,flock"),
    ("lustre", "10.1.2.3@o2ib1:10.1.2.4@tcp:/fsaq7", "rw"),
    ("fuse.encfs", "encfs", "rw,user_id=4711"),
    ("afs", "AFSaq7", "rw"),
    ("wekafs", "hostaq7/fsaq7", "rw"),
    ("orangefs", "tcp://hostaq7:3334/orangeaq7", "rw"),
    ("panfs", "panfs://hostaq7:global/volaq7", "rw"),
    ("virtiofs", "tagaq7", "rw"),
    ("squashfs", "/data/useraq7/env.sqsh", "ro"),
]
LEAK = re.compile(rb"(?i)[a-z0-9.-]*aq7|10\.\d+\.\d+\.\d+|2001:db8|4711")


def hidden(line: bytes) -> bytes:
    names = Names()
    for root in shared_roots(line):
        names.roots[root] = "shared"
    mount_table(line, Learning(names))
    return mount_table(line, Redaction(names))


@pytest.mark.parametrize(("fstype", "source", "options"), FORMS, ids=[f"{form[0]} {form[1]}" for form in FORMS])
def test_nothing_of_a_source_is_left(fstype: str, source: str, options: str) -> None:
    line = f"31 21 0:31 /useraq7/x /mnt/a rw - {fstype} {source} {options}".encode()
    shown = hidden(line)
    assert not LEAK.findall(shown)
    assert shown.split()[7] == fstype.encode()
    assert shown.startswith(b"31 21 0:31 /")
    assert shown.split()[4] == b"/mnt/a"


@pytest.mark.parametrize("line", [
    b"1 2 0:3 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro",
    b"1 2 0:3 / /tmp rw - tmpfs tmpfs rw,size=1024k,nr_inodes=100,mode=1777",
    b"1 2 0:3 / /proc rw - proc proc rw",
    b"1 2 0:3 / /x rw - xfs /dev/nvme0n1p1 rw,attr2,inode64,logbufs=8",
    b"1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate",
])  # fmt: skip
def test_what_is_structure_stays(line: bytes) -> None:
    assert hidden(line) == line


def test_a_password_in_a_source_is_hidden_where_names_stay() -> None:
    line = b"1 2 0:3 / /x rw - fuse.davfs https://bob:pw4zz@dav/x rw,password=pw4zz,user=bob"
    shown = mount_table(line, Concealment(Names()))
    assert b"pw4zz" not in shown
    assert shown.endswith(b"@dav/x rw,password=secret2,user=bob")


def test_colleagues_below_a_network_mount_are_hidden() -> None:
    table = b"1 2 0:3 / /institute/store rw - beegfs beegfs_nodev rw\n1 2 0:3 / /opt/sw rw - nfs4 s:/sw rw\n1 2 0:3 / / rw - nfs s:/r rw"
    assert shared_roots(table) == [(b"institute", b"store")]
    names = Names(roots={(b"institute", b"store"): "shared"})
    look = Learning(names)
    paths = [
        b"/institute/store/carol/x",
        b"/data/dave/x",
        b"/lustre/fs1/erin42/x",
        b"/nobackup/frank/x",
        b"/work/gil/x",
        b"/gpfs/hana/x",
    ]
    for path in paths:
        look.path(path)
    hide = Redaction(names)
    for path in paths:
        shown = hide.path(path)
        assert re.search(rb"(?:owner|user)\d+/x$", shown), shown
        assert shown.rpartition(b"/")[0].rpartition(b"/")[0] == path.rpartition(b"/")[0].rpartition(b"/")[0]
    assert hide.path(b"/tmp/CAROL-x/%2Flustre%2Ffs1%2Ferin42") == b"/tmp/owner7-x/%2Flustre%2Ffs1%2F" + hide.alias(
        "owner", b"erin42"
    )
