"""`dataclass`, as the library's, at a quarter of the price of a class: what few classes of a run are asked for is made when they are.

The library writes and compiles up to seven methods of each class, half of the time that loading a report's modules took. Here the
constructor is the library's too, but made when there is a first value; comparing, hashing and showing are shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter
    from reprlib import recursive_repr

    def dataclass(*, frozen=False, slots=False, kw_only=False):
        """As `dataclasses.dataclass`; a class whose fields are not all alike is left to that."""

        def make(cls):
            own = dict(vars(cls))
            special = [one for one in own.values() if isinstance(one, dataclasses.Field)]
            if "__post_init__" in own or any(not (one.init and one.repr and one.compare) for one in special):
                return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only)(cls)
            made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
            for name, method in _methods(made, frozen, slots).items():
                if name not in own:
                    setattr(made, name, method)
            return made

        return make

    def _methods(made, frozen, slots):
        names = tuple(one.name for one in dataclasses.fields(made))
        one_or_all = attrgetter(*names)

        def __init__(self, /, *args, **kwargs):
            made.__init__ = _constructor(made, frozen)
            made.__init__(self, *args, **kwargs)

        def __eq__(self, other):
            return one_or_all(self) == one_or_all(other) if other.__class__ is self.__class__ else NotImplemented

        @recursive_repr()
        def __repr__(self):
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{self.__class__.__qualname__}({values})"

        methods = {"__init__": __init__, "__eq__": __eq__, "__repr__": __repr__, "__hash__": None}
        if frozen:

            def __hash__(self):
                return hash(one_or_all(self))

            methods |= {"__hash__": __hash__, "__setattr__": _refuse_set, "__delattr__": _refuse_delete}
            if slots:
                methods |= {"__getstate__": _state, "__setstate__": _set_state}
        return methods

    def _constructor(made, frozen):
        """The library's, made of the same fields."""
        fields = dataclasses.fields(made)
        twin = {
            "__annotations__": {one.name: one.type for one in fields},
            "__module__": made.__module__,
            "__doc__": made.__doc__ or "-",
        }
        for one in fields:
            twin[one.name] = dataclasses.field(
                default=one.default, default_factory=one.default_factory, kw_only=one.kw_only
            )
        maker = dataclasses.dataclass(frozen=frozen, repr=False, eq=False)
        constructor = maker(type(made.__name__, (), twin)).__init__
        constructor.__qualname__ = f"{made.__qualname__}.__init__"
        return constructor

    def _refuse_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _names(value):
        return [one.name for one in dataclasses.fields(value)]

    def _state(self):
        return [getattr(self, name) for name in _names(self)]

    def _set_state(self, state):
        for name, value in zip(_names(self), state, strict=True):
            object.__setattr__(self, name, value)
