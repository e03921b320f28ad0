"""Schema revisions. `HEAD` is the newest this code knows; a store that names another is refused or upgraded."""

from typing import Final

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
HEAD: Final = REVISIONS[-1]
