"""By which rules a mount's requests are counted: from its type and the options that the kernel shows in mountinfo."""

from __future__ import annotations

from fsprobe.analysis.requests.clients.protocol import Family, of_options

SHOWN = (
    "rw,relatime,rw,vers={vers},rsize=262144,wsize=262144,namlen=255,{more}hard,nolock,proto=tcp,timeo=600,retrans=2,sec=sys,"
    "mountaddr=127.0.0.1,mountvers=3,mountport=57060,mountproto=udp,local_lock=all,addr=127.0.0.1"
)
"""What Linux 6.1 shows of an NFS mount."""


def test_versions_of_nfs() -> None:
    for shown, name in (("3", "NFS v3"), ("4.0", "NFS v4.0"), ("4.1", "NFS v4.1"), ("4.2", "NFS v4.2")):
        protocol = of_options("nfs4" if shown[0] == "4" else "nfs", SHOWN.format(vers=shown, more=""))
        assert (protocol.family, protocol.name) == (Family.NFS, name)
        assert protocol.read_bytes == 262144
    assert of_options("nfs4", "rw,vers=4,minorversion=1").name == "NFS v4.1"


def test_ages_of_attributes() -> None:
    default = of_options("nfs", SHOWN.format(vers="3", more=""))
    assert (default.file_ages_s, default.directory_ages_s) == ((3, 60), (30, 60))
    shown = SHOWN.format(vers="3", more="acregmin=600,acregmax=600,acdirmin=600,acdirmax=600,")
    assert of_options("nfs", shown) == of_options("nfs", SHOWN.format(vers="3", more="actimeo=600,"))
    assert of_options("nfs", "vers=3,noac").file_ages_s == (0, 0)
    assert of_options("nfs", "vers=3,acregmin=5").file_ages_s == (5, 60)


def test_caches_and_listings() -> None:
    plain = of_options("nfs", "vers=3")
    assert (plain.lookup_cache, plain.close_to_open, plain.readdirplus) == ("all", True, True)
    assert of_options("nfs", "vers=3,lookupcache=pos").lookup_cache == "positive"
    assert of_options("nfs", "vers=3,lookupcache=none").lookup_cache == "none"
    assert not of_options("nfs", "vers=3,nocto").close_to_open
    assert not of_options("nfs", "vers=3,nordirplus").readdirplus


def test_access_times_that_a_mount_does_not_keep() -> None:
    assert not of_options("nfs4", "rw,noatime,vers=4.2").file_access_times
    only_directories = of_options("nfs4", "rw,nodiratime,relatime,vers=4.2")
    assert (only_directories.file_access_times, only_directories.directory_access_times) == (True, False)


def test_types_whose_own_rules_are_not_known() -> None:
    assert of_options("lustre", "rw,flock").family is Family.LUSTRE
    for fstype in ("gpfs", "beegfs", "fuse.cvmfs2", "ceph", "9p"):
        protocol = of_options(fstype, "rw")
        assert (protocol.family, protocol.is_standing_in) == (Family.FUSE, True)
    assert not of_options("fuse.sshfs", "rw").is_standing_in


def test_kernels_that_look_a_program_s_path_up_twice() -> None:
    for kernel, twice in (
        ("6.1.0-56-amd64", True),
        ("6.12.43+deb13-cloud-amd64", True),
        ("5.14.0-427.el9.x86_64", False),
    ):
        assert of_options("nfs", "vers=3", kernel).walks_programs_twice is twice
