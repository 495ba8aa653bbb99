"""ReplicationControllers: ReplicaSets under an older name, with a plain selector.

Upstream counterpart: pkg/controller/replication, which wraps the ReplicaSet controller in the same way.
"""

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import Context, loop
from knarr.controllers import replicaset


def to_replica_set(controller: core_v1.ReplicationController) -> apps_v1.ReplicaSet:
    """Show a ReplicationController as a ReplicaSet."""
    spec = controller.spec or core_v1.ReplicationControllerSpec()
    status = controller.status
    return apps_v1.ReplicaSet(
        metadata=controller.metadata,
        spec=apps_v1.ReplicaSetSpec(
            selector=meta_v1.LabelSelector(matchLabels=spec.selector or {}),
            replicas=spec.replicas,
            minReadySeconds=spec.minReadySeconds,
            template=spec.template,
        ),
        status=None
        if status is None
        else apps_v1.ReplicaSetStatus(
            replicas=status.replicas,
            fullyLabeledReplicas=status.fullyLabeledReplicas,
            readyReplicas=status.readyReplicas,
            availableReplicas=status.availableReplicas,
            observedGeneration=status.observedGeneration,
            conditions=[
                apps_v1.ReplicaSetCondition(
                    type=one.type,
                    status=one.status,
                    reason=one.reason,
                    message=one.message,
                    lastTransitionTime=one.lastTransitionTime,
                )
                for one in status.conditions or ()
            ]
            or None,
        ),
    )


def with_status(
    controller: core_v1.ReplicationController, status: apps_v1.ReplicaSetStatus
) -> core_v1.ReplicationController:
    """Return a ReplicationController with the status of its ReplicaSet form."""
    fresh = core_v1.ReplicationControllerStatus(
        replicas=status.replicas,
        fullyLabeledReplicas=status.fullyLabeledReplicas,
        readyReplicas=status.readyReplicas,
        availableReplicas=status.availableReplicas,
        observedGeneration=status.observedGeneration,
        conditions=[
            core_v1.ReplicationControllerCondition(
                type=one.type or "",
                status=one.status or "",
                reason=one.reason,
                message=one.message,
                lastTransitionTime=one.lastTransitionTime,
            )
            for one in status.conditions or ()
        ]
        or None,
    )
    return replace(controller, status=fresh)


FLAVOR = replicaset.Flavor(core_v1.ReplicationController, "ReplicationController", to_replica_set, with_status)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    return replicaset.build(context, FLAVOR)
