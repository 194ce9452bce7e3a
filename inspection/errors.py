"""What inspection raises on its own account; damage is named by the errors of `bpe` and `corpora`."""


class NotFoundError(Exception):
    """What was asked for is not there; command lines turn it into one line and exit 1."""
