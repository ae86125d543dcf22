"""What ends an attempt early: the machine failed it, or somebody ended it."""


class Failure(Exception):
    """The machine failed the task; `reason` is one of plan's, `message` a sentence with a mend."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Ended(Exception):
    """The attempt was canceled or ran out of time; `status` is plan.CANCELED or TIME_LIMIT."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status
