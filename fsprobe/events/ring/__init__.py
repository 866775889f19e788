"""Read the inline recorder's ring: slots in, the events that the strace parser gives for the same run out.

    facts = RingFacts()
    for event in read(data, ParseQuality(), facts): ...

The ring is hostile input: any process of the run may have written into it.
"""

from fsprobe.events.ring.facts import Loss, ObjectSites, Reads, RingFacts, Usage
from fsprobe.events.ring.live import Growing, follow
from fsprobe.events.ring.repeated import read
from fsprobe.events.ring.slots import Buffer

__all__ = ["Buffer", "Growing", "Loss", "ObjectSites", "Reads", "RingFacts", "Usage", "follow", "read"]
