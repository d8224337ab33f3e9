"""Optuna: a study whose trials any number of processes and pods work on. The only package that imports it.

The study lies in a database that all of them reach. What a trial tries depends on the seed, the trial's place
in the order and the trials finished before it, so one process that was killed goes on as if it had not been.
A trial whose process died is tried again: at once where nobody else on this machine works on the study, else
when its heartbeat has been missed.

place.py     where a study is, and what it chooses
workers.py   trials, one after the other, until there are enough
attempts.py  which trial is the default's, which one died and is tried again
trials.py    what the trials say: the best, the default's, all as a table
sampler.py   which values a trial tries
values.py    values as Optuna keeps them
"""

from components.study.place import StudyPlace
from components.study.trials import best_trial, chosen, default_trial, finished_trials, trials_table
from components.study.workers import go_on, work

__all__ = [
    "StudyPlace",
    "best_trial",
    "chosen",
    "default_trial",
    "finished_trials",
    "go_on",
    "trials_table",
    "work",
]
