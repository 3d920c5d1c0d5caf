"""The trial store: trials of a search by position, in a study that processes share.

A position is one set of parameters to try: position 0 is the first proposal, and a
search of n trials has the positions 0 to n - 1. A study numbers trials as they come,
so a trial that is tried again after its process died has a new number, and its old
position.
"""

import os
import platform
import socket
import threading
import time
import uuid
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import psutil
from optuna.trial import TrialState, create_trial

from sklperturb.tuning._study import live_trial

# Seconds between two heartbeats of a process, and after how many without one a process
# on another machine counts as dead. On the same machine its number is looked up.
HEARTBEAT = 20
SILENCE = 120
# Times that a trial is begun before it fails: it may be what kills the processes.
ATTEMPTS = 3

_PREFIX = "sklperturb:"
POSITION = _PREFIX + "position"
RUN = _PREFIX + "run"
ATTEMPT = _PREFIX + "attempt"
ERROR = _PREFIX + "error"
DISCARDED = _PREFIX + "discarded"
FOLD = _PREFIX + "fold:"
_HEARTBEAT = _PREFIX + "run:"


@dataclass
class Trial:
    """One position: its parameters, and what is known of its folds."""

    position: int
    frozen: optuna.trial.FrozenTrial
    status: str  # "done", "running" or "abandoned", by a process that died
    attempt: int = 1
    folds: list = field(default_factory=list)


class TrialStore:
    """Claim positions, keep their results, and record which processes are alive.

    Parameters
    ----------
    study : optuna.study.Study
    identity : str or None
        Hash of all that the scores depend on; a study of something else is refused.
    """

    def __init__(self, study, identity):
        self.study = study
        self.run = uuid.uuid4().hex
        self._damaged = set()  # numbers of trials
        self.shared = identity is not None
        self._stop = threading.Event()
        if self.shared:
            self._check_identity(identity)
            self._record_heartbeat(True)
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()

    def close(self):
        """End the heartbeat: what this run has not finished may be claimed."""
        self._stop.set()
        if self.shared:
            self._thread.join()
            self._record_heartbeat(False)

    def trials(self):
        """Return the trials by position; None where nobody holds a position yet."""
        held, living = self._held()
        # The valid one of those that hold a position is written last.
        read = sorted((self._read(t, living) for t in held), key=_rank, reverse=True)
        by_position = {trial.position: trial for trial in read}
        last = max(by_position, default=-1)
        return [by_position.get(position) for position in range(last + 1)]

    def finished(self):
        """Return the trials that are over, in the order of their positions."""
        return [t for t in self.trials() if t is not None and t.status == "done"]

    def claim(self, n_trials, propose):
        """Claim the next position that no living process works on.

        Parameters
        ----------
        n_trials : int or None
            Positions in all; None for no end.
        propose : callable
            ``propose(trials, position)`` gives parameters, their distributions and
            the notes of the sampler, for a position that has none.

        Returns
        -------
        trial : Trial or None
            None if all positions are taken.
        """
        while True:
            trials = self.trials()
            free = (
                p for p, t in enumerate(trials) if t is None or t.status == "abandoned"
            )
            position = next(free, len(trials))
            if n_trials is not None and position >= n_trials:
                return None
            before = trials[position] if position < len(trials) else None
            attempt, folds = 1, []
            if before is None:
                params, distributions, notes = propose(trials, position)
            else:
                folds, frozen = before.folds, before.frozen
                attempt = before.attempt + self._died(frozen.user_attrs[RUN])
                params, distributions = frozen.params, frozen.distributions
                notes = frozen.system_attrs
                if attempt > ATTEMPTS:
                    message = f"Its process died {ATTEMPTS} times, each time in it."
                    self.fail(before, message)
                    continue
            # In one piece, so that whoever is killed here leaves all or nothing.
            self.study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=params,
                    distributions=distributions,
                    system_attrs=notes,
                    user_attrs={POSITION: position, RUN: self.run, ATTEMPT: attempt}
                    | {f"{FOLD}{i}": fold for i, fold in enumerate(folds)},
                )
            )
            taken = self._resolve_claim(position)
            if taken is not None:
                return taken

    def _died(self, run):
        """Whether a process died at its work; whom a user stops has said so."""
        last = self.study.user_attrs.get(_HEARTBEAT + run)
        return not (isinstance(last, dict) and last.get("alive") is False)

    def _resolve_claim(self, position):
        """Return the trial just added, or None if another process was faster."""
        mine = others = None
        held, living = self._held()
        for frozen in held:
            attrs = frozen.user_attrs
            if attrs[POSITION] != position:
                continue
            if attrs[RUN] == self.run and frozen.state == TrialState.RUNNING:
                mine = frozen
            elif self._read(frozen, living).status != "abandoned":
                others = frozen if others is None else others
            elif frozen.state == TrialState.RUNNING and mine is None:
                self._discard(frozen)
        if others is not None and others.number < mine.number:
            self._discard(mine)
            return None
        return self._read(mine, living)

    def save_fold(self, trial, fold, result):
        """Keep the result of a fold, so that it is not computed again."""
        live = live_trial(self.study, trial.frozen)
        live.set_user_attr(f"{FOLD}{fold}", result)
        if result["curve"]:
            step, value = result["curve"][-1]
            live.report(value, step)
        trial.folds.append(result)

    def complete(self, trial, value):
        self.study.tell(trial.frozen.number, value)

    def prune(self, trial):
        self.study.tell(trial.frozen.number, state=TrialState.PRUNED)

    def fail(self, trial, message):
        live_trial(self.study, trial.frozen).set_user_attr(ERROR, message)
        self.study.tell(trial.frozen.number, state=TrialState.FAIL)

    def waiting(self):
        """Pop the parameters of a trial that the user has enqueued, None without."""
        states = (TrialState.WAITING,)
        if not self.study.get_trials(deepcopy=False, states=states):
            return None
        asked = self.study.ask()
        asked_for = self.study.get_trials(deepcopy=False)[asked.number]
        fixed = asked_for.system_attrs.get("fixed_params")
        asked.set_user_attr(DISCARDED, True)
        self.study.tell(asked, state=TrialState.FAIL)
        return fixed

    def _discard(self, frozen):
        with suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):
            live_trial(self.study, frozen).set_user_attr(DISCARDED, True)
            self.study.tell(frozen.number, state=TrialState.FAIL)

    def _read(self, frozen, living):
        attrs = frozen.user_attrs
        given_up = frozen.state == TrialState.FAIL and attrs[ATTEMPT] >= ATTEMPTS
        ended = frozen.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if ended or given_up or ERROR in attrs:
            status = "done"
        elif frozen.state == TrialState.RUNNING and attrs[RUN] in living:
            status = "running"
        else:
            status = "abandoned"
        folds = _folds(attrs)
        return Trial(attrs[POSITION], frozen, status, attrs[ATTEMPT], folds)

    def _held(self):
        """Return the trials that hold positions, and the runs that are alive."""
        trials = self.study.get_trials(deepcopy=False)
        trials = [t for t in trials if DISCARDED not in t.user_attrs]
        held = [t for t in trials if POSITION in t.user_attrs and self._is_whole(t)]
        # Read after the trials: a run is on record before its first one.
        living = {self.run}
        for key, value in self.study.user_attrs.items():
            if key.startswith(_HEARTBEAT) and _is_alive(value):
                living.add(key.removeprefix(_HEARTBEAT))
        return held, living

    def _is_whole(self, frozen):
        """Whether notes on a trial are such as this class writes; warn once if not."""
        if frozen.number in self._damaged:
            return False
        if _are_notes(frozen):
            return True
        self._damaged.add(frozen.number)
        warnings.warn(
            f"What the study {self.study.study_name!r} holds of trial {frozen.number} "
            "cannot be read; its parameters are tried again.",
            stacklevel=2,
        )
        return False

    def _record_heartbeat(self, alive):
        process = psutil.Process()
        heartbeat = {
            "machine": _machine(),
            "pid": process.pid,
            "created": process.create_time(),
            "seen": time.time(),
            "alive": alive,
        }
        self.study.set_user_attr(_HEARTBEAT + self.run, heartbeat)

    def _beat(self):
        while not self._stop.wait(HEARTBEAT):
            self._record_heartbeat(True)

    def _check_identity(self, identity):
        known = self.study.user_attrs.get(_PREFIX + "identity")
        if known is None:
            self.study.set_user_attr(_PREFIX + "identity", identity)
        elif known != identity:
            raise ValueError(
                f"The study {self.study.study_name!r} holds trials of other data, "
                "folds, estimator, scoring or search space, which cannot be compared "
                "with those of this search. Pass another study_name, or none: then "
                "each search finds its own study in the storage."
            )


