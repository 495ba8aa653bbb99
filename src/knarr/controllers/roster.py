"""Which controllers there are, and how they are run.

Upstream counterpart: cmd/kube-controller-manager/app/controller_descriptor.go.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    descheduler,
    disruption,
    endpoints,
    endpointslice,
    endpointslicemirroring,
    ephemeralvolume,
    garbagecollector,
    horizontalpodautoscaler,
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
    recommender,
    replicaset,
    replicationcontroller,
    resourceclaim,
    resourcequota,
    rootca,
    serviceaccount,
    servicecidrs,
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


@dataclass(frozen=True, slots=True)
class Entry:
    """A controller.

    Attributes:
        name: As upstream's `--controllers` names it.
        account: The service account in kube-system that it acts as.
        build: Assembles it.
        is_default: Whether it runs unless told not to.
    """

    name: str
    account: str
    build: Build
    is_default: bool = True


class UnknownController(ValueError):
    """Raised when a selection names a controller that there is none of."""

    def __init__(self, name: str) -> None:
        super().__init__(f'"{name}" is not in the list of known controllers: {", ".join(one.name for one in ROSTER)}')


ROSTER: tuple[Entry, ...] = (
    Entry("deployment-controller", "deployment-controller", deployment.build),
    Entry("replicaset-controller", "replicaset-controller", replicaset.build),
    Entry("replicationcontroller-controller", "replication-controller", replicationcontroller.build),
    Entry("daemonset-controller", "daemon-set-controller", daemonset.build),
    Entry("statefulset-controller", "statefulset-controller", statefulset_loop.build),
    Entry("job-controller", "job-controller", job_loop.build),
    Entry("cronjob-controller", "cronjob-controller", cronjob.build),
    Entry("ttl-after-finished-controller", "ttl-after-finished-controller", job_loop.build_ttl),
    Entry("endpointslice-controller", "endpointslice-controller", endpointslice.build),
    Entry("endpointslice-mirroring-controller", "endpointslicemirroring-controller", endpointslicemirroring.build),
    Entry("disruption-controller", "disruption-controller", disruption.build),
    Entry("endpoints-controller", "endpoint-controller", endpoints.build),
    Entry("namespace-controller", "namespace-controller", namespace.build),
    Entry("serviceaccount-controller", "service-account-controller", serviceaccount.build),
    Entry("root-ca-certificate-publisher-controller", "root-ca-cert-publisher", rootca.build),
    Entry("horizontal-pod-autoscaler-controller", "horizontal-pod-autoscaler", horizontalpodautoscaler.build),
    Entry("garbage-collector-controller", "generic-garbage-collector", garbagecollector.build),
    Entry("clusterrole-aggregation-controller", "clusterrole-aggregation-controller", clusterroleaggregation.build),
    Entry("resourcequota-controller", "resourcequota-controller", resourcequota.build),
    Entry("persistentvolume-binder-controller", "persistent-volume-binder", persistentvolume_loop.build),
    Entry("local-path-provisioner", "persistent-volume-binder", localpath.build),
    Entry("ephemeral-volume-controller", "ephemeral-volume-controller", ephemeralvolume.build),
    Entry("persistentvolume-expander-controller", "expand-controller", volumeexpand.build),
    Entry("persistentvolume-attach-detach-controller", "attachdetach-controller", attachdetach.build),
    Entry(
        "volumeattributesclass-protection-controller",
        "volumeattributesclass-protection-controller",
        vacprotection.build,
    ),
    Entry("persistentvolumeclaim-protection-controller", "pvc-protection-controller", pvcprotection.build),
    Entry("persistentvolume-protection-controller", "pv-protection-controller", pvprotection.build),
    Entry("node-ipam-controller", "node-controller", nodeipam.build),
    Entry("node-lifecycle-controller", "node-controller", nodelifecycle.build),
    Entry("taint-eviction-controller", "node-controller", tainteviction.build),
    Entry("service-cidr-controller", "service-cidrs-controller", servicecidrs.build),
    Entry("resourceclaim-controller", "resource-claim-controller", resourceclaim.build),
    Entry("pod-garbage-collector-controller", "pod-garbage-collector", podgc.build),
    Entry("certificatesigningrequest-approving-controller", "certificate-controller", csrapproving.build),
    Entry("certificatesigningrequest-signing-controller", "certificate-controller", csrsigning.build),
    Entry("certificatesigningrequest-cleaner-controller", "certificate-controller", csrcleaner.build),
    Entry("bootstrap-signer-controller", "bootstrap-signer", bootstrapsigner.build),
    Entry("token-cleaner-controller", "token-cleaner", tokencleaner.build),
    Entry(
        "legacy-serviceaccount-token-cleaner-controller",
        "legacy-service-account-token-cleaner",
        legacytokencleaner.build,
    ),
    Entry("descheduler", "descheduler", descheduler.build, is_default=False),
    Entry("vertical-recommender", "vertical-recommender", recommender.build, is_default=False),
)
"""All controllers. What looks after nodes shares a service account, as upstream, and so does what looks after certificates and volumes."""


def run(context: Context, supervisor: Supervisor, entries: Iterable[Entry] | None = None) -> None:
    """Start controllers; they run until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-controller-manager", …)` gives it.
        supervisor: Restarts what fails.
        entries: Which, as `select` gives them; None takes those that run by default.
    """
    for one in select(["*"]) if entries is None else entries:
        supervisor.run(one.name, one.build(context.named(one.account)).run)


def select(selection: Sequence[str]) -> list[Entry]:
    """Return the controllers that a selection means.

    Args:
        selection: "*" means all that run by default, "name" that one, "-name" all but that one, "-*" none but those named.

    Raises:
        UnknownController: It names one that there is not.
    """
    known = {one.name for one in ROSTER}
    for word in selection:
        if word not in ("*", "-*") and word.removeprefix("-") not in known:
            raise UnknownController(word.removeprefix("-"))
    takes_all = "*" in selection or ("-*" not in selection and all(word.startswith("-") for word in selection))
    return [
        one
        for one in ROSTER
        if one.name in selection or (takes_all and one.is_default and f"-{one.name}" not in selection)
    ]
