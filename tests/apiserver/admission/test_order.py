"""The chain as a server gets it."""

from knarr.apiserver import admission
from knarr.apiserver.admission.shapes import Shaper
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.authz.rbac import Rbac
from knarr.apiserver.config import Config
from knarr.apiserver.webhooks import Webhooks
from knarr.kit.clock import FakeClock
from knarr.store.memory import MemoryBackend
from tests.apiserver.access import open_registry


async def names(**settings: tuple[str, ...]) -> list[str]:
    async with open_registry(FakeClock()) as registry:
        rbac = Rbac(registry)
        config = Config(backend=MemoryBackend(), clock=FakeClock(), **settings)  # type: ignore[arg-type]
        return [
            plugin.name
            for plugin in admission.build(
                config, registry, Authorizer((rbac,), rbac), Webhooks(registry, config.random), Shaper()
            ).plugins
        ]


async def test_order_and_choice_of_plugins() -> None:
    listed = await names()
    assert listed[:4] == ["NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction"]
    assert listed[-1] == "ResourceQuota"
    assert "OwnerReferencesPermissionEnforcement" not in listed
    chosen = await names(
        disabled_admission=("PodSecurity",), enabled_admission=("OwnerReferencesPermissionEnforcement",)
    )
    assert set(listed) ^ set(chosen) == {"PodSecurity", "OwnerReferencesPermissionEnforcement"}