def _folds(attrs):
    """Return the results of folds that are kept with a trial, up to the first gap."""
    folds = []
    while f"{FOLD}{len(folds)}" in attrs:
        folds.append(attrs[f"{FOLD}{len(folds)}"])
    return folds


def _are_notes(frozen):
    attrs = frozen.user_attrs
    kinds = ((POSITION, int), (RUN, str), (ATTEMPT, int))
    if not all(isinstance(attrs.get(key), kind) for key, kind in kinds):
        return False
    return attrs[POSITION] >= 0 and all(map(_is_result, _folds(attrs)))


def _is_result(fold):
    """Whether a value is the result of a fold, as `run_fold` gives it."""
    try:
        numbers = [fold["fit_time"], fold["score_time"], *fold["scores"].values()]
        numbers += [number for point in fold["curve"] for number in point]
        texts = isinstance(fold["error"], str | None) and isinstance(
            fold["pruned"], bool
        )
        return texts and isinstance(fold["notes"], dict) and not np.isnan(numbers).any()
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _rank(trial):
    """Order the trials that hold one position, the valid one first."""
    return ("done", "running", "abandoned").index(trial.status), trial.frozen.number


def _machine():
    """Return a name for what shares process numbers: a boot, or a container in it."""
    parts = [socket.gethostname(), platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_alive(heartbeat):
    try:
        if not heartbeat["alive"]:
            return False
        if heartbeat["machine"] != _machine():
            return time.time() - heartbeat["seen"] < SILENCE
        created = psutil.Process(heartbeat["pid"]).create_time()
        return abs(created - heartbeat["created"]) < 1
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False  # one that cannot be read is not of a process that runs
