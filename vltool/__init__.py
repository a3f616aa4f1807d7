"""vltool: learning vision and language together over region features."""

import os

__version__ = "0.1.0"

# torch reads this when it is first imported: threads that spin while they wait slow everything down several times
# as soon as another process wants the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
