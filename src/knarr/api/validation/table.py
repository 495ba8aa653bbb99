"""Which rules hold for which kind. A kind that is not listed has the rules of metadata alone, with a subdomain as its name."""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import (
    claims,
    config,
    events,
    groups,
    limits,
    namespaces,
    nodes,
    persistent_volumes,
    pod_resize,
    pod_status,
    pods,
    replication,
    services,
)
from knarr.api.validation.rules import Rules, no_change

TABLE: Mapping[tuple[str, str], Rules] = {
    ("", "Binding"): Rules(pods.binding, name=None),
    ("", "ConfigMap"): Rules(config.config_map, config.config_map_update),
    ("", "Endpoints"): Rules(services.endpoints),
    ("", "Event"): Rules(events.lenient, name=names.name_is_anything),
    ("", "LimitRange"): Rules(limits.limit_range),
    ("", "Namespace"): Rules(
        namespaces.create,
        no_change,
        namespaces.status,
        subresources={"finalize": namespaces.finalize},
        name=names.name_is_label,
    ),
    ("", "Node"): Rules(nodes.create, nodes.update, nodes.update),
    ("", "PersistentVolume"): Rules(persistent_volumes.create, persistent_volumes.update),
    ("", "PersistentVolumeClaim"): Rules(claims.create, claims.update, claims.status),
    ("", "Pod"): Rules(
        pods.create,
        pods.update,
        pod_status.update,
        subresources={"ephemeralcontainers": pods.ephemeral_containers, "resize": pod_resize.update},
    ),
    ("", "PodTemplate"): Rules(replication.template),
    ("", "ReplicationController"): Rules(replication.controller, status=replication.status),
    ("", "ResourceQuota"): Rules(limits.resource_quota, limits.resource_quota_update, limits.resource_quota_status),
    ("", "Secret"): Rules(config.secret, config.secret_update),
    ("", "Service"): Rules(services.create, services.update, services.status, name=names.name_is_label),
    ("", "ServiceAccount"): Rules(),
    ("events.k8s.io", "Event"): Rules(events.create, events.update),
    **groups.RULES,
}
