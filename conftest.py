"""Import the settings before pytest reads their file for its examples.

In its import mode it would read the file a second time, and have settings twice.
"""

import sklperturb.conditions  # noqa: F401
