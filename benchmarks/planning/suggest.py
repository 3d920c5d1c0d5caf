"""What chosen experiments are worth: screens that are measured again, in retrospect.

    python -m benchmarks.planning.suggest FOLDER [--only tahoe] [--json suggest.json]
        [--keep FOLDER] [--update docs/planning_a_screen.md] [--picture FILE.svg]

Of a screen in OP2's layout only the training rows are read. A deal hides all but a
start, such as one line in full, and draws the targets: conditions that are to be
predicted and can never be chosen. What is left are the candidates. A design then
chooses candidates, step by step; at each step the model is fitted again to what is
measured by then, with all its parameters, and predicts the targets.

Errors are mean row-wise root mean squared errors over all genes. Models and designs use
nothing of the responses but their products, so these are rotated to as many coordinates
as there are rows, which loses nothing and is quick.

Intervals resample the deals, the perturbations of their targets and the random draws.
Finished curves are kept in --keep, and a run that was stopped goes on from there.
"""

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from benchmarks._output import update
from benchmarks.planning.suggest_screens import (
    columns_of,
    generated,
    knock_downs,
    known_of_genes,
    new_contexts,
    new_perturbations,
    real,
)
from benchmarks.planning.suggest_summary import (
    ASKED,
    AT_ONCE,
    CHOSEN,
    RANDOM,
    Curves,
    Summary,
    as_json,
    draw,
    tables,
)
from sklperturb.conditions import PerturbationSchema
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
)
from sklperturb.model_selection import suggest_experiments
from sklperturb.model_selection._design_rules import (
    Farthest,
    Likeness,
    OneOfEach,
    cluster,
)

STEPS = (0, 8, 16, 32, 64, 128)
# What a design is for `suggest_experiments`.
STRATEGIES = {
    RANDOM: "random",
    ASKED: "random",
    CHOSEN: "expected_error",
    AT_ONCE: "expected_error",
    "k-centre": "k_centre",
    "one of each cluster": "clusters",
    "one context first": "one_context_first",
}


@dataclass(frozen=True)
class Question:
    """A screen, and how a deal of it is drawn.

    Attributes
    ----------
    screen : callable
        Takes the number of the deal, and returns (X, responses, schema).
    deal : callable
        Takes X, the schema and a generator, and returns a `Deal`.
    model : callable
        Takes the schema.
    sources : callable, default=None
        Returns what is known of genes, for the designs without a model.
    """

    title: str
    says: str
    screen: object
    deal: object
    model: object
    designs: tuple = tuple(STRATEGIES)
    steps: tuple = STEPS
    n_deals: int = 3
    n_draws: int = 7
    sources: object = None


