"""What takes calls one by one, given only those that may tell it something new: the rules' watch, and the request model."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.columns.counted import Rows
from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.columns.slots import Columns, Ints
from fsprobe.analysis.findings.watch import SPAWN, Watch, counts_each, is_worker, is_worth_a_look, watch
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.steps import Steps, changes_tree, is_told_again, told_of
from fsprobe.model.events import Call, Op

Flags = NDArray[np.bool_]


def fill_watch(seen: Watch, rows: Rows) -> None:
    """Let the rules' watch see all rows: those of which it counts no more than how many there are, once each."""
    contexts, columns = rows.contexts, rows.columns
    is_metadata = ~rows.own & ~rows.of_shapes(lambda call: call.op is Op.OTHER)[rows.shape]
    places = np.flatnonzero(is_metadata)
    if not len(places):
        return
    shape, context = rows.shape[places], rows.context[places]
    process = np.array(contexts.process_of, dtype=np.int64)[context]
    phase = np.array(contexts.phase_of, dtype=np.int64)[context]
    imports = np.array(contexts.import_of, dtype=np.int64)
    stacks = [(module, node.stack()) for module, node in contexts.imports]
    is_counted = np.array([counts_each(module, stack) for module, stack in stacks], dtype=bool)
    tells = np.array([bool(stack) and stack[0].name.startswith("multiprocessing") for _, stack in stacks], dtype=bool)
    spawns = np.array([bool(stack) and stack[0].name == SPAWN for _, stack in stacks], dtype=bool)
    in_import = np.array([name == "import" for name in contexts.phases], dtype=bool)
    in_init = np.array([name == "init" for name in contexts.phases], dtype=bool)
    keys = [info.key for info in contexts.processes]
    apart = {keys[contexts.process_of[number]] for number in np.flatnonzero(spawns[imports]).tolist()}
    apart |= {info.key for info in contexts.processes if is_worker(info.label)}
    is_apart = np.array([key in apart for key in keys], dtype=bool)
    is_import = in_import[phase]
    is_stat = rows.of_shapes(lambda call: call.op is Op.STAT)[shape]
    chosen = is_apart[process] | in_init[phase] | is_counted[imports[context]] | rows.of_shapes(is_worth_a_look)[shape]
    n_phases, n_keys = len(contexts.phases), len(keys)
    plainly = ~is_counted[imports[context]]
    chosen[group((process * n_phases + phase) * 2 + plainly, n_keys * n_phases * 2).first] = True
    outermost = np.flatnonzero(is_import & tells[imports[context]])
    chosen[outermost[group(context[outermost], len(contexts.process_of)).first]] = True
    n_shapes = len(columns.shapes.calls)
    stats = np.flatnonzero(is_import & is_stat)
    chosen[stats[group(shape[stats], n_shapes).first]] = True
    for _ in watch(rows.each_attributed(places[chosen]), seen):
        pass
    # the rest are as many more of the same
    rest = ~chosen
    _fill_modules(seen, rows, keys, group(context[rest & is_import & plainly], len(contexts.process_of)).keys)
    left = group(process[rest] * n_phases + phase[rest], len(keys) * n_phases)
    for key, n in zip(left.keys.tolist(), left.counts.tolist(), strict=True):
        number, name = divmod(key, n_phases)
        seen.phases[keys[number]][contexts.phases[name]] += n
    left = group(shape[rest & is_import & is_stat], n_shapes)
    for number, n in zip(left.keys.tolist(), left.counts.tolist(), strict=True):
        seen.import_stats[columns.shapes.calls[number].path] += n
    last = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(last, process, columns.t_ns[rows.row[places]])
    for number in group(process, len(keys)).keys.tolist():
        span = seen.spans[keys[number]]
        span[1] = max(span[1], int(last[number]))


