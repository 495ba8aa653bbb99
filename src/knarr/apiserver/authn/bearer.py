"""Bearer tokens in a header, or, from browsers, in a WebSocket's list of protocols.

Upstream counterpart: k8s.io/apiserver/pkg/authentication/request/{bearertoken,websocket} (v1.37).
"""

from knarr.api.user import User
from knarr.apiserver.authn import jwt
from knarr.apiserver.authn.authenticator import Tokens
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit.http.messages import Request

_PROTOCOLS = "sec-websocket-protocol"
_PREFIX = "base64url.bearer.authorization.k8s.io."


class Bearer:
    """Authenticates the token that a request carries.

    Args:
        tokens: Knows the kinds of tokens.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def authenticate(self, request: Request) -> User | None:
        """Return whom the token names, or None if there is none; a good token is removed from the request.

        Raises:
            InvalidToken: The token is wrong.
        """
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.strip().partition(" ")
            token = token.strip().split(" ")[0]
            if scheme.lower() == "bearer" and token:
                user = (await self._tokens.authenticate(token)).user
                request.headers.remove("authorization")
                return user
        protocols = ",".join(request.headers.get_all(_PROTOCOLS))
        return await self._from_protocols(request, protocols) if _PREFIX in protocols else None

    async def _from_protocols(self, request: Request, protocols: str) -> User | None:
        listed = [protocol.strip() for protocol in protocols.split(",")]
        others = [protocol for protocol in listed if not protocol.startswith(_PREFIX)]
        if len(listed) - len(others) != 1:
            raise InvalidToken("multiple base64.bearer.authorization tokens specified")
        if not others:
            raise InvalidToken("missing additional subprotocol")
        encoded = next(protocol for protocol in listed if protocol.startswith(_PREFIX)).removeprefix(_PREFIX)
        try:
            token = jwt.decode(encoded).decode()
        except ValueError as error:
            raise InvalidToken("invalid base64.bearer.authorization token encoding") from error
        user = (await self._tokens.authenticate(token)).user
        request.headers.set(_PROTOCOLS, ",".join(others))
        return user
