"""A job on NFS and Lustre: a node's first rank asks for everything, each further one for what is asked once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cells import MOUNT, model_of
from fsprobe.analysis import whatif
from fsprobe.analysis.requests.clients.protocol import of_options
from fsprobe.analysis.requests.rows import Requests
from fsprobe.jobs.findings import weighted
from fsprobe.jobs.sums import JobRequests, NodeRequests

DATA = Path(__file__).parents[1] / "data" / "servers"
SERVERS = {
    "nfs3": ("nfs", "vers=3,actimeo=600", "nfs-numpy"),
    "nfs42": ("nfs4", "vers=4.2,actimeo=600", "nfs-numpy"),
    "lustre": ("lustre", "", "lustre-numpy"),
}
COUNTED = {"nfs3": (13 + 139 + 110 + 1 + 8, 100), "nfs42": (92 + 2 + 89 + 21 + 23 + 48 + 1 + 8, 99)}
"""What one `import numpy` asked of an NFS server, on a fresh mount and at once again (truth.json, without READ)."""


def requests_of(server: str) -> Requests:
    fstype, options, name = SERVERS[server]
    model = model_of(DATA / f"{name}.fsprobe")
    model.serve({MOUNT.encode(): of_options(fstype, options, "6.1.0-56-amd64")})
    return model.count()


@pytest.mark.parametrize("server", SERVERS)
def test_ranks_of_two_nodes(server: str) -> None:
    requests = requests_of(server)
    row = requests.by_mount()[MOUNT]
    if server in COUNTED:
        assert (row.n_metadata, row.again + row.settling) == COUNTED[server]
    job = JobRequests()
    for node, n_ranks in (("a", 3), ("b", 1)):
        asked = NodeRequests()
        for _ in range(n_ranks):
            asked.join(requests.per_path, requests.mount_of, requests.served)
        job.close(node, asked)
    key = next(key for key in job.by_mount if key[0] == MOUNT)
    assert job.served[key].protocol == requests.served[MOUNT].protocol
    assert job.by_mount[key].n_metadata == 2 * row.n_metadata + 2 * row.again + row.settling
    assert row.further is not None
    assert row.steady is not None
    for name, n in row.operations.items():
        further = row.further.operations.get(name, 0) + row.steady.operations.get(name, 0)
        assert job.by_mount[key].operations[name] == 2 * n + further


@pytest.mark.parametrize("server", SERVERS)
def test_many_nodes_by_arithmetic(server: str) -> None:
    row = requests_of(server).by_mount()[MOUNT]
    demand = whatif.demand_of("plain", 1.0, row.value())
    assert demand.n_requests == row.n_metadata
    assert demand.n_requests_node(8) == row.n_metadata + 7 * row.again + row.settling
    many = weighted(requests_of(server), n_nodes=4, n_ranks=32)
    assert many.by_mount()[MOUNT].n_metadata == 4 * (row.n_metadata + 7 * row.again + row.settling)
