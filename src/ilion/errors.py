"""Everything that Ilion raises on purpose.

A message says what was seen, where, and what to do; the command line prints it without a traceback.
"""

LONGEST = 4000
"""Characters of a message that are shown: what a message quotes may be as long as a file."""


class IlionError(Exception):
    """Base of all errors that a user can cause or cure."""

    def __str__(self) -> str:
        """Return the message; of one that is too long, how it begins and ends."""
        text = super().__str__()
        if len(text) <= LONGEST:
            return text
        begin, end = text[: LONGEST - 1000], text[-900:]
        return f"{begin} ... ({len(text) - len(begin) - len(end):,} characters) ... {end}"


class ConfigError(IlionError):
    """A setting is unknown, of the wrong type, or contradicts another one."""


class DatasetError(IlionError):
    """A data set, one of its images or one of its tables cannot be used as it is."""


class ImageError(DatasetError):
    """One image cannot be decoded; with ``on_bad_image="skip"`` it is counted instead of raised."""


class ArtifactError(IlionError):
    """A stored artifact is damaged, stale, or does not fit the other ones."""


class UnwritableError(ArtifactError):
    """The disk is full, or a folder may not be written to: nothing is wrong with what is stored."""


class ExtractionError(IlionError):
    """A model cannot be loaded or does not produce what its spec promises."""


class WeightsError(ExtractionError):
    """Weights are not those of the network that shall take them."""


class MissingExtraError(ExtractionError):
    """An optional dependency is not installed; the message holds its install line.

    Args:
        what: Request of the user, as they wrote it.
        extra: Name of the extra that provides it, such as ``torch``.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra. Install it with: pip install 'ilion[{extra}]'")


class TaskError(IlionError):
    """A part of the work failed to the end, and a result without it was not asked for."""
