"""Knarr: a complete Kubernetes platform in Python.

The packages, lowest first: `kit` (no Kubernetes word in it), `lang` (text to value languages), `api` (kinds, schema,
patches), `store` and `client`, `control` (informers, queues, reconcile loops), the components (`apiserver`,
`controllers`, `scheduler`, `node`, `network`), `cluster`, `cli` and `testing`. `docs/tour.md` walks through them.
"""

from knarr.kit import lazypackage

__version__ = "0.1.0"

KUBERNETES_VERSION = "1.37.0"
"""The Kubernetes release whose API and behaviour this release serves."""

# Of lightkube only the models are used; its own code brings an HTTP client along, 8 MB and 80 ms for every process.
lazypackage.install("lightkube")
