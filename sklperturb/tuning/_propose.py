"""Draw the parameters of the next trial from what a fixed set of trials has shown.

A sampler that sees whatever has finished by now proposes something else each time the
trials take their time differently. Here the trial at a position sees the results of
those that lie at least `ask_ahead` positions back, and of the nearer ones only what was
asked. Then the proposals, and with them the whole search, are the same whether trials
run one after the other or side by side, and whether or not the search was interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from sklperturb.tuning._space import SearchSpace
from sklperturb.tuning._study import quiet
from sklperturb.tuning._trial_store import DISCARDED, POSITION, TrialStore

SAMPLER = "sklperturb:sampler"


@dataclass
class Proposer:
    """Propose parameters for a position.

    Parameters
    ----------
    sampler, ask_ahead
        See `PerturbationSearchCV`.
    first : dict
        Parameters to try at position 0; those that are missing are drawn.
    """

    space: SearchSpace
    sampler: str | optuna.samplers.BaseSampler | Callable | None
    seed: int
    ask_ahead: int
    store: TrialStore
    first: dict

    def __call__(self, trials, position):
        """Return parameters as a study stores them, distributions, sampler's notes."""
        fixed = self.store.waiting()
        if fixed is None and position == 0:
            fixed = self.first
        # A storage of its own, since a study has no public way to its sampler's notes.
        storage = optuna.storages.InMemoryStorage()
        with quiet():
            study = optuna.create_study(
                storage=storage,
                study_name=self.store.study.study_name,
                direction="maximize",
                sampler=self._sampler(position),
                pruner=optuna.pruners.NopPruner(),
            )
            study_id = storage.get_study_id_from_name(study.study_name)
            # What the sampler noted in the shared study: its place in a sequence.
            for key, value in self.store.study.user_attrs.get(SAMPLER, {}).items():
                storage.set_study_system_attr(study_id, key, value)
            study.add_trials(self._history(trials, position))
            if fixed:
                study.enqueue_trial(fixed)
            trial = self.space.draw(study)
        sampler_notes = storage.get_study_system_attrs(study_id)
        if sampler_notes:
            self.store.study.set_user_attr(SAMPLER, dict(sampler_notes))
        notes = dict(study.get_trials(deepcopy=False)[-1].system_attrs)
        notes.pop("fixed_params", None)
        return trial.params, trial.distributions, notes

    def _sampler(self, position):
        if isinstance(self.sampler, optuna.samplers.BaseSampler):
            return self.sampler
        # A seed for each position: a search that goes on does not repeat itself.
        seed = int(np.random.SeedSequence([self.seed, position]).generate_state(1)[0])
        if self.sampler is None:
            # Spelt out, since the defaults of Optuna 4 and 5 differ.
            return optuna.samplers.TPESampler(
                n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed
            )
        if isinstance(self.sampler, str):
            return optuna.samplers.RandomSampler(seed=seed)
        return self.sampler(seed)

    def _history(self, trials, position):
        known = [
            trial
            for trial in self.store.study.get_trials(
                deepcopy=False, states=(TrialState.COMPLETE,)
            )
            if POSITION not in trial.user_attrs and DISCARDED not in trial.user_attrs
        ]
        for trial in trials:
            if trial is not None:
                seen = is_seen(trial, position, self.ask_ahead)
                known.append(_result(trial) if seen else placeholder(trial))
        return known


def is_seen(trial, position, ask_ahead):
    """Whether the trial at `position` may know how another one went."""
    return (
        trial.status == "done"
        and trial.frozen.state != TrialState.FAIL
        and trial.position <= position - ask_ahead
    )


def placeholder(trial):
    """Return a trial of which only the parameters are known."""
    return create_trial(
        state=TrialState.RUNNING,
        params=trial.frozen.params,
        distributions=trial.frozen.distributions,
    )


def _result(trial):
    # Of the way there, samplers look at the last step of pruned trials only.
    frozen = trial.frozen
    last = frozen.last_step
    steps = {} if last is None else {last: frozen.intermediate_values[last]}
    return finished_trial(frozen, frozen.system_attrs, steps)


def finished_trial(frozen, system_attrs, intermediate_values):
    """Return a finished trial with other notes and other values on the way."""
    return create_trial(
        state=frozen.state,
        value=frozen.value,
        params=frozen.params,
        distributions=frozen.distributions,
        system_attrs=system_attrs,
        intermediate_values=intermediate_values,
    )
