"""Which controllers there are, and how they are run.

Upstream counterpart: cmd/kube-controller-manager/app/controller_descriptor.go.
"""

from collections.abc import Callable
from typing import Protocol

from knarr.control import Context
from knarr.controllers import (
    attachdetach,
    bootstrapsigner,
    clusterroleaggregation,
    cronjob,
    csrapproving,
    csrcleaner,
    csrsigning,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    endpointslicemirroring,
    ephemeralvolume,
    garbagecollector,
    job_loop,
    legacytokencleaner,
    localpath,
    namespace,
    nodeipam,
    nodelifecycle,
    persistentvolume_loop,
    podgc,
    pvcprotection,
    pvprotection,
    replicaset,
    replicationcontroller,
    resourcequota,
    rootca,
    serviceaccount,
    statefulset_loop,
    tainteviction,
    tokencleaner,
    vacprotection,
    volumeexpand,
)
from knarr.kit.tasks import Supervisor


class Controller(Protocol):
    """What runs."""

    async def run(self) -> None:
        """Work until cancelled."""


Build = Callable[[Context], Controller]

ROSTER: tuple[tuple[str, Build], ...] = (
    ("deployment-controller", deployment.build),
    ("replicaset-controller", replicaset.build),
    ("replication-controller", replicationcontroller.build),
    ("daemon-set-controller", daemonset.build),
    ("statefulset-controller", statefulset_loop.build),
    ("job-controller", job_loop.build),
    ("cronjob-controller", cronjob.build),
    ("ttl-after-finished-controller", job_loop.build_ttl),
    ("endpointslice-controller", endpointslice.build),
    ("endpointslicemirroring-controller", endpointslicemirroring.build),
    ("disruption-controller", disruption.build),
    ("endpoint-controller", endpoints.build),
    ("namespace-controller", namespace.build),
    ("service-account-controller", serviceaccount.build),
    ("root-ca-cert-publisher", rootca.build),
    ("generic-garbage-collector", garbagecollector.build),
    ("clusterrole-aggregation-controller", clusterroleaggregation.build),
    ("resourcequota-controller", resourcequota.build),
    ("persistent-volume-binder", persistentvolume_loop.build),
    ("persistent-volume-binder", localpath.build),
    ("ephemeral-volume-controller", ephemeralvolume.build),
    ("expand-controller", volumeexpand.build),
    ("attachdetach-controller", attachdetach.build),
    ("volumeattributesclass-protection-controller", vacprotection.build),
    ("pvc-protection-controller", pvcprotection.build),
    ("pv-protection-controller", pvprotection.build),
    ("node-controller", nodeipam.build),
    ("node-controller", nodelifecycle.build),
    ("node-controller", tainteviction.build),
    ("pod-garbage-collector", podgc.build),
    ("certificate-controller", csrapproving.build),
    ("certificate-controller", csrsigning.build),
    ("certificate-controller", csrcleaner.build),
    ("bootstrap-signer", bootstrapsigner.build),
    ("token-cleaner", tokencleaner.build),
    ("legacy-service-account-token-cleaner", legacytokencleaner.build),
)
"""Each controller with the service account that it acts as; what looks after nodes shares one, as upstream, and so does what looks
after certificates."""


def run(context: Context, supervisor: Supervisor) -> None:
    """Start all controllers; they run until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-controller-manager", …)` gives it.
        supervisor: Restarts what fails.
    """
    for account, build in ROSTER:
        name = f"{build.__module__.rpartition('.')[2]}.{build.__name__}"
        supervisor.run(name, build(context.named(account)).run)
