"""Which rank of a job this process is, and whether it is one of those that shall be traced.

Every process of a job asks this before anything else, also those that then run their command untouched, so the module
imports nothing but `os`. Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OWN_FAILURE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# rank, then candidates for: size, local rank, ranks on this node, node, number of nodes
_LAUNCHERS = (
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "",
        "",
    ),
    ("PALS_RANKID", "PALS_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE", "PALS_NODEID", ""),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "", ""),
    ("PMIX_RANK", "", "", "", "", ""),
    (
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS SLURM_NTASKS",
        "SLURM_LOCALID",
        "",
        "SLURM_NODEID",
        "SLURM_STEP_NUM_NODES SLURM_JOB_NUM_NODES SLURM_NNODES",
    ),
)
"""An MPI launcher comes before Slurm: under `mpirun` in a batch script SLURM_PROCID is 0 in every process."""
ALL = "all"
ONE_PER_NODE = "one-per-node"
VARIABLES = tuple(
    sorted({name for launcher in _LAUNCHERS for names in launcher for name in names.split()} | {"SLURM_STEP_ID"})
)


class Rank:
    """One process of a job as its launcher named it; None for what the launcher does not say."""

    __slots__ = ("launcher", "local_rank", "local_size", "n_nodes", "node", "number", "size")

    def __init__(self, number: "int", launcher: "str") -> "None":
        self.number = number
        self.launcher = launcher
        self.size = None  # type: int | None
        self.local_rank = None  # type: int | None
        self.local_size = None  # type: int | None
        self.node = None  # type: int | None
        self.n_nodes = None  # type: int | None


def _number(environment: "Mapping[str, str]", names: "str") -> "int | None":
    for name in names.split():
        value = environment.get(name, "")
        if is_number(value):
            return int(value)
    return None


def is_number(text: "str") -> "bool":
    """Whether it is a number as launchers write them: `str.isdigit` is also true of "²", which is none."""
    return 0 < len(text) < 10 and not text.strip("0123456789")


def identify(environment: "Mapping[str, str]") -> "Rank | None":
    """The rank that an environment describes; None outside of a job's parallel part.

    A Slurm batch script has SLURM_PROCID=0 without being a rank: only a step has SLURM_STEP_ID.
    """
    found = None
    for number, size, local_rank, local_size, node, n_nodes in _LAUNCHERS:
        value = _number(environment, number)
        if value is None or (number == "SLURM_PROCID" and "SLURM_STEP_ID" not in environment):
            continue
        if found is None:
            found = Rank(value, number)
        elif found.number != value or number != "SLURM_PROCID":
            continue  # two launchers one within the other: only where both agree can one complete the other
        for field, names in (
            ("size", size),
            ("local_rank", local_rank),
            ("local_size", local_size),
            ("node", node),
            ("n_nodes", n_nodes),
        ):
            if getattr(found, field) is None:
                setattr(found, field, _number(environment, names))
    return found


def check(selection: "str") -> "None":
    """Check the value of `--ranks`.

    Raises:
        FsprobeError: it is neither `all`, `one-per-node` nor a list as `0,8-15`.
    """
    for part in selection.split(","):
        if part in (ALL, ONE_PER_NODE):
            continue
        first, dash, last = part.partition("-")
        if not is_number(first) or (dash and not (is_number(last) and int(last) >= int(first))):
            raise FsprobeError(
                "%r selects no ranks" % selection,
                "--ranks takes all, one-per-node or a list as 0,8-15",
                EXIT_OWN_FAILURE,
            )


def selects(selection: "str", rank: "Rank") -> "bool":
    """Whether `--ranks SELECTION` means this rank. Where no launcher says which ranks share a node, `one-per-node` is rank 0."""
    for part in selection.split(","):
        if part == ALL:
            return True
        if part == ONE_PER_NODE:
            if (rank.number if rank.local_rank is None else rank.local_rank) == 0:
                return True
            continue
        first, dash, last = part.partition("-")
        if int(first) <= rank.number <= int(last if dash else first):
            return True
    return False


def leaves_lookups(selection: "str", rank: "Rank | None") -> "bool":
    """Whether a rank leaves it to the first one of its node to look up what the trace leaves open: that one is recorded too.

    A selection, `all` too, has each rank look for itself: then nothing tells that the first one is recorded.
    """
    return not selection and rank is not None and bool(rank.local_rank)


def selection_warning(selection: "str", rank: "Rank | None") -> "str":
    """What the user should know of a selection that could not be taken at its word; "" where it could."""
    if selection in ("", ALL):
        return ""
    if rank is None:
        return (
            "--ranks %s: no launcher has set a rank here (SLURM_PROCID, OMPI_COMM_WORLD_RANK, PMI_RANK, ...): traced"
            % (selection)
        )
    if ONE_PER_NODE in selection.split(",") and rank.local_rank is None:
        return "--ranks one-per-node: %s does not say which ranks share a node, only rank 0 is traced" % rank.launcher
    return ""


def tagged(path: "str", rank: "Rank | None") -> "str":
    """The name of a recording that was given with -o, made this rank's own: `x.fsprobe` is `x.rank0003.fsprobe`."""
    if rank is None or rank.size == 1:
        return path
    stem, dot, suffix = path.rpartition(".")
    if not stem or "/" in suffix:
        stem, dot, suffix = path, "", ""
    return "%s.rank%04d%s%s" % (stem, rank.number, dot, suffix)


def run_untouched(command: "list[str]", environment: "Mapping[str, str]") -> "None":
    """Become the command.

    Raises:
        FsprobeError: it is not found (127) or can't be executed (126).
    """
    import _signal as signal  # type: ignore[import-not-found]  # the module `signal` itself loads `enum`: 40 calls

    # an interpreter ignores these in itself, and a program inherits what is ignored
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, dict(environment))
    except OSError as error:
        code = EXIT_NOT_FOUND if isinstance(error, (FileNotFoundError, NotADirectoryError)) else EXIT_NOT_EXECUTABLE
        raise FsprobeError("%s: %s" % (command[0], error.strerror), "check the name and PATH", code)
