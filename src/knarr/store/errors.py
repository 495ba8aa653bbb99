"""What can go wrong in the store."""


class StoreError(Exception):
    """The root of the store's errors."""


class Compacted(StoreError):
    """Raised when a revision is asked for that history no longer holds: answer 410 Gone.

    Attributes:
        requested: The revision asked for.
        oldest: The oldest one that can be read.
    """

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"revision {requested} has been compacted; the oldest one kept is {oldest}")
        self.requested = requested
        self.oldest = oldest


class FutureRevision(StoreError):
    """Raised when a revision is asked for that has not happened yet: "Too large resource version".

    Attributes:
        requested: The revision asked for.
        newest: The newest one.
    """

    def __init__(self, requested: int, newest: int) -> None:
        super().__init__(f"revision {requested} has not happened yet; the newest one is {newest}")
        self.requested = requested
        self.newest = newest


class Unavailable(StoreError):
    """Raised when a write could not be made durable: answer 503. Nothing was written; reads go on."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"the store cannot write to {where}: {why}")
        self.where = where
        self.why = why


class Uncertain(StoreError):
    """Raised when a write may or may not have been made, since its answer was lost: answer 504. Reading shows which."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"the store did not learn whether {where} made the write: {why}")
        self.where = where
        self.why = why


class BadAddress(StoreError):
    """Raised when the place of a store is described in a way that makes no sense."""


class TooLarge(StoreError):
    """Raised when a value is larger than the store takes: answer 413. Nothing was written.

    Attributes:
        size: Of the value, in bytes.
        limit: The largest that is taken.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"etcdserver: request is too large: {size} bytes, the limit is {limit}")
        self.size = size
        self.limit = limit


class Corrupt(StoreError):
    """Raised at start when the stored data is damaged or not ours."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path} cannot be used as a store: {why}. Restore a backup, or move the file away to start with an empty cluster"
        )
        self.path = path
        self.why = why


class InUse(StoreError):
    """Raised at start when another process has the store open."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is in use by another process: stop the other server first")
        self.path = path


class NotEmpty(StoreError):
    """Raised when objects are to be moved to where others stand."""

    def __init__(self, where: str, count: int) -> None:
        super().__init__(f"{where} holds {count} objects already: choose another place, or replace them")
        self.where = where
        self.count = count


class Closed(StoreError):
    """Raised by a write to a store that is closing."""

    def __init__(self) -> None:
        super().__init__("the store is closed")
