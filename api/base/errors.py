"""The errors of the service, one sentence each; every vendor maps them to its documented codes and bodies."""


class ServiceError(Exception):
    """A request that is not served. `field` names the parameter at fault, `job` the accepted job that failed."""

    status = 500
    job: int | None = None

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.message = message
        self.field = field


class InputError(ServiceError):
    """A missing, malformed or unacceptable value."""

    status = 400


class PictureError(InputError):
    """A picture that cannot be had, read or accepted."""


class KeyRefusedError(ServiceError):
    """No key, or one that is unknown or revoked."""

    status = 401


class CreditsError(ServiceError):
    """Fewer credits than the order costs."""

    status = 402


class ForbiddenError(ServiceError):
    """The key lacks the scope, or a link is not valid (any more)."""

    status = 403


class NotFoundError(ServiceError):
    """Nothing there for this caller: unknown, expired, deleted or another key's."""

    status = 404


class MethodError(ServiceError):
    """The path exists, not with this method."""

    status = 405


class ConflictError(ServiceError):
    """An idempotency key that came with another request before."""

    status = 409


class TooLargeError(ServiceError):
    """A body over the limit."""

    status = 413


class ContentTypeError(ServiceError):
    """A body in a format that is not taken."""

    status = 415


class BusyError(ServiceError):
    """Too many requests, or too many unfinished jobs."""

    status = 429

    def __init__(self, message: str, retry_after: int):
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(BusyError):
    """Too many callers at the moment, whoever they are."""

    status = 503


class SlowError(InputError):
    """A body that comes too slowly."""


class StorageError(ServiceError):
    """A result that cannot be stored or read; the job is tried again."""

    status = 503


class UnusableBucketError(StorageError):
    """A bucket that cannot even be opened: what was written down of it is no bucket. Trying again does not help."""
