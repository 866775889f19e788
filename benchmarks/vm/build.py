"""Lay out the machine: a kernel, an initial RAM disk and a disk with an NFS server, of Debian's packages, none installed.

    build(Path("/tmp/machine"))     as root; needs the programs in PROGRAMS and a reachable Debian registry

Debian's own kernel and programs, so that what is counted is what a Debian node sends. Packages are extracted and none of
their scripts run.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "cpio": "cpio",
    "modprobe": "kmod",
    "mkfs.ext4": "e2fsprogs",
    "apt-get": "apt",
    "dpkg": "dpkg",
}
"""Program -> the Debian package that has it."""
PACKAGES = (
    "bash busybox-static coreutils dash findutils grep iproute2 kmod libstdc++6 mount nfs-common nfs-kernel-server python3 "
    "python3-numpy rpcbind sed strace tar util-linux"
).split()
KERNEL_PARTS = (
    "./boot/vmlinuz*",
    "./lib/modules/*/modules.*",
    "./lib/modules/*/kernel/arch/*",
    "./lib/modules/*/kernel/crypto/*",
    "./lib/modules/*/kernel/drivers/block/virtio*",
    "./lib/modules/*/kernel/drivers/char/hw_random*",
    "./lib/modules/*/kernel/drivers/virtio*",
    "./lib/modules/*/kernel/fs/*",
    "./lib/modules/*/kernel/lib/*",
    "./lib/modules/*/kernel/net/9p*",
    "./lib/modules/*/kernel/net/dns_resolver*",
    "./lib/modules/*/kernel/net/sunrpc*",
)
DISK_MODULES = "virtio_pci virtio_blk crc32c_generic ext4".split()
MODULES = [*DISK_MODULES, *"nfsd nfsv3 nfsv4 9p 9pnet_virtio virtio_rng".split()]
SITE = "srv/nfs/myenv/lib/python3.11/site-packages"


def missing_programs() -> list[str]:
    """The Debian packages that this machine lacks to build and boot the other one."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return sorted(package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None)


def build(place: Path) -> None:
    """Build `place`/{vmlinuz,initrd.gz,disk.ext4,share}.

    Raises:
        subprocess.CalledProcessError: a program failed; OSError: the place can't be written.
    """
    place.mkdir(parents=True, exist_ok=True)
    root = place / "root"
    version = _unpack_kernel(place)
    _unpack_root(root)
    _install_modules(place / "kernel", root, version)
    _make_initrd(place, root, version)
    _lay_out(root)
    _make_environment(root)
    size_mib = int(_output(["du", "-sm", str(root)]).split()[0]) + 150
    disk = place / "disk.ext4"
    disk.unlink(missing_ok=True)
    _run(["mkfs.ext4", "-q", "-F", "-d", str(root), "-O", "^metadata_csum", str(disk), f"{size_mib}M"])
    shutil.rmtree(root)
    shutil.rmtree(place / "kernel")


def _unpack_kernel(place: Path) -> str:
    packages = place / "packages"
    packages.mkdir(exist_ok=True)
    depends = _output(["apt-cache", "depends", "linux-image-amd64"])
    name = next(line.split()[1] for line in depends.splitlines() if "Depends: linux-image" in line)
    if not list(packages.glob(f"{name}_*.deb")):
        _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name], cwd=packages)
    archive = next(packages.glob(f"{name}_*.deb"))
    kernel = place / "kernel"
    shutil.rmtree(kernel, ignore_errors=True)
    kernel.mkdir()
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as source:
        _run(["tar", "-x", "-C", str(kernel), "--wildcards", *KERNEL_PARTS], stdin=source.stdout)
    version = next((kernel / "lib/modules").iterdir()).name
    shutil.copy(kernel / "boot" / f"vmlinuz-{version}", place / "vmlinuz")
    _run(["depmod", "-b", str(kernel), version])
    return version


