"""How much is tried of what chance decides: a little with every run of the tests, much with `make audit`."""

import os
from typing import Final

IS_FULL: Final = os.environ.get("AUDIT_SIZE", "quick") == "full"
