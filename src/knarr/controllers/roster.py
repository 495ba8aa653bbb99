"""Which controllers there are, and how they are run.

Upstream counterpart: cmd/kube-controller-manager/app/controller_descriptor.go.
"""

from collections.abc import Callable

from knarr.control import Context, loop
from knarr.controllers import (
    deployment,
    endpoints,
    endpointslice,
    garbagecollector,
    namespace,
    replicaset,
    rootca,
    serviceaccount,
)
from knarr.kit.tasks import Supervisor

Build = Callable[[Context], loop.Controller]

ROSTER: tuple[tuple[str, Build], ...] = (
    ("deployment-controller", deployment.build),
    ("replicaset-controller", replicaset.build),
    ("endpointslice-controller", endpointslice.build),
    ("endpoint-controller", endpoints.build),
    ("namespace-controller", namespace.build),
    ("service-account-controller", serviceaccount.build),
    ("root-ca-cert-publisher", rootca.build),
    ("generic-garbage-collector", garbagecollector.build),
)
"""Each controller with the service account that it acts as."""


def run(context: Context, supervisor: Supervisor) -> None:
    """Start all controllers; they run until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-controller-manager", …)` gives it.
        supervisor: Restarts what fails.
    """
    for account, build in ROSTER:
        supervisor.run(account, build(context.named(account)).run)
