"""The error tree.

::

    DeployNASError                  something the user can act on; carries its subject
    ├── InputError                  the input cannot be used                  (exit 2)
    │   ├── UnknownSpaceError       an unknown space id
    │   ├── ArchitectureError       not an architecture of its space
    │   ├── BudgetError             an invalid budget (NaN, negative)
    │   │   └── InfeasibleBudgetError   no architecture meets it; names the nearest
    │   ├── OptionError             an option or hyper-parameter, unknown or out of range
    │   ├── RecordError             a missing or damaged file, or one of another kind
    │   │   ├── VersionError        written by a newer deploy-nas
    │   │   └── MismatchError       of another space, device or run
    │   ├── UnstableDeviceError     a profile or measurement of a device that was too noisy
    │   ├── OutputError             a file that cannot be written, or exists already
    │   ├── WeightsError            a checkpoint that does not fit its supernet
    │   ├── ImagesError             a set of images that cannot be used
    │   ├── MissingPackageError     a package of an extra is not installed
    │   ├── ProviderError           a missing execution provider or runtime
    │   ├── DownloadError           a download that failed, or whose content is wrong
    │   └── TargetError             a device that cannot be used
    │       └── UnreachableError    it does not answer, or the connection broke
    └── AnswerNo                    the work was done, with a negative result (exit 1)
        ├── BudgetMissedError       measured slower than the budget
        └── CheckFailedError        outputs or figures that disagree
"""

from __future__ import annotations

from deploy_nas.core.reader import plain_text

_LONGEST = 1000


class DeployNASError(Exception):
    """Root of the tree.

    Args:
        message: what is wrong. Parameters in message and hint are in backquotes; the command line shows
            their options instead.
        subject: the file, key or parameter in question; printed before the message.
        hint: what to do; printed after the message.
    """

    exit_code = 2

    def __init__(self, message: str, *, subject: str = "", hint: str = "") -> None:
        self.message, self.subject, self.hint = message, subject, hint
        super().__init__(self.worded(subject, message, hint))

    @staticmethod
    def worded(subject: str, message: str, hint: str) -> str:
        """Subject, message and hint as one line, each cut if a hostile file made it endless."""
        subject, message, hint = (
            plain_text(part if len(part) <= _LONGEST else f"{part[:_LONGEST]}...")
            for part in (subject, message, hint)
        )
        text = f"{subject}: {message}" if subject else message
        return f"{text}; {hint}" if hint else text


class InputError(DeployNASError):
    """The input cannot be used."""


class UnknownSpaceError(InputError):
    """An unknown search space id."""


class ArchitectureError(InputError):
    """Not an architecture of its space."""


class BudgetError(InputError):
    """An invalid budget."""


class InfeasibleBudgetError(BudgetError):
    """No architecture of the space meets the budget.

    ``nearest`` is the nearest value found of the binding figure; ``None`` if it is not a number.
    """

    def __init__(
        self, message: str, *, subject: str = "", hint: str = "", nearest: float | None = None
    ) -> None:
        super().__init__(message, subject=subject, hint=hint)
        self.nearest = nearest


class OptionError(InputError):
    """An option or hyper-parameter that is unknown or out of range."""


class RecordError(InputError):
    """A missing or damaged file, or one of another kind."""


class VersionError(RecordError):
    """A file of a newer format version than this deploy-nas reads."""


class MismatchError(RecordError):
    """A file of another space, device or run than asked for."""


class UnstableDeviceError(InputError):
    """A profile or a measurement of a device that was too noisy to be trusted."""


class OutputError(InputError):
    """A file that cannot be written, or that exists already."""


class WeightsError(InputError):
    """A checkpoint that does not fit its supernet."""


class ImagesError(InputError):
    """A set of images that cannot be used."""


class MissingPackageError(InputError):
    """A package that only some tasks need is not installed."""


class ProviderError(InputError):
    """A missing execution provider or runtime."""


class DownloadError(InputError):
    """A download that failed, or whose content is wrong."""


class TargetError(InputError):
    """A device that cannot be reached or used."""


class UnreachableError(TargetError):
    """A device that does not answer, or whose connection broke: the same may work later."""


class AnswerNo(DeployNASError):  # noqa: N818 - it is an answer, not a fault
    """The work was done, and its result is negative."""

    exit_code = 1


class BudgetMissedError(AnswerNo):
    """Measured slower than the budget."""


class CheckFailedError(AnswerNo):
    """Outputs or figures that disagree."""
