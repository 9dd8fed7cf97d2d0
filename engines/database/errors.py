"""What a database can say no with. No text here holds a password or a statement."""

from engines.common.errors import OutsideFailed


class DatabaseRefused(OutsideFailed):
    """The database understood and said no: nothing of what was asked has happened, or it was rolled back."""


class Collided(DatabaseRefused):
    """Another transaction changed the same thing at the same time; trying again helps."""


class DatabaseUnreachable(OutsideFailed):
    """No answer: what was asked may have happened."""
