"""A job on NFS and Lustre: a node's first rank asks for everything, each further one for what is asked once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.vm.cells import MOUNT, model_of
from fsprobe.analysis import whatif
from fsprobe.analysis.requests.clients.protocol import of_options
from fsprobe.analysis.requests.rows import Requests
from fsprobe.jobs.findings import weighted
from fsprobe.jobs.node_requests import JobRequests, NodeRequests
from fsprobe.jobs.sums import scaled
from fsprobe.model.rows import Counts

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
            asked.join(requests)
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


@pytest.mark.parametrize("server", SERVERS)
def test_a_node_with_more_ranks_than_one_task_reads(server: str) -> None:
    """The parts of a large node may be joined in any grouping."""
    requests = requests_of(server)
    row = requests.by_mount()[MOUNT]
    for sizes in ((20,), (16, 4), (1, 19), (1, 1, 18), (2, 17, 1)):
        node = NodeRequests()
        for n_ranks in sizes:
            part = NodeRequests()
            for _ in range(n_ranks):
                part.join(requests, 1000)
            node.add(part)
        job = JobRequests()
        job.close("a", node)
        key = next(key for key in job.by_mount if key[0] == MOUNT)
        assert job.by_mount[key].n_metadata == row.n_metadata + row.settling + 19 * row.again, sizes


def test_another_user_asks_for_rights_again() -> None:
    """An NFS client keeps rights by user: a new one costs as many ACCESS as the first user's cold run had."""
    requests = requests_of("nfs3")
    row = requests.by_mount()[MOUNT]
    counted = {}
    for users in ((1, 1, 1), (1, 2, 2), (1, 2, 3)):
        node, other = NodeRequests(), NodeRequests()
        node.join(requests, users[0])
        for user in users[1:]:
            other.join(requests, user)
        node.add(other)
        total = sum(shared.total().operations.get("ACCESS", 0) for shared in node.shared.values())
        counted[users] = total
    n = row.operations["ACCESS"]
    assert list(counted.values()) == [n, 2 * n, 3 * n]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("n_traced", [1, 2, 3])
def test_a_job_of_which_some_ranks_are_traced_is_scaled_to_what_all_ask(server: str, n_traced: int) -> None:
    requests = requests_of(server)
    row = requests.by_mount()[MOUNT]
    job = JobRequests()
    for node in "ab":
        asked = NodeRequests()
        for _ in range(n_traced):
            asked.join(requests)
        job.close(node, asked)
    made = scaled(
        n_ranks=32,
        n_nodes=4,
        n_traced=2 * n_traced,
        total=Counts(),
        nodes=list(job.by_clients.values()),
        by_clients=list(job.by_clients.values()),
    )
    assert made is not None
    assert made.requests is not None
    expected = 4 * (row.n_metadata + row.settling + 7 * row.again)
    assert abs(made.requests.n_metadata - expected) <= 3  # each column is rounded
