"""Packages whose own code runs only when something of it is asked for, so that their submodules come without it.

`importlib.util.LazyLoader` does not serve here: with it, importing a submodule runs the package.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any


def install(name: str) -> None:
    """Have `import name.submodule` not run the package `name`; `name.attribute` still does, at its first use.

    Args:
        name: A top-level package; nothing happens if it is imported already, or not there.
    """
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def run_and_get(attribute: str) -> Any:
        if vars(module).pop("__getattr__", None) is not None:
            loader.exec_module(module)
            return getattr(module, attribute)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    vars(module)["__getattr__"] = run_and_get
    sys.modules[name] = module


def is_pending(module: ModuleType) -> bool:
    """Tell whether a package's own code has not run yet."""
    return "__getattr__" in vars(module)
