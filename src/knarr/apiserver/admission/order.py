"""Which admission plugins run, in upstream's order."""

from collections.abc import Callable

from knarr.apiserver.admission.chain import Chain, Context, Plugin

ORDER: tuple[Callable[[Context], Plugin], ...] = ()


def build(context: Context) -> Chain:
    """Assemble the chain."""
    return Chain(build_plugin(context) for build_plugin in ORDER)
