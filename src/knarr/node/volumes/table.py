"""The kinds of volumes that this node knows, by their field in the pod's spec."""

from knarr.node.volumes import claim, content, emptydir, hostpath
from knarr.node.volumes.volume import SetUp

KINDS: dict[str, SetUp] = {
    "configMap": content.set_up_config_map,
    "secret": content.set_up_secret,
    "downwardAPI": content.set_up_downward_api,
    "projected": content.set_up_projected,
    "emptyDir": emptydir.set_up,
    "hostPath": hostpath.set_up,
    "persistentVolumeClaim": claim.set_up_claim,
    "ephemeral": claim.set_up_ephemeral,
    "nfs": claim.set_up_nfs,
}

FOLLOWING = ("configMap", "secret", "downwardAPI", "projected")
"""Those whose contents follow API objects."""
