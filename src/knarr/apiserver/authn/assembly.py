"""Puts the authenticator together, in upstream's order: front proxy, certificates, tokens, anonymous.

Tokens: static, service accounts, bootstrap, other issuers, webhook.
"""

from knarr.apiserver import remote
from knarr.apiserver.accessmeasures import AccessMeasures
from knarr.apiserver.authn import configuration
from knarr.apiserver.authn.authenticator import Authenticator, RemoteTokenMethod, RequestMethod, TokenMethod, Tokens
from knarr.apiserver.authn.bearer import Bearer
from knarr.apiserver.authn.bootstraptokens import BootstrapTokens
from knarr.apiserver.authn.certificates import ClientCertificates, FrontProxy, Verifier
from knarr.apiserver.authn.claims import Reader
from knarr.apiserver.authn.configuration import Authentication
from knarr.apiserver.authn.oidc import OidcTokens
from knarr.apiserver.authn.remembered import Remembered
from knarr.apiserver.authn.serviceaccounts import ServiceAccountTokens
from knarr.apiserver.authn.statictokens import StaticTokens
from knarr.apiserver.authn.tokens import Issuer
from knarr.apiserver.authn.webhook import WebhookTokens
from knarr.apiserver.config import Config

OIDC_CACHE_S = 10.0
WEBHOOK_CACHE_S = 120.0
"""How long answers about tokens are remembered, as kube-apiserver does by default."""


def build(
    config: Config,
    registry: Reader,
    issuer: Issuer,
    measures: AccessMeasures | None = None,
    legacy: TokenMethod | None = None,
) -> Authenticator:
    """Make the authenticator that the configuration describes.

    Args:
        config: Names the authorities.
        registry: Has service accounts, pods and Secrets.
        issuer: Its tokens are accepted.
        legacy: Accepts the tokens of service accounts that live in Secrets; None accepts none.
        measures: Notes how long certificates still live; None notes nothing.
    """
    own: list[TokenMethod] = []
    if config.token_auth_file is not None:
        own.append(StaticTokens(config.token_auth_file, issuer.audiences))
    if legacy is not None:
        own.append(legacy)
    own.append(ServiceAccountTokens(issuer.url, issuer.keys, registry, config.clock))
    own.append(BootstrapTokens(registry, config.clock, issuer.audiences))
    told = Authentication()
    if config.authentication is not None:
        told = configuration.load(config.authentication, config.clock, issuer.url)
    remotes: list[RemoteTokenMethod] = []
    for other, keys in told.issuers:
        method = OidcTokens(other, keys, config.clock, issuer.audiences)
        remotes.append(Remembered(method, config.clock, good_s=OIDC_CACHE_S, bad_s=0.0))
    if config.token_webhook is not None:
        webhook = WebhookTokens(remote.load(config.token_webhook), issuer.audiences)
        remotes.append(Remembered(webhook, config.clock, good_s=WEBHOOK_CACHE_S, bad_s=WEBHOOK_CACHE_S))
    tokens = Tokens(own, issuer.audiences, remotes)
    methods: list[RequestMethod] = []
    if config.front_proxy_ca is not None:
        methods.append(FrontProxy(Verifier(config.front_proxy_ca, config.clock)))
    if config.client_ca is not None:
        lifetimes = measures.certificates if measures is not None else None
        methods.append(ClientCertificates(Verifier(config.client_ca, config.clock, lifetimes)))
    return Authenticator(
        methods,
        tokens,
        Bearer(tokens),
        is_anonymous_allowed=config.anonymous if told.anonymous is None else told.anonymous,
        anonymous_paths=told.anonymous_paths,
    )
