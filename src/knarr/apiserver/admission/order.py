"""Which admission plugins run, in upstream's order.

Source: pkg/kubeapiserver/options/plugins.go (v1.37).
"""

from collections.abc import Callable

from knarr.apiserver.admission import (
    certificates,
    default_ingress_class,
    default_storage_class,
    default_toleration_seconds,
    limit_ranger,
    mutating_admission_policy,
    namespace_lifecycle,
    node_restriction,
    owner_references_permission_enforcement,
    persistent_volume_claim_resize,
    pod_security,
    priority,
    rbac_escalation,
    resource_quota,
    runtime_class,
    service_account,
    storage_object_in_use_protection,
    taint_nodes_by_condition,
    validating_admission_policy,
    webhooks,
)
from knarr.apiserver.admission.chain import Chain, Context, Plugin, Shapes
from knarr.apiserver.admission.measures import Durations
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.config import Config
from knarr.apiserver.registry import Registry
from knarr.apiserver.webhooks import Webhooks

ORDER: tuple[Callable[[Context], Plugin], ...] = (
    namespace_lifecycle.build,
    limit_ranger.build,
    service_account.build,
    node_restriction.build,
    taint_nodes_by_condition.build,
    pod_security.build,
    priority.build,
    default_toleration_seconds.build,
    default_storage_class.build,
    storage_object_in_use_protection.build,
    owner_references_permission_enforcement.build,
    persistent_volume_claim_resize.build,
    runtime_class.build,
    certificates.build_approval,
    certificates.build_signing,
    certificates.build_attest,
    certificates.build_subject_restriction,
    default_ingress_class.build,
    rbac_escalation.build,
    mutating_admission_policy.build,
    webhooks.build_mutating,
    validating_admission_policy.build,
    webhooks.build_validating,
    resource_quota.build,
)
OPTIONAL = frozenset({"OwnerReferencesPermissionEnforcement"})
"""Names of the plugins that run only where they are enabled."""


def build(
    config: Config,
    registry: Registry,
    authorizer: Authorizer,
    callers: Webhooks,
    shapes: Shapes,
    durations: Durations | None = None,
) -> Chain:
    """Assemble the chain.

    Args:
        config: Tells which plugins are left out and which optional ones run.
        registry: Reads and writes objects.
        authorizer: Answers whether a user may do something.
        callers: Calls webhooks.
        shapes: Converts and completes objects.
        durations: Notes how long plugins and webhooks take; None notes it for nobody.
    """
    context = Context(registry, authorizer, config.clock, config.random, callers, shapes, durations or Durations())
    plugins = [build_plugin(context) for build_plugin in ORDER]
    off = (OPTIONAL - set(config.enabled_admission)) | set(config.disabled_admission)
    return Chain((plugin for plugin in plugins if plugin.name not in off), durations)
