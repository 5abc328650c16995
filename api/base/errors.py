"""The errors of the service, one sentence each; every vendor maps them to its documented codes and bodies."""


class ServiceError(Exception):
    """A refused request. `field` is the name of the invalid parameter, `job` the number of the job that failed."""

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
    """A picture that cannot be fetched, read or accepted."""


class KeyRefusedError(ServiceError):
    """The key is missing, unknown or revoked."""

    status = 401


class CreditsError(ServiceError):
    """The key has fewer credits than the order costs."""

    status = 402


class ForbiddenError(ServiceError):
    """The key lacks the scope, or a link is invalid or expired."""

    status = 403


class NotFoundError(ServiceError):
    """The object is unknown, expired, deleted or another key's."""

    status = 404


class MethodError(ServiceError):
    """The path does not support this method."""

    status = 405


class ConflictError(ServiceError):
    """The idempotency key was used before for another request."""

    status = 409


class TooLargeError(ServiceError):
    """The body is larger than the limit."""

    status = 413


class ContentTypeError(ServiceError):
    """The content type of the body is not supported."""

    status = 415


class BusyError(ServiceError):
    """Too many requests or unfinished jobs of one caller; `retry_after` in seconds."""

    status = 429

    def __init__(self, message: str, retry_after: int):
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(BusyError):
    """Too many requests of all callers together."""

    status = 503


class SlowError(InputError):
    """The body is sent too slowly."""


class StorageError(ServiceError):
    """A result cannot be stored or read; the job is tried again."""

    status = 503


class UnusableBucketError(StorageError):
    """The stored access data of a bucket is invalid; trying again does not help."""
