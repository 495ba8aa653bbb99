"""Puts the authenticator together, in upstream's order: front proxy, certificates, tokens, anonymous."""

from knarr.apiserver.accessmeasures import AccessMeasures
from knarr.apiserver.authn.authenticator import Authenticator, RequestMethod, Tokens
from knarr.apiserver.authn.bearer import Bearer
from knarr.apiserver.authn.bootstraptokens import BootstrapTokens
from knarr.apiserver.authn.certificates import ClientCertificates, FrontProxy, Verifier
from knarr.apiserver.authn.claims import Reader
from knarr.apiserver.authn.serviceaccounts import ServiceAccountTokens
from knarr.apiserver.authn.tokens import Issuer
from knarr.apiserver.config import Config


def build(config: Config, registry: Reader, issuer: Issuer, measures: AccessMeasures | None = None) -> Authenticator:
    """Make the authenticator that the configuration describes.

    Args:
        config: Names the authorities.
        registry: Has service accounts, pods and Secrets.
        issuer: Its tokens are accepted.
        measures: Notes how long certificates still live; None notes nothing.
    """
    tokens = Tokens(
        (
            ServiceAccountTokens(issuer.url, issuer.keys, registry, config.clock),
            BootstrapTokens(registry, config.clock, issuer.audiences),
        ),
        issuer.audiences,
    )
    methods: list[RequestMethod] = []
    if config.front_proxy_ca is not None:
        methods.append(FrontProxy(Verifier(config.front_proxy_ca.read_bytes(), config.clock)))
    if config.client_ca is not None:
        lifetimes = measures.certificates if measures is not None else None
        methods.append(ClientCertificates(Verifier(config.client_ca.read_bytes(), config.clock, lifetimes)))
    methods.append(Bearer(tokens))
    return Authenticator(methods, tokens, is_anonymous_allowed=config.anonymous)
