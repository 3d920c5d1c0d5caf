"""The one place that states the version, and where the documentation is."""

__version__ = "0.1.0.dev0"
# Address of the site that `make docs` builds, for links from notebooks. A release sets
# it; None links nowhere, as long as the site is not in public.
__documentation__ = None
