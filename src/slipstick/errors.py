"""The errors a user can meet. Each message names the thing, the value and the way out, in one line."""


class SlipstickError(Exception):
    """Base of every error that Slipstick raises on purpose."""


class SpecificationError(SlipstickError, ValueError):
    """A format, adder, order, arithmetic or configuration that cannot exist."""


class NonFiniteError(SlipstickError, ArithmeticError):
    """A NaN, a 0/0 or the square root of a negative number reached an arithmetic that has no code for it."""


class UnsupportedOperation(SlipstickError, NotImplementedError):
    """An operator that has no definition in the arithmetic; it was not computed in floating point instead."""


class StorageError(SlipstickError, OSError):
    """A file could not be written: the disk is full, the folder read-only. What was complete on disk still is."""

    def __init__(self, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        if cause is not None:
            self.errno, self.strerror, self.filename = cause.errno, cause.strerror, cause.filename

    def __str__(self) -> str:
        return str(self.args[0])
