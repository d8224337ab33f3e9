"""The LSTM as a forecaster: fit, forecast, save and load. PyTorch is imported by these calls, not before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from storecast.errors import ModelError
from storecast.models.base import FitContext, FitReport, Forecast, ModelConfig
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.encoding import Encoding
from storecast.panel import Panel
from storecast.store.draft import draft_of

if TYPE_CHECKING:
    from storecast.models.lstm.network import Network
    from storecast.models.lstm.windows import Windows

FORMAT = 2
Progress = Callable[[int, int], None]


class Lstm:
    """One global sequence model: an LSTM over the weeks before the origin, a direct decoder of the horizon.

    It forecasts the difference of log(1 + y) to the same-weekday mean of the last weeks, in units of the
    series' own recent noise. A fit is deterministic for a seed, a number of threads and a machine; a series
    that was not there at the fit is forecast with the embedding of the unknown series.
    """

    scope: ClassVar[Literal["local", "global"]] = "global"
    Config: ClassVar[type[ModelConfig]] = LstmConfig

    def __init__(self, config: LstmConfig) -> None:
        self.config = config
        self._encoding: Encoding | None = None
        self._networks: list[Network] = []

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Train on the panel's history; from `context.previous` (an Lstm) on where it fits, in fewer steps.

        Raises:
            ModelError: the panel has no horizon, or no window of one week and a horizon of history.
        """
        _check_trainable(panel)
        from storecast.models.lstm.ensemble import build, inherit, member_seed
        from storecast.models.lstm.training import Plan, limited, train

        with limited(context.threads):
            encoding = Encoding.of(panel, self.config.use_past)
            windows = self._windows(panel, encoding, self.config.train_weeks)
            networks = build(windows, encoding, self.config, context.seed)
            warm = False
            if self.config.warm_steps and isinstance(previous := context.previous, Lstm):
                before = previous._encoding
                warm = before is not None and inherit(networks, encoding, previous._networks, before)
            steps = self._steps(windows, warm=warm)
            key = _key(panel, self.config, context.seed, networks)
            losses = []
            for member, network in enumerate(networks):
                plan = Plan(
                    steps=steps,
                    rate=self.config.warm_rate if warm else self.config.rate,
                    seed=member_seed(context.seed, member),
                    checkpoint=_checkpoint(context.workdir, member),
                    key=key,
                    progress=_share(context.progress, member, len(networks)),
                )
                losses.append(train(network, windows, self.config, plan))
        self._encoding, self._networks = encoding, networks
        return FitReport(info={"loss": float(np.mean(losses)), "steps": steps, "warm_start": warm})

    def forecast(self, panel: Panel) -> Forecast:
        """Forecast from the panel's cutoff with the fitted weights.

        Give all series, even to forecast a few: what promotions have lately done is read off the others.

        Raises:
            ModelError: the model is not fitted, or the panel lacks covariates, or asks for a longer horizon.
        """
        encoding, networks = self._fitted()
        encoding.check(panel)
        from storecast.models.lstm.training import limited, predict

        with limited(1):
            mean, quantiles = predict(networks, self._windows(panel, encoding, 0))
        return Forecast(
            ids=panel.ids,
            dates=panel.future_dates,
            point=np.expm1(np.maximum(mean.double().numpy(), 0.0)),
            quantiles=np.expm1(np.maximum(quantiles.double().numpy(), 0.0)),
        )

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, configuration and encoding as JSON."""
        from safetensors.torch import save

        from storecast.models.lstm.ensemble import to_tensors

        encoding, networks = self._fitted()
        meta = {"format": FORMAT, "config": self.config.model_dump(), "encoding": encoding.model_dump()}
        _write(folder / "lstm.safetensors", save(to_tensors(networks)))
        _write(folder / "lstm.json", json.dumps(meta, sort_keys=True).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; on a machine without a GPU a model trained on one loads too."""
        from safetensors.torch import load

        from storecast.models.lstm.ensemble import from_tensors
        from storecast.models.lstm.training import pick_device

        meta = json.loads(_read(folder / "lstm.json"))
        if meta["format"] != FORMAT:
            raise ModelError(
                "the saved LSTM has another format",
                where=str(folder),
                expected=str(FORMAT),
                found=str(meta["format"]),
                cure="fit it again with this version",
            )
        model = cls(LstmConfig(**meta["config"]))
        model._encoding = Encoding(**meta["encoding"])
        device = pick_device(model.config.device)
        tensors = load(_read(folder / "lstm.safetensors"))
        model._networks = from_tensors(tensors, model._encoding, model.config, device)
        return model

    def _steps(self, windows: Windows, *, warm: bool) -> int:
        """Steps of each network: as configured, fewer where they would go over the windows too often."""
        from storecast.models.lstm.steps import origins_drawn

        config = self.config
        count = len(windows.series) * origins_drawn(windows, config)
        return min(config.warm_steps if warm else config.steps, -(-count * config.passes // config.batch))

    def _windows(self, panel: Panel, encoding: Encoding, weeks: int) -> Windows:
        """The windows whose origins lie in the last weeks, or at the cutoff."""
        from storecast.models.lstm.training import pick_device
        from storecast.models.lstm.windows import Windows, reach

        context = self.config.context_weeks
        dates = weeks * encoding.week + panel.horizon + reach(encoding, context)
        return Windows(panel.last(dates), encoding, context, pick_device(self.config.device))

    def _fitted(self) -> tuple[Encoding, list[Network]]:
        if self._encoding is None:
            raise ModelError("the LSTM is not fitted", cure="call fit or load first")
        return self._encoding, self._networks


def _check_trainable(panel: Panel) -> None:
    least = panel.frequency.week + panel.horizon
    if panel.horizon < 1 or panel.n_history < least:
        raise ModelError(
            "the panel is too short to train the LSTM on",
            expected=f"a horizon of at least 1, a history of a week and a horizon ({least} dates)",
            found=f"horizon {panel.horizon}, {panel.n_history} dates of history",
            cure="give more history or ask for a shorter horizon",
        )


def _checkpoint(workdir: Path | None, member: int) -> Path | None:
    return None if workdir is None else workdir / f"lstm-{member}.safetensors"


def _share(progress: Progress, member: int, members: int) -> Progress:
    """Progress of one member as a part of the whole fit's."""
    return lambda done, total: progress(member * total + done, members * total)


def _key(panel: Panel, config: LstmConfig, seed: int, networks: list[Network]) -> str:
    """Names a fit by all that decides its weights: a checkpoint of another fit is not taken up."""
    digest = hashlib.sha256(
        f"{FORMAT} muon {config.model_dump_json()} {seed} {panel.cutoff} {panel.freq}".encode()
    )
    for array in (panel.history, *panel.known.values(), *panel.past.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(panel.events.to_csv().encode())
    digest.update(panel.static.to_csv().encode())
    for weight in (value for network in networks for value in network.state_dict().values()):
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(
            "a file of the saved LSTM is missing", where=str(path), cure="use the folder that save wrote"
        )
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    with draft_of(path) as draft:
        draft.write_bytes(content)