def questions(data):
    """Return the questions by a short name."""
    pairs = {"model": lambda schema: ResponseKernelRidge(schema=schema)}
    line = partial(new_contexts, n_new=1, share=1 / 3, full=100, wide=False)

    def genes_question(other_line):
        sources = partial(known_of_genes, data, other_line=other_line)
        told = "gene sets and the knock-downs in RPE1" if other_line else "gene sets"
        return Question(
            f"Replogle, new genes, {'RPE1 known' if other_line else 'gene sets'}",
            f"{told}, and 40 knock-downs in K562 known; candidates: 200 other genes "
            "there; targets: a third of the genes (of 360 that are drawn)",
            partial(knock_downs, data / "replogle_ranks", n_rows=360),
            partial(new_perturbations, n_start=40, share=1 / 3),
            lambda schema: GeneKnowledgeRidge(sources(), schema=schema),
            designs=(RANDOM, CHOSEN, AT_ONCE, "k-centre", "one of each cluster"),
            sources=sources,
        )

    def line_question(n_known):
        several = "s" if n_known > 1 else ""
        return Question(
            f"Tahoe, a new line, {n_known} known",
            f"{n_known} line{several} known in full; candidates: two thirds of the "
            "compounds in a new line; targets: the others there",
            partial(real, "tahoe_ranks_op2_layout", data),
            partial(line, n_known=n_known),
            designs=(RANDOM, CHOSEN),
            steps=(0, 4, 8, 16, 32),
            n_deals=2,
            n_draws=4,
            **pairs,
        )

    return {
        "tahoe": Question(
            "Tahoe",
            "one line known in full; candidates: all else in the other nine lines; "
            "targets: a third of the compounds in two new lines",
            partial(real, "tahoe_ranks_op2_layout", data),
            partial(new_contexts, n_new=2, n_known=1, share=1 / 3, full=100, wide=True),
            **pairs,
        ),
        "op3": Question(
            "OP3",
            "T cells known in full; candidates: all else; targets: 40 % of the "
            "compounds in B and myeloid cells",
            partial(real, "op3_ranks_op2_layout", data),
            partial(
                new_contexts,
                n_new=2,
                n_known=1,
                share=0.4,
                full=100,
                wide=True,
                names=["B cells", "Myeloid cells"],
            ),
            **pairs,
        ),
        "replogle": Question(
            "Replogle",
            "knock-downs in K562 known; candidates: two thirds of those in RPE1; "
            "targets: the others there (of 300 rows that are drawn)",
            partial(real, "replogle_ranks", data, n_rows=300),
            partial(
                new_contexts,
                n_new=1,
                n_known=1,
                share=1 / 3,
                full=1,
                wide=False,
                names=["RPE1"],
            ),
            designs=(RANDOM, CHOSEN, AT_ONCE, "k-centre", "one of each cluster"),
            **pairs,
        ),
        "genes": genes_question(False),
        "genes_and_line": genes_question(True),
        "l1000": Question(
            "L1000",
            "30 compounds known; candidates: others; targets: a third of the compounds "
            "(of 450 that are drawn)",
            partial(real, "l1000_consensus_op2_layout", data, clip=10.0, n_rows=450),
            partial(new_perturbations, n_start=30, share=1 / 3),
            lambda schema: TanimotoKernelRidge(
                kind=["morgan_counts"], calibrate=False, schema=schema
            ),
            designs=(RANDOM, CHOSEN, AT_ONCE, "k-centre", "one of each cluster"),
        ),
        "generated": Question(
            "generated",
            "one cell type known in full; candidates: all else; targets: a third of "
            "the compounds in two others",
            generated,
            partial(new_contexts, n_new=2, n_known=1, share=1 / 3, full=40, wide=True),
            **pairs,
        ),
        **{f"line{n}": line_question(n) for n in (1, 2)},
    }


# Curves


def run(question, keep=None, name=""):
    """Return the `Curves` of a question, from `keep` what is there."""
    curves = Curves()
    for number in range(question.n_deals):
        X, y, schema = question.screen(number)
        schema = PerturbationSchema(
            schema.perturbation, schema.context, smiles=schema.smiles
        )
        columns = schema.context, schema.perturbation, schema.smiles
        X = X[[name for name in columns if name is not None]]
        deal = question.deal(X, schema, np.random.RandomState(number))
        last = len(deal.candidates)
        steps = [n for n in question.steps if n < 0.8 * last] + [last]
        curves.steps.append(steps)
        ends = {}
        curves.units[number] = columns_of(X, schema)[1][deal.targets]
        for design in question.designs:
            drawn = {RANDOM: question.n_draws, ASKED: 2}
            for seed in range(drawn.get(design, 1)):
                path = keep and keep / f"{name}, {number}, {design}, {seed}.joblib"
                if path and path.exists():
                    found = joblib.load(path)
                else:
                    given = question, X, y, schema, deal, design, steps, seed, ends
                    found = follow(*given)
                    if path:
                        keep.mkdir(parents=True, exist_ok=True)
                        joblib.dump(found, path)
                key = number, design, seed
                curves.errors[key], curves.rest[key], expected, seconds = found
                if expected:
                    curves.expected |= {(number, n): e for n, e in expected.items()}
                curves.seconds.setdefault(design, []).append(seconds)
        print(f"{name}, deal {number}", flush=True)
    return curves


