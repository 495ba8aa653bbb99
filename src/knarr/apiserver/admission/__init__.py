"""What a request that is allowed may not do all the same, and what is filled in on its way."""

from knarr.apiserver.admission.order import build

__all__ = ["build"]