def _fill_modules(seen: Watch, rows: Rows, keys: list[str], numbers: Ints) -> None:
    contexts = rows.contexts
    names = [module for module, _ in contexts.imports]
    processes = np.array(contexts.process_of, dtype=np.int64)[numbers]
    order = np.argsort(processes, kind="stable")
    processes = processes[order]
    modules = [names[number] for number in np.array(contexts.import_of, dtype=np.int64)[numbers[order]].tolist()]
    begins = [*np.flatnonzero(np.diff(processes, prepend=-1)).tolist(), len(modules)]
    for begin, end in pairwise(begins):
        seen.modules[keys[int(processes[begin])]].update(modules[begin:end])


def fill_steps(
    model: RequestModel, rows: Rows, emitted: Ints, statuses: Sequence[tuple[int, Callable[[], None]]]
) -> None:
    """Let the request model take in all rows: of those that are alike, with no change of the tree in between, the first, with their number.

    Args:
        model: takes them in.
        rows: the attributed calls.
        emitted: of each the row at which it was attributed.
        statuses: of open descriptors, where the model wants to know them: the row of the open, and what tells the model of it.
    """
    columns, contexts, taken = rows.columns, rows.contexts, model.taken
    places = np.flatnonzero(~rows.own)
    shape = rows.shape[places]
    modules: dict[str, int] = {}
    of_import = np.array([modules.setdefault(name, len(modules)) for name, _ in contexts.imports], dtype=np.int64)
    module = of_import[np.array(contexts.import_of, dtype=np.int64)[rows.context[places]]]
    epoch = np.cumsum(rows.of_shapes(changes_tree)[shape])
    alone = _alone(columns.shapes.calls)[shape]
    n_modules, n_shapes = len(modules), len(columns.shapes.calls)
    n_keys = (int(epoch[-1]) + 1 if len(epoch) else 1) * n_shapes * n_modules
    if n_keys >= 1 << 62:
        alone[:] = True  # more than a number can tell apart
    key = (epoch * n_shapes + shape) * n_modules + module
    alike = np.flatnonzero(~alone)
    found = group(key[alike], n_keys)
    number_of = np.ones(len(places), dtype=np.int64)
    first = alike[found.first]
    number_of[first] = found.counts
    chosen = alone.copy()
    chosen[first] = True
    chosen_places = np.flatnonzero(chosen)
    names, at, made = list(modules), 0, []
    for place, call, which, n in zip(
        chosen_places.tolist(),
        columns.calls(rows.row[places[chosen]]),
        module[chosen].tolist(),
        number_of[chosen].tolist(),
        strict=True,
    ):
        while at < len(statuses) and statuses[at][0] <= emitted[places[place]]:
            statuses[at][1]()
            at += 1
        taken.add(call, names[which], n)
        made.append(taken.order[-1] if taken.order else -1)
    for _, tell in statuses[at:]:
        tell()
    if taken.keeps_order:
        step = np.zeros(len(places), dtype=np.int64)
        step[chosen_places] = made
        order = np.argsort(found.keys)
        step[alike] = step[first][order][np.searchsorted(found.keys[order], key[alike])]
        is_placed = rows.of_shapes(lambda call: call.path[:1] == b"/")[shape]
        _note_all(
            taken, columns, rows.row[places[is_placed]], step[is_placed], [names[n] for n in module[is_placed].tolist()]
        )


def _note_all(taken: Steps, columns: Columns, rows: Ints, steps: Ints, modules: list[str]) -> None:
    """Put all calls into the model's columns, in which only the chosen ones are."""
    taken.order = array("I", steps.astype(np.uint32).tobytes())
    taken.times_ns = array("q", columns.t_ns[rows].tobytes())
    taken.tids = array("q", columns.tid[rows].astype(np.int64).tobytes())
    taken.modules = array("I", map(taken.module_names.__getitem__, modules))


def _alone(calls: list[Call]) -> Flags:
    """Which of the distinct calls have to be taken in each by itself."""
    told = [told_of(call) for call in calls]
    of_path: dict[tuple[str, bytes], set[Hashable]] = {}
    for call, what in zip(calls, told, strict=True):
        if what is not None:
            of_path.setdefault((call.op, call.path), set()).add(what)
    return np.array(
        [
            not is_told_again(call) or (what is not None and len(of_path[call.op, call.path]) > 1)
            for call, what in zip(calls, told, strict=True)
        ],
        dtype=bool,
    )
