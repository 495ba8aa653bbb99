"""The configured webhooks in the order in which they are called: by the names of their configurations, then as listed.

They are read when they are first needed and again after a configuration has changed, so that a request pays nothing where there
are none.

Source: k8s.io/apiserver/pkg/admission/configuration/{mutating,validating}_webhook_manager.go (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api.policies import expressions
from knarr.apiserver.registry import Registry

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook.

    Attributes:
        uid: Names it among all: configuration, name, and which one of that name.
        name: Its name.
        configuration: The name of its configuration.
        spec: Its entry in the configuration.
        conditions: Its match conditions, compiled.
    """

    uid: str
    name: str
    configuration: str
    spec: Mapping[str, Any]
    conditions: tuple[tuple[str, expressions.Expression], ...] = ()

    @property
    def fails_open(self) -> bool:
        """Whether a request goes on if the webhook cannot be asked."""
        return self.spec.get("failurePolicy") == "Ignore"

    @property
    def timeout_s(self) -> float:
        """How long a call may take."""
        return float(self.spec.get("timeoutSeconds") or 10)

    @property
    def review_version(self) -> str:
        """The first version of AdmissionReview that both sides know; empty if there is none."""
        for version in self.spec.get("admissionReviewVersions") or ():
            if version in ("v1", "v1beta1"):
                found: str = version
                return found
        return ""


class Source:
    """The webhooks of one kind of configuration.

    Args:
        registry: Has the configurations.
        resource: "mutatingwebhookconfigurations" or "validatingwebhookconfigurations", with the group.
    """

    def __init__(self, registry: Registry, resource: str) -> None:
        self._registry = registry
        self._resource = resource
        self._hooks: tuple[Hook, ...] | None = None
        registry.subscribe(resource, self._on_change)

    def hooks(self) -> tuple[Hook, ...]:
        """Return all webhooks."""
        if self._hooks is None:
            found = sorted(self._registry.list(self._resource), key=lambda one: str(one["metadata"]["name"]))
            self._hooks = tuple(hook for one in found for hook in _hooks(one))
        return self._hooks

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._hooks = None


def _hooks(configuration: Object) -> list[Hook]:
    owner, found = configuration["metadata"]["name"], []
    seen: dict[str, int] = {}
    for spec in configuration.get("webhooks") or ():
        name = spec["name"]
        number = seen.get(name, 0)
        seen[name] = number + 1
        compiler = expressions.Compiler(has_params=False, has_variables=False)
        conditions = expressions.compile_conditions(spec.get("matchConditions") or (), compiler)
        found.append(Hook(f"{owner}/{name}/{number}", name, owner, spec, tuple(conditions)))
    return found
