"""What can be wrong with a simulation."""


class StageInvalid(ValueError):
    """Raised when a Stage file makes no sense.

    Attributes:
        where: Which file, document or Stage.
        problem: What is wrong with it and what was expected.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem
