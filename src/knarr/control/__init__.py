"""What controllers are made of: reflector, informer, work queue, reconcile loop, leader election, event recorder."""

from knarr.control.context import Context

__all__ = ["Context"]
