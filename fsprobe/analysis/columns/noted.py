"""What takes calls one by one, given only those that may tell it something new: the rules' watch, and the request model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.columns.counted import Rows
from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.columns.slots import Ints
from fsprobe.analysis.findings.watch import SPAWN, Watch, counts_each, is_worker, is_worth_a_look, watch
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.steps import changes_tree, is_told_again, kind_told
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
    for _ in watch((rows.attributed(place) for place in places[chosen].tolist()), seen):
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


def fill_steps(model: RequestModel, rows: Rows) -> None:
    """Let the request model take in all rows, which need not be in their order: calls that are alike once, with their number."""
    columns, contexts, taken = rows.columns, rows.contexts, model.taken
    places = np.flatnonzero(~rows.own)
    shape = rows.shape[places]
    modules: dict[str, int] = {}
    of_import = np.array([modules.setdefault(name, len(modules)) for name, _ in contexts.imports], dtype=np.int64)
    module = of_import[np.array(contexts.import_of, dtype=np.int64)[rows.context[places]]]
    changes = rows.of_shapes(changes_tree)[shape]
    alone = _alone(columns.shapes.calls)[shape]
    epoch = np.cumsum(changes)
    n_modules, n_shapes = len(modules), len(columns.shapes.calls)
    n_epochs = int(epoch[-1]) + 1 if len(epoch) else 1
    if n_epochs * n_shapes * n_modules >= 1 << 62:
        alone[:] = True  # more than a number can tell apart
    alike = np.flatnonzero(~alone)
    found = group((epoch[alike] * n_shapes + shape[alike]) * n_modules + module[alike], n_epochs * n_shapes * n_modules)
    number_of = np.ones(len(places), dtype=np.int64)
    first = alike[found.first]
    number_of[first] = found.counts
    chosen = alone.copy()
    chosen[first] = True
    names = list(modules)
    for place, which, n in zip(
        rows.row[places[chosen]].tolist(), module[chosen].tolist(), number_of[chosen].tolist(), strict=True
    ):
        taken.add(columns.call(place), names[which], n)


def _alone(calls: list[Call]) -> Flags:
    """Which of the distinct calls have to be taken in each by itself."""
    kinds: dict[bytes, set[int]] = {}
    told = [kind_told(call) for call in calls]
    for call, kind in zip(calls, told, strict=True):
        if kind is not None:
            kinds.setdefault(call.path, set()).add(kind)
    changing = {path for path, found in kinds.items() if len(found) > 1}
    return np.array(
        [
            not is_told_again(call) or (kind is not None and call.path in changing)
            for call, kind in zip(calls, told, strict=True)
        ],
        dtype=bool,
    )


def fill_steps_in_order(
    model: RequestModel, rows: Rows, emitted: Ints, statuses: list[tuple[int, Callable[[], None]]]
) -> None:
    """The same where the order counts: each row, and between them the statuses of descriptors at their rows."""
    taken, contexts, columns = model.taken, rows.contexts, rows.columns
    at = 0
    for place in np.flatnonzero(~rows.own).tolist():
        row = emitted[place]
        while at < len(statuses) and statuses[at][0] <= row:
            statuses[at][1]()
            at += 1
        taken.add(columns.call(int(rows.row[place])), contexts.imports[contexts.import_of[int(rows.context[place])]][0])
    for _, tell in statuses[at:]:
        tell()
