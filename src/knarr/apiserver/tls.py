"""The TLS settings of the server's socket, loaded again when their files change."""

import ssl

from knarr.apiserver.config import Config
from knarr.kit import clock as clocks

RELOAD_S = 30.0


def server_context(config: Config) -> ssl.SSLContext | None:
    """Return the settings of the server's socket; None serves plain HTTP.

    Clients may show a certificate, which is then verified, or none.
    """
    if config.serving is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, config)
    if config.client_ca is not None or config.front_proxy_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def keep_fresh(context: ssl.SSLContext, config: Config, clock: clocks.Clock) -> None:
    """Load certificates and authorities again whenever their files change, for the connections that come then."""
    seen = _stamps(config)
    while True:
        await clock.sleep(RELOAD_S)
        now = _stamps(config)
        if now != seen:
            _load(context, config)
            seen = now


def _load(context: ssl.SSLContext, config: Config) -> None:
    assert config.serving is not None
    context.load_cert_chain(config.serving.certificate, config.serving.key)
    for authority in (config.client_ca, config.front_proxy_ca):
        if authority is not None:
            context.load_verify_locations(authority)


def _stamps(config: Config) -> tuple[tuple[int, int], ...]:
    assert config.serving is not None
    paths = (config.serving.certificate, config.serving.key, config.client_ca, config.front_proxy_ca)
    states = [path.stat() for path in paths if path is not None and path.exists()]
    return tuple((state.st_mtime_ns, state.st_ino) for state in states)
