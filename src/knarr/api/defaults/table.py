"""Which function sets the defaults of which kind."""

from collections.abc import Callable, Mapping
from typing import Any

TABLE: Mapping[tuple[str, str], Callable[[dict[str, Any]], None]] = {}
