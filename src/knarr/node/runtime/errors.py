"""What can go wrong between the node agent and the container runtime."""


class RuntimeFailure(Exception):
    """Raised when the runtime refuses or fails a call.

    Attributes:
        call: The call, such as "RunPodSandbox".
        code: The gRPC status name, such as "UNKNOWN".
        message: What the runtime said.
    """

    def __init__(self, call: str, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {_go_code(code)} desc = {message}")
        self.call = call
        self.code = code
        self.message = message


class Unavailable(RuntimeFailure):
    """Raised when the runtime cannot be reached: not started, or just gone."""


class Missing(RuntimeFailure):
    """Raised when the named sandbox, container or image does not exist."""


class ExecTimeout(RuntimeFailure):
    """Raised when a command in a container ran longer than it may."""


class ContainerdFailed(Exception):
    """Raised when an own containerd does not come up.

    Attributes:
        log_path: Where it logs.
    """

    def __init__(self, why: str, log_path: str) -> None:
        super().__init__(f"containerd did not come up: {why}; see {log_path}")
        self.log_path = log_path


def _go_code(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))
