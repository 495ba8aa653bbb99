"""Reads at "most recent" see what any server has acknowledged, and writes begin from there.

Where servers share a store, what stands in this one's memory may be behind. A request that asks for any version (0), or for one that is
here already, is answered from memory; the others wait until this server has caught up, which costs etcd one confirmed read
that all who wait share.

Counterpart: ConsistentListFromCache, k8s.io/apiserver/pkg/storage/cacher/cacher.go and lister_watcher.go (v1.37).
"""

from knarr.apiserver import options
from knarr.apiserver.parts import Call, Parts

_READS = ("get", "list", "watch")


async def wait(parts: Parts, call: Call) -> None:
    """Wait until the store may answer a request.

    Raises:
        Unavailable: The store that servers share does not answer.
    """
    info = call.info
    if not info.is_resource_request:
        return
    if info.verb in _READS and call.values:
        version = options.text(call.values, "resourceVersion")
        if version.isascii() and version.isdecimal() and int(version[:20]) <= parts.store.revision:
            return
    await parts.store.catch_up()
