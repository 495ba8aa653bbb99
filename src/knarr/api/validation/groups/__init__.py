"""Validation of the kinds outside the core group, one module a group.

`RULES` is their part of the table of kinds, `validation.table.TABLE`.
"""

from collections.abc import Mapping

from knarr.api.validation.groups import (
    admissionregistration,
    apiextensions,
    apiregistration,
    apps,
    autoscaling,
    batch,
    certificates,
    coordination,
    discovery,
    flowcontrol,
    networking,
    node,
    policy,
    rbac,
    resource,
    scheduling,
    storage,
)
from knarr.api.validation.rules import Rules

RULES: Mapping[tuple[str, str], Rules] = {
    **admissionregistration.RULES,
    **apiextensions.RULES,
    **apiregistration.RULES,
    **apps.RULES,
    **autoscaling.RULES,
    **batch.RULES,
    **certificates.RULES,
    **coordination.RULES,
    **discovery.RULES,
    **flowcontrol.RULES,
    **networking.RULES,
    **node.RULES,
    **policy.RULES,
    **rbac.RULES,
    **resource.RULES,
    **scheduling.RULES,
    **storage.RULES,
}
