"""Refusals: errors that are an answer. Each is raised where the rule is, and becomes HTTP in
``roocloud.errors`` alone. A room subclasses them beside the function that raises."""


class Refusal(Exception):
    """The request is understood and not carried out.

    message: a sentence for the person who asked. It never holds a secret or foreign data.
    field: the input at fault, as a dotted path (``settings.taskSyncEnabled``).
    retry_after_s: seconds, sent as ``Retry-After``.
    """

    status = 400
    code = "refused"

    def __init__(
        self, message: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s


class InvalidInput(Refusal):
    status, code = 400, "invalid_input"


class Unauthenticated(Refusal):
    status, code = 401, "unauthenticated"


class Forbidden(Refusal):
    status, code = 403, "forbidden"


class NotFound(Refusal):
    """Also for what exists but is not the caller's: the two answers are the same (A1)."""

    status, code = 404, "not_found"


class Conflict(Refusal):
    status, code = 409, "conflict"


class TooLarge(Refusal):
    status, code = 413, "too_large"


class TooManyRequests(Refusal):
    status, code = 429, "rate_limit_exceeded"


class Unavailable(Refusal):
    """A part that this answer needs is down; asking again later may work (E1)."""

    status, code = 503, "unavailable"
