"""Which values a trial tries: the model's own in the first, then Optuna's choice, by the seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from components.study.attempts import died, is_default
from components.study.values import encoded

RANDOM_TRIALS = 8
"""Trials drawn at random before the tree-structured Parzen estimator (Bergstra et al. 2011) chooses."""


class SeededByTrial(BaseSampler):
    """Optuna's TPE with a seed of its own for each trial and parameter, so that it has no state to lose."""

    def __init__(self, seed: int, defaults: Mapping[str, Any]) -> None:
        self.seed, self.defaults = seed, defaults

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: parameters are drawn one by one."""
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """None."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The model's own value in the first trial; then TPE's, from the trials that are finished."""
        if is_default(trial):
            return encoded(self.defaults[param_name])
        earlier = study.get_trials(deepcopy=False)
        place = sum(t.number < trial.number and not died(t) for t in earlier)
        digest = hashlib.sha256(f"{self.seed} {place} {param_name}".encode()).digest()
        tpe = TPESampler(seed=int.from_bytes(digest[:4], "big"), n_startup_trials=RANDOM_TRIALS)
        return tpe.sample_independent(study, trial, param_name, param_distribution)
