"""Puts the authorizer together: system:masters, then nodes, then roles, unless a file says otherwise."""

from knarr.apiserver import remote
from knarr.apiserver.authz import configuration
from knarr.apiserver.authz.authorizer import Always, Authorizer, Mode
from knarr.apiserver.authz.configuration import DEFAULT, Entry
from knarr.apiserver.authz.node import Node
from knarr.apiserver.authz.rbac import Rbac
from knarr.apiserver.authz.webhook import Webhook
from knarr.apiserver.config import Config
from knarr.apiserver.registry import Registry


def build(config: Config, registry: Registry) -> Authorizer:
    """Make the authorizer.

    Args:
        config: Names the file that says who decides; without one nodes and roles do.
        registry: Has the roles, bindings and pods.

    Raises:
        BadConfiguration: The file cannot be used.
        BadRemote: A webhook's kubeconfig cannot.
    """
    rbac = Rbac(registry)
    entries = DEFAULT if config.authorization is None else configuration.load(config.authorization)
    return Authorizer([_mode(entry, config, registry, rbac) for entry in entries], rbac)


def _mode(entry: Entry, config: Config, registry: Registry, rbac: Rbac) -> Mode:
    match entry.type:
        case configuration.NODE:
            return Node(registry)
        case configuration.RBAC:
            return rbac
        case configuration.WEBHOOK:
            assert entry.kubeconfig is not None
            assert entry.settings is not None
            return Webhook(remote.load(entry.kubeconfig), entry.settings, config.clock)
    return Always(allowed=entry.type == configuration.ALWAYS_ALLOW)
