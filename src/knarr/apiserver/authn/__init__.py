"""Who makes a request: certificates, tokens, front proxies, and acting as somebody else."""

from knarr.apiserver.authn.assembly import build
from knarr.apiserver.authn.authenticator import Authenticator

__all__ = ["Authenticator", "build"]
