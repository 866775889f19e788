"""Our `dataclass` gives what the library's gives, for the kinds of classes that fsprobe has."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from fsprobe.dataclass import dataclass


def frozen(maker):
    @maker(frozen=True, slots=True, kw_only=True)
    class Row:
        """A row."""

        path: bytes
        n: int = 3
        more: dict[str, int] = dataclasses.field(default_factory=dict)

        @property
        def twice(self) -> int:
            return 2 * self.n

    return Row


def changing(maker):
    @maker(slots=True)
    class Count:
        """A count."""

        n: int
        more: list[object] = dataclasses.field(default_factory=list)

    return Count


def single(maker):
    @maker(frozen=True, slots=True)
    class Single:
        """One field."""

        n: int

    return Single


def inherited(maker):
    Base = single(maker)

    @maker(frozen=True, slots=True)
    class Pair(Base):
        """Two."""

        m: int = 2

    return Pair


def tell(what):
    """What comes of a call, as far as names of classes do not differ."""
    try:
        return what()
    except Exception as error:
        return type(error), str(error).split(".")[-1]


def behaviour(maker, seen):
    """What values of such classes do."""
    Row, Count, Single, Pair = frozen(maker), changing(maker), single(maker), inherited(maker)
    if seen:  # the constructor that the first value has made
        Row(path=b""), Count(0), Single(0), Pair(0)
    row, count = Row(path=b"/a"), Count(1)
    told = [
        tell(lambda: Row(b"/a")),
        tell(Row),
        tell(lambda: Row(path=b"/a", other=1)),
        tell(lambda: Count(1, [], 2)),
        tell(lambda: setattr(row, "n", 4)),
        tell(lambda: delattr(row, "n")),
        tell(lambda: hash(count)),
        tell(lambda: hash(row)),
        hash(Single(4)) == hash(Single(4)) and len({Single(4), Single(4), Single(5)}),
        hash(Pair(4, m=5)) == hash((4, 5)),
        repr(row).split(">.")[-1], repr(count).split(">.")[-1], repr(Pair(1)).split(">.")[-1],
        row == Row(path=b"/a"), row != Row(path=b"/b"), count == Count(1), Single(1) == Pair(1), Single(1) == 1,
        Row.__doc__, Row.__match_args__, Count.__match_args__, Row.__slots__, Pair.__slots__,
        [(one.name, one.type, one.kw_only) for one in dataclasses.fields(Pair)],
        dataclasses.astuple(dataclasses.replace(row, n=9)), dataclasses.asdict(row), row.twice,
        Row(path=b"").more is Row(path=b"").more, hasattr(row, "__dict__"),
        copy.copy(row) == row, copy.deepcopy(count) == count,
    ]  # fmt: skip
    count.more.append(count)
    return [*told, repr(count).split(">.")[-1]]


@pytest.mark.parametrize("seen", [0, 1])
def test_values_behave_as_the_librarys(seen):
    assert behaviour(dataclass, seen) == behaviour(dataclasses.dataclass, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A value that another process gets."""

    n: int
    name: str = "a"


def test_values_go_to_other_processes():
    sent = Sent(n=1)
    assert pickle.loads(pickle.dumps(sent)) == sent
    with pytest.raises(dataclasses.FrozenInstanceError):
        pickle.loads(pickle.dumps(sent)).n = 2


def test_a_class_that_completes_itself_is_the_librarys():
    @dataclass(slots=True)
    class Made:
        n: int
        twice: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.twice = 2 * self.n

    assert Made(2).twice == 4


def test_own_methods_stay():
    @dataclass(frozen=True, slots=True)
    class Named:
        n: int

        def __repr__(self) -> str:
            return "named"

    assert repr(Named(1)) == "named"
