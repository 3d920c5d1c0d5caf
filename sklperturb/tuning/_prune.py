"""Judge a trial half-way, by the trials that it may know of."""

from dataclasses import dataclass

import optuna
from optuna.trial import TrialState, create_trial

from sklperturb.tuning._propose import finished_trial, is_seen, placeholder
from sklperturb.tuning._study import live_trial, quiet

# Reports in one fold at most: each costs a prediction of the held-out rows.
_REPORTS = 20


class Pruning:
    """When to report, at which step, and which pruner decides.

    Parameters
    ----------
    pruner : "auto", "hyperband", "wilcoxon", optuna.pruners.BasePruner or None
        See `PerturbationSearchCV`.
    n_epochs : int or None
        Largest number of epochs of the network that predicts; None without one.
    n_folds : int
    """

    def __init__(self, pruner, n_epochs, n_folds):
        if isinstance(pruner, str) and pruner == "auto":
            pruner = "wilcoxon" if n_epochs is None else "hyperband"
        # The test wants single folds; the others want the best estimate so far.
        self.paired = pruner == "wilcoxon" or isinstance(
            pruner, optuna.pruners.WilcoxonPruner
        )
        self.by_epoch = n_epochs is not None and not self.paired and pruner is not None
        self.steps_per_fold = n_epochs if self.by_epoch else 1
        self.report_every = max(1, self.steps_per_fold // _REPORTS)
        if isinstance(pruner, str):
            with quiet():
                pruner = self._named(pruner, n_folds)
        if isinstance(pruner, optuna.pruners.NopPruner):
            pruner = None
        self.pruner = pruner

    def _named(self, name, n_folds):
        if name == "wilcoxon":
            return optuna.pruners.WilcoxonPruner()
        if not self.by_epoch:
            return optuna.pruners.HyperbandPruner(1, max_resource=max(n_folds, 3))
        # Two brackets: judged first after a quarter of the first fold's epochs, or
        # after all of them. Rungs go on, at four times the epochs, over the folds.
        n_epochs = self.steps_per_fold
        return optuna.pruners.HyperbandPruner(
            max(1, n_epochs // 4), max_resource=max(4, n_epochs), reduction_factor=4
        )

    def view(self, trials, position, ask_ahead, name):
        """Return what the trial at `position` is judged by, None if nothing prunes."""
        if self.pruner is None:
            return None
        peers = [_peer(trial, position, ask_ahead) for trial in trials[:position]]
        return PruningView(self, peers, name)


def _peer(trial, position, ask_ahead):
    if trial is None:
        return create_trial(state=TrialState.RUNNING)
    if not is_seen(trial, position, ask_ahead):
        return placeholder(trial)
    curve = {step: value for fold in trial.folds for step, value in fold["curve"]}
    notes = trial.folds[-1]["notes"] if trial.folds else {}
    return finished_trial(trial.frozen, notes, curve)


@dataclass
class PruningView:
    """A study in memory with what one trial may know; it travels to workers.

    The trial and its storage stay out of the estimator, whose parameters `clone`
    would copy.
    """

    pruning: Pruning
    peers: list
    name: str

    def begin(self, folds):
        """Put up the study, with the trial as far as it has come in `folds`."""
        with quiet():
            study = optuna.create_study(
                study_name=self.name,
                direction="maximize",
                sampler=optuna.samplers.RandomSampler(),  # has nothing to draw
                pruner=self.pruning.pruner,
            )
        study.add_trials(self.peers)
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                system_attrs=folds[-1]["notes"] if folds else {},
                intermediate_values={s: v for fold in folds for s, v in fold["curve"]},
            )
        )
        last = study.get_trials(deepcopy=False)[-1]
        with quiet():
            self.trial = live_trial(study, last)
        self.study = study
        self.curve = []

    def report(self, step, value):
        """Note a value, and return whether the trial is to end here."""
        self.trial.report(value, step)
        self.curve.append([step, value])
        return bool(self.trial.should_prune())  # a study keeps no NumPy values

    @property
    def notes(self):
        """What the pruner wrote down about the trial, such as the rungs it reached."""
        return dict(self.study.get_trials(deepcopy=False)[-1].system_attrs)
