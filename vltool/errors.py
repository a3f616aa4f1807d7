"""Errors that a user can mend: each message says what is wrong, where, and the next step.

The command line shows the message without a traceback and exits with code 2. Anything else that is
raised is a bug of ours and keeps its traceback.
"""


class VltoolError(Exception):
    """Something the user can fix. The message says what, where and what to do next."""


class ConfigError(VltoolError):
    """A configuration file, an override or an option that cannot be used."""


class DataError(VltoolError):
    """A dataset file, a record in it, or a picture that cannot be read or does not fit."""


class StoreError(VltoolError):
    """A feature store that is missing, damaged, busy, or made by another detector."""


class BusyError(StoreError):
    """A feature store that another process is writing."""


class CheckpointError(VltoolError):
    """Weights that are missing, unsafe to read, or do not fit the network."""


class SplitError(VltoolError):
    """Pictures that would be both trained on and evaluated."""


class TrainingError(VltoolError):
    """A training that cannot go on: the numbers are no longer finite, or the data ran out."""


class Interrupted(VltoolError):
    """A training that was asked to stop and has saved where it stands. The command line ends with code 130."""
