"""One booster of the gradient boosting: LightGBM over all rows of a feature table, or a model per key value.

What it learns is log(1+y), either as the difference to an offset (the recent level moved by what promotions
have lately done: `storecast.models.offset`) or as it is. Differences follow a level shift at once and go
beyond what was ever seen; levels learn better what the recent weeks say of the coming ones. Their errors
differ, so their mean is better than either.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storecast.features import FeatureTable, training_cutoffs
from storecast.features.table import STEP_DAYS, WINDOW_DAYS
from storecast.models.base import FitContext, ModelConfig
from storecast.newcomers import key_columns
from storecast.panel import Floats, Panel

FEWEST_ROWS = 200
FEWEST_SERIES = 5
FEW_ROWS, SHARE_OF_FEW = 10_000, 0.6
"""A model with fewer rows has trees that each see a share of them, by chance: it overfits less. From more
rows on that costs more than it gains (docs/accuracy.md)."""
_BINNING = {"max_bin": 127, "feature_pre_filter": False}
Report = Callable[[int], None]


class TreesConfig(ModelConfig):
    """How trees are grown, and on which rows."""

    window_days: int = Field(default=WINDOW_DAYS, gt=0, description="Days of training cutoffs.")
    half_life_days: float = Field(default=200.0, gt=0, description="Age at which a row weighs half.")
    rounds: int = Field(default=400, ge=1, description="Trees.")
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    leaves: int = Field(default=63, ge=2, description="Leaves of a tree.")
    min_rows: int = Field(default=100, ge=1, description="Rows in a leaf, at least.")
    feature_fraction: float = Field(default=0.5, gt=0, le=1, description="Features each tree may use.")
    row_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Rows each tree sees; not given: all of them, or six tenths where a model has few.",
    )
    extra_trees: bool = Field(default=False, description="Try one random threshold per feature and node.")
    split: bool = Field(
        default=False, description="A model for each value of the key that has the fewest (each family)."
    )


def recency(config: TreesConfig, panel: Panel, dates: NDArray[np.datetime64]) -> Floats:
    """(rows,) weights of rows of these dates by their age at the panel's cutoff."""
    age = (panel.cutoff.to_datetime64() - dates) / np.timedelta64(1, "D")
    return np.asarray(0.5 ** (age / (config.half_life_days * panel.frequency.stretch)))


class BoosterConfig(TreesConfig):
    """Parameters of one booster."""

    step_days: int = Field(default=2 * STEP_DAYS, gt=0, description="Days between training cutoffs.")
    learns: Literal["change", "level"] = Field(
        default="change",
        description="The difference to the recent level and promotions' effects, or the level.",
    )


@dataclass(frozen=True, eq=False)
class Booster:
    """A fitted booster: LightGBM models by the value of `column`; where it is "", one under "".

    What has fewer than `FEWEST_ROWS` rows to learn from has no model.
    """

    learns: str
    column: str
    models: Mapping[str, Any]

    @classmethod
    def fit(
        cls,
        config: BoosterConfig,
        table: FeatureTable,
        base: Floats,
        panel: Panel,
        context: FitContext,
        seed: int,
        report: Report,
    ) -> Self:
        """Learn from the rows of the table that lie in the booster's window.

        Args:
            config: of this booster.
            table: the rows of all boosters.
            base: (rows,) the offset.
            panel: whose cutoff the rows' age is told from.
            context: of the fit.
            seed: of this booster.
            report: called with the number of trees grown so far.
        """
        column = splitting_column(panel) if config.split else ""
        cutoffs = training_cutoffs(panel, config.step_days, config.window_days)
        parts = dict(_parts(table, column, np.isin(table.cutoff, cutoffs)))

        def fit(value: str, threads: int, report: Report) -> Any:
            those = parts[value]
            target = np.log1p(table.y[those])
            if config.learns == "change":
                target = target - base[those]
            weight = recency(config, panel, table.cutoff[those])
            values = _some(table.values, those)
            return train(config, values, target, weight, table.names, table.categories, threads, seed, report)

        return cls(config.learns, column, side_by_side(list(parts), fit, context.threads, report))

    def predict(self, table: FeatureTable, base: Floats) -> Floats:
        """(rows,) log(1+y) of each row; NaN where there is no model for the row's value.

        One thread: a model of a family has few rows, and threads that wait for each other at the end of each
        such call cost a busy machine ten times as long as the trees take.
        """
        found = np.full(len(table.values), np.nan)
        start = base if self.learns == "change" else np.zeros(len(base))
        for value, model in self.models.items():
            rows = _rows_of(table, self.column, value) if self.column else np.ones(len(found), dtype=bool)
            if rows.any():
                found[rows] = start[rows] + model.predict(_some(table.values, rows), num_threads=1)
        return found

    def texts(self, name: str) -> dict[str, str]:
        """The models as LightGBM's own text by file name, and nothing in it that depends on the machine."""
        return texts_of(self.models, name)

    def about(self) -> dict[str, Any]:
        """What `load` needs besides the texts."""
        return {"learns": self.learns, "column": self.column, "values": sorted(self.models)}

    @classmethod
    def load(cls, about: Mapping[str, Any], folder: Path, name: str) -> Self:
        """Read back what `texts` and `about` gave."""
        models = read_models(folder, name, about["values"])
        return cls(about["learns"], about["column"], models)


