"""How far ahead of those who write into a ring its slots are kept allocated, and how soon it is looked at again.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe.capture.backends.inline import ringfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 0.02
"""Between two looks: a thread that does nothing but stat uses up 32,768 slots in 38 ms."""
QUIET_TICK_S = 0.1
"""... at a run that makes few calls: each look wakes a processor. A program that bursts out meanwhile waits for slots (`ring.c`)."""
QUIET_AFTER = 50
"""So many looks in a row have to find little."""
QUIET_SHARE = 1 / 64
"""Little is less than this of what is kept ready."""
AHEAD_OF_A_TICK = 8
"""So many times what was written in the last tick is kept ready."""
MAX_AHEAD = 1 << 20
"""256 MiB: what is kept ready at the most."""


class Growth:
    """The growth of one ring.

    Args:
        ahead: slots that are ready at first, and at the least.
        most: slots at last.
        most_ahead: slots that are kept ready at the most.
        has_room: asked before it grows whether so many bytes more may be taken.
        may_skip: see `ringfile.grow`.
    """

    def __init__(
        self,
        ahead: "int" = ringfile.AHEAD,
        most: "int" = ringfile.MOST,
        most_ahead: "int" = MAX_AHEAD,
        has_room: "Callable[[int], bool] | None" = None,
        may_skip: "bool" = False,
    ) -> "None":
        self.ahead, self.most, self.most_ahead = ahead, most, most_ahead
        self.has_room, self.may_skip = has_room, may_skip
        self.n_taken = 0
        """Slots that were asked for."""
        self.n_slots = 0
        """Slots that there are."""
        self.n_quiet = 0
        """Looks, the last ones, that found little."""

    @property
    def tick_s(self) -> "float":
        """Until the next look."""
        return TICK_S if self.n_quiet < QUIET_AFTER else QUIET_TICK_S

    def look(self, ring: "int") -> "bool":
        """Keep slots allocated ahead of those who write: what lies behind would be a SIGBUS in a full tmpfs.

        Returns:
            whether the ring can still be looked at, and says what can be.
        """
        try:
            taken, self.n_slots = ringfile.grow(ring, self.ahead, self.most, self.has_room, self.may_skip)
        except OSError:
            return False
        if taken < self.n_taken:
            return False  # a program has written into the header
        written = taken - self.n_taken
        self.n_quiet = self.n_quiet + 1 if written < QUIET_SHARE * self.ahead else 0
        self.ahead = min(self.most_ahead, max(self.ahead, AHEAD_OF_A_TICK * written))
        self.n_taken = taken
        return True
