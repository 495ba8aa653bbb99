"""Why a claim has no volume."""

from lightkube.models import core_v1, storage_v1

from knarr.api import errors
from knarr.client import Client
from knarr.scheduler import volumes
from knarr.scheduler.explain import quantity
from knarr.scheduler.podfacts import MEMORY
from knarr.scheduler.why.answer import Answer, Finding, warnings

Claim = core_v1.PersistentVolumeClaim
Volume = core_v1.PersistentVolume


async def explain(client: Client, namespace: str, name: str) -> Answer:
    """Explain one claim."""
    claim = await client.get(Claim, name, namespace=namespace)
    assert claim.metadata and claim.spec
    phase = (claim.status.phase if claim.status else None) or "Pending"
    findings: list[Finding] = []
    if claim.metadata.deletionTimestamp is not None:
        users = await _users(client, claim)
        findings.append(Finding("it is being deleted and waits until no pod uses it", "metadata", objects=users))
    if phase == "Lost":
        findings.append(
            Finding(f"its volume {claim.spec.volumeName} is gone", "status", objects=[f"pv/{claim.spec.volumeName}"])
        )
    elif phase == "Pending":
        findings += await _pending(client, claim)
    if phase != "Bound":
        findings += await warnings(client, namespace, claim.metadata.uid or "")
    return Answer(f"pvc/{name}", namespace, phase, not findings, findings)


async def _pending(client: Client, claim: Claim) -> list[Finding]:
    name = volumes.class_of(claim)
    found: list[Finding] = []
    cls: storage_v1.StorageClass | None = None
    if name:
        try:
            cls = await client.get(storage_v1.StorageClass, name)
        except errors.NotFound:
            classes = [
                one.metadata.name or "" for one in (await client.list(storage_v1.StorageClass)).items if one.metadata
            ]
            text = f'storage class "{name}" does not exist'
            found.append(Finding(text, "spec.storageClassName", [f"it named one of {', '.join(classes) or 'none'}"]))
    if cls is not None and cls.volumeBindingMode == volumes.WAITS:
        users = await _users(client, claim)
        selected = volumes.annotations(claim).get(volumes.SELECTED_NODE)
        if not users:
            found.append(Finding("it waits for the first pod that uses it", "volumeBindingMode", ["a pod used it"]))
        elif not selected:
            text = "it waits until a pod that uses it has a node: ask why that is pending"
            found.append(Finding(text, "volumeBindingMode", objects=users))
    makes = cls is not None and cls.provisioner and cls.provisioner != volumes.NO_PROVISIONER
    if cls is not None and makes:
        waiting = volumes.annotations(claim).get(volumes.SELECTED_NODE)
        if cls.volumeBindingMode != volumes.WAITS or waiting:
            text = f"{cls.provisioner} is to make a volume{' on ' + waiting if waiting else ''} and has not yet"
            found.append(Finding(text, "provisioner"))
    everything = (await client.list(Volume)).items
    near = [(one, _lacks(one, claim)) for one in everything if volumes.class_of(one) == name]
    for volume, lacks in sorted(near, key=lambda pair: len(pair[1]))[:5]:
        if lacks and volume.metadata:
            label = f"pv/{volume.metadata.name}"
            found.append(Finding(f"{label} does not suit: {'; '.join(lacks)}", "volumes", objects=[label]))
    if not near and not makes:
        text = f'there is no volume of class "{name}", and nobody makes any'
        found.append(
            Finding(text, "volumes", ["such a volume were created, or the claim named a class that makes them"])
        )
    return found


def _lacks(volume: Volume, claim: Claim) -> list[str]:
    assert volume.spec and claim.spec and volume.metadata
    told = []
    if volume.spec.claimRef is not None and not volumes.refers_to(volume, claim):
        told.append(f"it belongs to {volume.spec.claimRef.namespace}/{volume.spec.claimRef.name}")
    if volumes.size(volume) < volumes.wanted(claim):
        have, want = quantity(MEMORY, volumes.size(volume)), quantity(MEMORY, volumes.wanted(claim))
        told.append(f"it has {have}, the claim asks for {want}")
    missing = {*(claim.spec.accessModes or ())} - {*(volume.spec.accessModes or ())}
    if missing:
        told.append(f"it cannot be used as {', '.join(sorted(missing))}")
    if (volume.spec.volumeMode or "Filesystem") != (claim.spec.volumeMode or "Filesystem"):
        told.append(f"its volumeMode is {volume.spec.volumeMode or 'Filesystem'}")
    if not told and not volumes.suits(volume, claim):
        told.append("its labels, phase or attributes class are not what the claim asks for")
    return told


async def _users(client: Client, claim: Claim) -> list[str]:
    assert claim.metadata
    page = await client.list(core_v1.Pod, namespace=claim.metadata.namespace or "")
    users = []
    for pod in page.items:
        for volume in (pod.spec.volumes or ()) if pod.spec else ():
            source = volume.persistentVolumeClaim
            if source is not None and source.claimName == claim.metadata.name and pod.metadata:
                users.append(f"pod/{pod.metadata.name}")
    return users
