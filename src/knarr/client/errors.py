"""What can go wrong in calling an API server, beyond the errors that it answers (`knarr.api.errors`)."""

from knarr.api import errors


class Unreachable(errors.ServiceUnavailable):
    """Raised when no answer came: nobody listens, TLS failed, or the connection broke.

    Attributes:
        refused: Whether nobody listens at the address; the request was certainly not carried out.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(f"the API server cannot be reached: {why}")
        self.refused = refused


class BadAnswer(errors.StatusError):
    """Raised when an answer is not what its kind's model says."""


class UnknownKind(Exception):
    """Raised when a model class or an object names a kind that the client's scheme does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the scheme has no such kind; give the resource, or a scheme that has it")


class BadKubeconfig(Exception):
    """Raised when a kubeconfig file cannot be used."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"kubeconfig {path}: {why}")


class KubeconfigLocked(Exception):
    """Raised when another program holds the lock of a kubeconfig file for too long."""

    def __init__(self, lock: str) -> None:
        super().__init__(f"{lock} exists: another program is changing the file; delete the lock if none is")


class CredentialPluginFailed(Exception):
    """Raised when the credential plugin that a kubeconfig names does not give a credential."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(f"credential plugin {command}: {why}")
