"""Puts the authorizer together: system:masters, then nodes, then roles."""

from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.authz.node import Node
from knarr.apiserver.authz.rbac import Rbac
from knarr.apiserver.config import Config
from knarr.apiserver.registry import Registry


def build(config: Config, registry: Registry) -> Authorizer:
    """Make the authorizer.

    Args:
        config: Decides nothing yet: every cluster has both modes.
        registry: Has the roles, bindings and pods.
    """
    rbac = Rbac(registry)
    return Authorizer((Node(registry), rbac), rbac)
