"""Messages of the library in the words of the command line."""

from types import SimpleNamespace

import pytest

from sklperturb.cli._ending import in_options

OPTIONS = [
    SimpleNamespace(
        name=name,
        opts=["--" + name.replace("_", "-")],
        secondary_opts=["--no-resume"] if name == "resume" else [],
    )
    for name in ("control", "gene_map", "layer", "overwrite", "perturbation", "seed")
    + ("jobs", "max_per", "resume", "interval")
] + [SimpleNamespace(name="path", opts=["path"], secondary_opts=[])]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Pass overwrite=True to replace it.", "Pass --overwrite to replace it."),
        ("start anew with resume=False, which", "start anew with --no-resume, which"),
        ("layer='raw' is not there.", "--layer 'raw' is not there."),
        ("Pass layer= or gene_map.", "Pass --layer or --gene-map."),
        ("n_jobs=0, random_state=1", "--jobs 0, --seed 1"),
        # As often as there are items, a name of an option among them left alone.
        (
            "max_per={'seed': 3, 'a b': 2} allows; max_per={'seed': 0.5} must be",
            "--max-per seed=3 --max-per 'a b=2' allows; --max-per seed=0.5 must be",
        ),
        ("max_per={x} or other={'seed': 1}", "--max-per {x} or other={'seed': 1}"),
        (
            "Unknown. Pass schema=PerturbationSchema(perturbation=...) to name it.",
            "Unknown. Pass --perturbation to name it.",
        ),
        (
            "pass schema=PerturbationSchema(context='a', ..., control_labels=...).",
            "pass --control.",
        ),
        (
            "Or pass schema=PerturbationSchema(..., perturbation='My drug').",
            "Or pass --perturbation 'My drug'.",
        ),
        ("confidence=1.5 is no share.", "--interval 1.5 is no share."),
        # No option does this, so the advice would lead nowhere.
        ("No dose. Pass schema=PerturbationSchema(..., dose=...).", "No dose."),
        # What is quoted or part of a path stays as it is.
        ("'gene_map' in /data/layer=1/x.h5ad", "'gene_map' in /data/layer=1/x.h5ad"),
        ("path=3 and other=4 stay", "path=3 and other=4 stay"),
        (
            "The 'random_state' parameter of f must be an int. Got 'a' instead.",
            "--seed must be an int. Got 'a' instead.",
        ),
        (
            "The 'other' parameter of f must be 3.",
            "The 'other' parameter of f must be 3.",
        ),
    ],
)
def test_parameters_become_options(message, expected):
    assert in_options(message, OPTIONS) == expected
