from knarr.client import discovery
from tests.controllers.lab import open_lab


async def test_every_resource_is_found_once_in_its_preferred_version() -> None:
    async with open_lab() as lab:
        found = {one.qualified: one for one in await discovery.resources(lab.client)}
    pods = found["pods"]
    assert (pods.kind, pods.namespaced, pods.api_version) == ("Pod", True, "v1")
    assert {"delete", "list", "watch"} <= set(pods.verbs)
    assert found["horizontalpodautoscalers.autoscaling"].version == "v2"
    assert not any("/" in one.plural for one in found.values())
