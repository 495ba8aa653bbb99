"""The schema of every kind: what fields there are, of which type, and how they merge.

`built_in()` gives the `Definitions` of this release; `Definitions.get("io.k8s.api.core.v1.Pod")` a `Type`, which patches and
field ownership walk. `convert` turns a decoded body into what Go would have read and written again, in one pass, and reports
what it met on the way; `check` and `normalize` are its two halves.

Source: OpenAPI of v1.37 as carried by kubernetes-validate; decoding as sigs.k8s.io/json and encoding/json do.
"""

from knarr.api.schema.definitions import Definitions, built_in
from knarr.api.schema.scalars import DecodeError
from knarr.api.schema.types import Kind, Type
from knarr.api.schema.walk import Converted, check, convert, normalize

__all__ = ["Converted", "DecodeError", "Definitions", "Kind", "Type", "built_in", "check", "convert", "normalize"]
