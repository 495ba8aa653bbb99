"""What a user may do: RBAC, the Node authorizer, and the reviews that ask them."""

from knarr.apiserver.authz.assembly import build
from knarr.apiserver.authz.authorizer import Authorizer, Decision

__all__ = ["Authorizer", "Decision", "build"]
