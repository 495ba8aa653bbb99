"""Which rules hold for which kind. A kind that is not listed has the rules of metadata alone, with a subdomain as its name."""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import claims, config, pod_status, pods, services
from knarr.api.validation.rules import Rules

TABLE: Mapping[tuple[str, str], Rules] = {
    ("", "Binding"): Rules(pods.binding, name=None),
    ("", "ConfigMap"): Rules(config.config_map, config.config_map_update),
    ("", "Endpoints"): Rules(services.endpoints),
    ("", "PersistentVolumeClaim"): Rules(claims.create, claims.update, claims.status),
    ("", "Pod"): Rules(
        pods.create, pods.update, pod_status.update, subresources={"ephemeralcontainers": pods.ephemeral_containers}
    ),
    ("", "Secret"): Rules(config.secret, config.secret_update),
    ("", "Service"): Rules(services.create, services.update, services.status, name=names.name_is_label),
}
