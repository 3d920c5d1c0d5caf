"""What help and notebooks show of estimators, and where the documentation is."""

import os
from importlib import import_module

# Address of the site that `make docs` builds. A release sets it; None links nowhere, as
# long as the site is not in public.
SITE = None
# Rooms whose classes are public in another one.
PUBLIC_IN = {"conditions": "datasets", "uncertainty": "inspection"}
# Of `score`, whose text in scikit-learn refers to pages of its own site.
SCORE = """Return the coefficient of determination, uniformly averaged over genes.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Genes are matched by name where both this and the `y` of `fit` have names.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """


class DocumentedMixin:
    """Link the diagram of an estimator to its page, where the site is known.

    scikit-learn then shows what each parameter does, too. It comes before
    `BaseEstimator`, whose method would link to scikit-learn's own site.
    """

    def _get_doc_link(self):
        kind = type(self)
        site = os.environ.get("SKLPERTURB_DOCUMENTATION", SITE)
        package, _, rest = kind.__module__.partition(".")
        # A subclass of somebody else has no page of ours.
        if not site or package != "sklperturb":
            return ""
        room = rest.partition(".")[0]
        room = f"sklperturb.{PUBLIC_IN.get(room, room)}"
        if kind.__name__ not in getattr(import_module(room), "__all__", ()):
            return ""
        return f"{site.rstrip('/')}/generated/{room}.{kind.__name__}.html"