def splitting_column(panel: Panel) -> str:
    """The key whose values get a model each; "" where there is none that is worth it.

    Of the keys (`storecast.newcomers.key_columns`) with several values, and some series per value, it is the
    one with the fewest.
    """
    sizes = {name: panel.static[name].nunique() for name in key_columns(panel.static)}
    fit = [name for name in sizes if 2 <= sizes[name] <= panel.n_series / FEWEST_SERIES]
    return min(fit, key=lambda name: (sizes[name], name), default="")


def trees(config: TreesConfig, panel: Panel) -> int:
    """How many trees a fit grows, for its progress."""
    column = splitting_column(panel) if config.split else ""
    return config.rounds * (panel.static[column].nunique() if column else 1)


def side_by_side(
    values: Sequence[str], fit: Callable[[str, int, Report], Any], threads: int, report: Report
) -> dict[str, Any]:
    """Fit a model for each of some values, as many at a time as there are threads for.

    A family's rows are few: threads that share the trees of one model wait for each other at the end of each
    leaf, those with a model each do not.

    Args:
        values: what there is a model for.
        fit: fits that of a value with so many threads, and reports how many trees it has so far.
        threads: of all fits together.
        report: called with the number of trees that all have so far, by the thread that called this.
    """
    told: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
    workers = max(1, min(threads, len(values)))
    grown: dict[str, int] = {}

    def one(value: str) -> Any:
        return fit(value, max(1, threads // workers), lambda trees: told.put((value, trees)))

    with ThreadPoolExecutor(workers) as pool:
        fits = [pool.submit(one, value) for value in values]
        for each in fits:
            each.add_done_callback(lambda _: told.put(None))
        try:
            ended = 0
            while ended < len(fits):  # whoever asked reports: in other threads nobody knows of which run
                news = told.get()
                if news is None:
                    ended += 1
                else:
                    grown[news[0]] = news[1]
                    report(sum(grown.values()))
            return {value: each.result() for value, each in zip(values, fits, strict=True)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            _give_back()


def _give_back() -> None:
    """Return what the threads have freed to the system: glibc keeps it for each of them, more with every
    fit. Other C libraries do so by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def train(
    config: TreesConfig,
    values: NDArray[np.float32],
    target: Floats,
    weight: Floats,
    names: list[str],
    statics: Iterable[str],
    threads: int,
    seed: int,
    report: Report,
) -> Any:
    """A LightGBM model of `target` (rows,) by `values` (rows, k); the same whatever the number of threads.

    Args:
        config: how trees are grown.
        values: the features.
        target: what is learnt.
        weight: (rows,) of the rows.
        names: (k,) of the features.
        statics: the static columns, whose codes are no numbers.
        threads: to use.
        seed: of the choice of features and rows.
        report: called with the number of trees grown so far.
    """
    import lightgbm as lgb

    codes = [names.index(code) for code in (f"code_{name}" for name in statics) if code in names]
    data = lgb.Dataset(
        values,
        target,
        weight=weight,
        feature_name=_allowed(names),
        categorical_feature=codes,
        params={**_BINNING, "verbose": -1},
    ).construct()
    params = {
        "objective": "l2",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_rows,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.row_fraction or (SHARE_OF_FEW if len(values) < FEW_ROWS else 1.0),
        "bagging_freq": 1,
        "extra_trees": config.extra_trees,
        "lambda_l2": 1.0,
        "cat_smooth": 50.0,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **_BINNING,
    }
    return lgb.train(params, data, config.rounds, callbacks=[lambda env: report(env.iteration + 1)])


def _allowed(names: Sequence[str]) -> list[str]:
    """The names as LightGBM takes them: without what JSON and its own text have a meaning for."""
    odd = re.compile(r'[\s",:\[\]{}=]')
    return [f"{odd.sub('_', name)}_{k}" if odd.search(name) else name for k, name in enumerate(names)]


def text_of(model: Any) -> str:
    """LightGBM's text of a model, the same whatever the number of threads."""
    text: str = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", model.model_to_string())
    return text


def texts_of(models: Mapping[str, Any], name: str) -> dict[str, str]:
    """The texts of models by file name, in the order of the values that they are for."""
    return {f"{name}_{number}.txt": text_of(models[value]) for number, value in enumerate(sorted(models))}


def read_models(folder: Path, name: str, values: Sequence[str]) -> dict[str, Any]:
    """The models of these values from the files that `texts_of` named; on all cores, since LightGBM reads
    without Python's lock."""
    files = [folder / f"{name}_{number}.txt" for number in range(len(values))]
    with ThreadPoolExecutor() as readers:
        return dict(zip(values, readers.map(read_text, files), strict=True))


def read_text(path: Path) -> Any:
    """A LightGBM model from its text."""
    import lightgbm as lgb

    return lgb.Booster(model_str=path.read_text())


def _parts(
    table: FeatureTable, column: str, rows: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each value of a static column with its rows, where they are enough to learn from."""
    for value in table.categories[column] if column else [""]:
        those = rows & _rows_of(table, column, value) if column else rows
        if those.sum() >= FEWEST_ROWS:
            yield value, those


def _rows_of(table: FeatureTable, column: str, value: str) -> NDArray[np.bool_]:
    """(rows,) which rows have this value of a static column."""
    rows: NDArray[np.bool_] = table.column(f"code_{column}") == table.categories[column].index(value)
    return rows


def _some(values: NDArray[np.float32], rows: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows; without a copy where they lie together, as those of the latest cutoffs do."""
    first = int(rows.argmax())
    last = len(rows) - int(rows[::-1].argmax())
    return values[first:last] if rows[first:last].all() else values[rows]
