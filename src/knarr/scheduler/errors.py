"""What goes wrong in the scheduler before it schedules."""


class BadConfiguration(Exception):
    """Raised when a configuration cannot be used.

    Attributes:
        path: Where in the file, such as "profiles[0].pluginConfig[1].args.scoringStrategy".
        problem: What is wrong there and what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem
