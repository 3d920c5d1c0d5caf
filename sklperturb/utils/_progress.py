"""Progress bars: on a terminal only, and always on the error stream."""

import logging

from tqdm import tqdm

from sklperturb.utils._printable import printable


class ProgressBar(tqdm):
    """A bar of `total` steps with a note at its end.

    Nothing is written where the error stream is no terminal, where there are no steps,
    or where the logger of the package reports errors only.

    Parameters
    ----------
    total : int
    description : str
    unit : str, default="it"
        What is counted; "B" is shown in kilobytes and the like.
    """

    def __init__(self, total, description, unit="it"):
        quiet = logging.getLogger("sklperturb").getEffectiveLevel() >= logging.ERROR
        disable = True if quiet or not total else None
        shown = {"unit": unit, "unit_scale": unit == "B"}
        super().__init__(total=total, desc=description, disable=disable, **shown)

    def advance(self, note="", steps=1):
        """Count `steps` as done; an empty note leaves the one that is shown."""
        if note:
            self.set_postfix_str(printable(note, length=60), refresh=False)
        self.update(steps)