def _unpack_root(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    words = ["mmdebstrap", "-q", "--variant=extract", f"--include={','.join(PACKAGES)}", "bookworm", str(root)]
    for sources in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if sources.exists():
            words.append(str(sources))
            break
    _run(words)


def _needed(tree: Path, version: str, modules: Sequence[str]) -> list[Path]:
    """The files of these modules and of what they need, in the order in which they load."""
    files: dict[Path, None] = {}
    for module in modules:
        shown = _output(["modprobe", "-d", str(tree), "-S", version, "--show-depends", module])
        for line in shown.splitlines():
            words = line.split()
            if words[:1] == ["insmod"]:
                files[Path(words[1])] = None
    return list(files)


def _install_modules(kernel: Path, root: Path, version: str) -> None:
    source, target = kernel / "lib/modules" / version, root / "lib/modules" / version
    target.mkdir(parents=True, exist_ok=True)
    for file in _needed(kernel, version, MODULES):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(source / name, target / name)
    _run(["depmod", "-b", str(root), version])


def _make_initrd(place: Path, root: Path, version: str) -> None:
    tree = place / "initrd"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    for number, file in enumerate(_needed(root, version, DISK_MODULES)):
        shutil.copy(file, tree / "modules" / f"{number:02}-{file.name}")
    shutil.copy(HERE / "initrd-init", tree / "init")
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=subprocess.PIPE, check=True
    )
    (place / "initrd.gz").write_bytes(gzip.compress(packed.stdout, 1))
    shutil.rmtree(tree)


def _lay_out(root: Path) -> None:
    for name in "proc sys dev tmp run share project root var/lib/nfs/rpc_pipefs srv/nfs".split():
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\n_rpc:x:101:65534::/run/rpcbind:/bin/false\n"
        "statd:x:102:65534::/var/lib/nfs:/bin/false\n"
    )
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost machine\n")
    (root / "etc/protocols").write_text("tcp 6 TCP\nudp 17 UDP\n")
    shutil.copy(HERE / "machine-init", root / "sbin/machine-init")
    (root / "sbin/machine-init").chmod(0o755)
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")


def _make_environment(root: Path) -> None:
    """What the workloads use: an environment with numpy, small files in directories, an empty directory."""
    served = root / "srv/nfs"
    for number in range(4):
        directory = served / "small4" / f"d{number}"
        directory.mkdir(parents=True)
        for file in range(100):
            (directory / f"file_{file}.txt").write_text(f"content {number} {file}\n")
    (served / "empty").mkdir()
    (served / "myenv/bin").mkdir(parents=True)
    (served / "myenv/bin/python").symlink_to("/usr/bin/python3")
    (served / "myenv/bin/python3").symlink_to("python")
    (served / "myenv/pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
    )
    site = root / SITE
    site.mkdir(parents=True)
    shutil.move(root / "usr/lib/python3/dist-packages/numpy", site / "numpy")
    for library in sorted((root / "usr/lib").glob("*-linux-gnu/*/lib*.so.3")):
        # what Debian's alternatives would do: their scripts did not run
        (library.parent.parent / library.name).symlink_to(f"{library.parent.name}/{library.name}")
    # the standard library from the mount too: what `import sqlite3, email` from the mount asks for
    stdlib = served / "stdlib"
    stdlib.mkdir()
    for name in ("email", "sqlite3", "xml", "json", "collections"):
        shutil.copytree(root / "usr/lib/python3.11" / name, stdlib / name, symlinks=True)
    _run(
        ["chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", "/srv/nfs", "/usr/lib/python3.11"],
        ok=(0, 1),
    )


def _run(words: Sequence[str], ok: Sequence[int] = (0,), **options: object) -> None:
    done = subprocess.run(words, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    if done.returncode not in ok:
        sys.stderr.write(done.stderr.decode(errors="replace"))
        raise subprocess.CalledProcessError(done.returncode, words, stderr=done.stderr)


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(words, env=_environment(), capture_output=True, check=True)
    return done.stdout.decode()


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "LC_ALL": "C"}
