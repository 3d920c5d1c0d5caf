"""Where the documentation is, for estimators that notebooks show."""

import os
import sys

# Address of the site that `make docs` builds. A release sets it; None links nowhere, as
# long as the site is not in public.
SITE = None


class DocumentedMixin:
    """Link the diagram of an estimator to its page, where the site is known.

    scikit-learn then shows what each parameter does, too. It comes before
    `BaseEstimator`, whose method would link to scikit-learn's own site.
    """

    def _get_doc_link(self):
        kind = type(self)
        site = os.environ.get("SKLPERTURB_DOCUMENTATION", SITE)
        room, _, _ = kind.__module__.partition("._")
        is_public = kind.__name__ in getattr(sys.modules.get(room), "__all__", ())
        # A subclass of somebody else has no page of ours.
        if not site or not room.startswith("sklperturb.") or not is_public:
            return ""
        return f"{site.rstrip('/')}/generated/{room}.{kind.__name__}.html"
