"""Clients of a Kubernetes API server: transports, verbs over typed objects, watches, kubeconfig files."""

from knarr.client.client import Client, DeleteOptions, Page, PatchType, Selection

__all__ = ["Client", "DeleteOptions", "Page", "PatchType", "Selection"]
