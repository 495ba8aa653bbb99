"""Which of several classes is the default one."""

from collections.abc import Iterable, Sequence

from knarr.apiserver.admission.chain import Object


def choose(classes: Iterable[Object], annotations: Sequence[str]) -> Object | None:
    """Return the class marked as the default: of several the newest, of equally new ones the first by name.

    Args:
        classes: All there are.
        annotations: Any of them, if "true", marks a default.
    """
    marked = [
        one
        for one in classes
        if any((one["metadata"].get("annotations") or {}).get(key) == "true" for key in annotations)
    ]
    marked.sort(key=lambda one: str(one["metadata"]["name"]))
    return max(marked, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), default=None)