def follow(question, X, y, schema, deal, design, steps, seed, ends):
    """Measure what a design chooses, and predict at each step.

    Returns
    -------
    errors : ndarray of shape (n_steps, n_targets)
    rest : ndarray of shape (n_steps,)
        Mean over targets and candidates, of which those that are measured count zero.
    expected : dict of {int: tuple of float}
        Of each step, the error that is expected of the targets, the measured one, the
        ratio of the calibration and the rows that it was learnt from.
    seconds : float
        Of all choices.
    """
    model = question.model(schema)
    measured, left = list(deal.start), list(deal.candidates)
    errors, rest, expected, seconds, order = [], [], {}, 0.0, []
    at_once = design in (RANDOM, ASKED, AT_ONCE)
    for n, following in pairwise([*steps, None]):
        now = predicted(model, X, y, deal, measured, ends)
        errors.append(now[deal.targets].to_numpy())
        rest.append(now.mean())
        if following is None:
            break
        begun = time.process_time()
        if following == steps[-1]:
            new = list(left)
        elif at_once and n:
            new = order[n:following]
        elif question.sources and design in ("k-centre", "one of each cluster"):
            given = design, question.sources(), X, schema, measured, left
            new = by_sources(*given, following - n, seed)
        else:
            plan = suggest_experiments(
                *(model, X.iloc[measured], _safe_indexing(y, measured), X.iloc[left]),
                len(left) if at_once else following - n,
                targets=X.iloc[deal.targets],
                strategy=STRATEGIES[design],
                calibrate=design == CHOSEN,
                schema=schema,
                random_state=seed,
            )
            order = list(plan.index)
            if design == ASKED:
                asked = set(X[schema.context].iloc[deal.targets])
                of = X[schema.context]
                order.sort(key=lambda row: of[row] not in asked)
            new = order[: following - n]
            if design == CHOSEN:
                said = plan.attrs["expected_error_unmeasured"]
                about = plan.attrs["calibration"]
                expected[n] = said, errors[-1].mean(), about["ratio"], about["n_rows"]
        seconds += time.process_time() - begun
        measured += new
        left = [row for row in left if row not in set(new)]
    return np.array(errors), np.array(rest), expected, seconds


def by_sources(design, sources, X, schema, measured, left, n, seed):
    """Return the `n` rows of `left` that a design chooses by the vectors of genes."""
    places, units = np.arange(len(left)), list(np.arange(len(left))[:, None])
    like = Likeness(
        *(X.iloc[measured], np.zeros((len(measured), 0)), X.iloc[left]),
        *(places, 0, schema, sources),
    )
    rank = np.random.RandomState(seed).permutation(len(left))
    if design == "k-centre":
        rule = Farthest(like, units, rank)
    else:
        own = like.perturbations(places)
        alike = like.of_perturbations[np.ix_(own, own)]
        rule = OneOfEach(*cluster(alike, n), rank)
    allowed, found = np.ones(len(left), dtype=bool), []
    for _ in range(n):
        chosen = rule.pick(allowed)
        allowed[chosen] = False
        rule.measured(chosen)
        found.append(left[chosen])
    return found


def predicted(model, X, y, deal, measured, ends):
    """Return the error of each target and candidate, zero of those measured.

    Of the start and of all candidates, which designs share, it is kept in `ends`.
    """
    n_measured = len(measured)
    if n_measured in ends:
        return ends[n_measured]
    wanted = np.union1d(deal.candidates, deal.targets)
    errors = pd.Series(0.0, wanted)
    rows = np.setdiff1d(wanted, measured)
    fitted = model.fit(X.iloc[measured], _safe_indexing(y, measured))
    missed = np.asarray(y)[rows] - np.asarray(fitted.predict(X.iloc[rows]))
    errors[rows] = np.sqrt(np.mean(missed**2, axis=1))
    n_start = len(deal.start)
    if n_measured in (n_start, n_start + len(deal.candidates)):
        ends[n_measured] = errors
    return errors


def main():
    """Follow the questions, and print, keep and draw what they come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of screens in OP2's layout")
    parser.add_argument("--only", default="", help="names of questions, with commas")
    parser.add_argument("--keep", type=Path, help="folder of finished curves")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--update", type=Path, help="page whose tables are replaced")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    found, about = {}, questions(options.data)
    for name, question in about.items():
        if not options.only or name in options.only.split(","):
            curves = run(question, options.keep, name)
            found[name] = Summary(curves, question.n_draws)
    parts = tables(about, found)
    print(*parts.values(), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps(as_json(about, found), indent=1) + "\n")
    if options.update:
        for name, text in parts.items():
            update(options.update, f"suggest, {name}", text)
    if options.picture:
        draw(options.picture, about, found)


if __name__ == "__main__":
    main()
