"""What a member's status tells its administrator: alarms, and files that are mostly empty. Said once when it begins, and when it ends."""

import logging

from knarr.store.etcd import etcd_pb2 as pb

logger = logging.getLogger(__name__)

SMALL_BYTES = 100 << 20
"""A file up to this size is nobody's concern."""
WASTE = 0.5
"""A file with this share of it unused is worth defragmenting."""


def find(member: str, status: pb.StatusResponse) -> dict[str, str]:
    """Return what is to be said of a member, by topic.

    Args:
        member: Its address.
        status: What it says of itself.
    """
    found = {f"alarm {text}": f"etcd member {member} reports {text}" for text in status.errors}
    unused = status.db_size - status.db_size_in_use
    if status.db_size > SMALL_BYTES and status.db_size_in_use and unused > WASTE * status.db_size:
        found["defragmentation"] = (
            f"etcd member {member} holds {status.db_size >> 20} MiB for {status.db_size_in_use >> 20} MiB of data: "
            f"`etcdctl --endpoints={member} defrag` gives the rest back (the member does not answer meanwhile)"
        )
    return found


class Teller:
    """Logs what is new."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, str]] = {}

    def tell(self, member: str, status: pb.StatusResponse) -> None:
        """Say what has begun or ended at a member since it was last asked."""
        before, now = self._said.get(member, {}), find(member, status)
        for topic in now.keys() - before.keys():
            logger.warning("%s", now[topic])
        for topic in before.keys() - now.keys():
            logger.info("etcd member %s: %s is over", member, topic)
        self._said[member] = now
