"""Who asks, as a front proxy says it to those who trust its certificate.

Source: k8s.io/client-go/transport/round_trippers.go (SetAuthProxyHeaders, headerKeyEscape) (v1.37).
"""

from knarr.api.user import User

_TOKEN = frozenset("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def identity(user: User) -> list[tuple[str, str]]:
    """Return the headers by which a front proxy says who asks."""
    found = [("x-remote-user", user.name)]
    if user.uid:
        found.append(("x-remote-uid", user.uid))
    found += [("x-remote-group", group) for group in user.groups]
    for key, values in user.extra.items():
        found += [(f"x-remote-extra-{escape_key(key)}", value) for value in values]
    return found


def escape_key(key: str) -> str:
    """Write the key of a fact as part of a header's name: what cannot stand there is percent-encoded."""
    return "".join(chr(byte) if chr(byte) in _TOKEN else f"%{byte:02X}" for byte in key.lower().encode())
