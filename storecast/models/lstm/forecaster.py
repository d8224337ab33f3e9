"""The LSTM as a forecaster: fit, forecast, save and load. PyTorch is imported by these calls, not before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from storecast.errors import ModelError
from storecast.models.base import FitContext, FitReport, Forecast, Forecaster, ModelConfig
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.encoding import Encoding
from storecast.panel import Panel

if TYPE_CHECKING:
    from torch import Tensor

    from storecast.models.lstm.network import Network
    from storecast.models.lstm.windows import Windows

FORMAT = 1


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
        self._network: Network | None = None

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Train on the panel's history; from `context.previous` (an Lstm) on where it fits, in fewer steps.

        Raises:
            ModelError: the panel has no horizon, or no window of one week and a horizon of history.
        """
        _check_trainable(panel)
        from storecast.models.lstm.training import Plan, limited, train

        warm = _warm_start(context.previous)
        with limited(context.threads):
            encoding = Encoding.of(panel, self.config.use_past)
            windows = self._windows(panel, encoding, self.config.train_weeks)
            network = _build(windows, encoding, self.config, context.seed)
            warmed = warm is not None and _inherit(network, encoding, warm)
            plan = Plan(
                steps=self.config.warm_steps if warmed else self.config.steps,
                rate=self.config.warm_rate if warmed else self.config.rate,
                seed=context.seed,
                workdir=context.workdir,
                key=_key(panel, self.config, context.seed, network),
                progress=context.progress,
            )
            loss = train(network, windows, self.config, plan)
        self._encoding, self._network = encoding, network
        return FitReport(info={"loss": loss, "steps": plan.steps, "warm_start": warmed})

    def forecast(self, panel: Panel) -> Forecast:
        """Forecast from the panel's cutoff with the fitted weights.

        Raises:
            ModelError: the model is not fitted, or the panel lacks covariates, or asks for a longer horizon.
        """
        encoding, network = self._fitted()
        encoding.check(panel)
        from storecast.models.lstm.training import limited, predict

        with limited(1):
            mean, quantiles = predict(network, self._windows(panel, encoding, 0))
        return Forecast(
            ids=panel.ids,
            dates=panel.future_dates,
            point=np.expm1(np.maximum(mean.double().numpy(), 0.0)),
            quantiles=np.expm1(np.maximum(quantiles.double().numpy(), 0.0)),
        )

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, configuration and encoding as JSON."""
        from safetensors.torch import save

        encoding, network = self._fitted()
        weights = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
        meta = {"format": FORMAT, "config": self.config.model_dump(), "encoding": encoding.model_dump()}
        _write(folder / "lstm.safetensors", save(weights))
        _write(folder / "lstm.json", json.dumps(meta, sort_keys=True).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; on a machine without a GPU a model trained on one loads too."""
        from safetensors.torch import load_file

        from storecast.models.lstm.training import pick_device

        meta = json.loads((folder / "lstm.json").read_text())
        if meta.get("format") != FORMAT:
            raise ModelError(
                "the saved LSTM has another format",
                where=str(folder),
                expected=str(FORMAT),
                found=str(meta.get("format")),
            )
        model = cls(LstmConfig(**meta["config"]))
        model._encoding = Encoding(**meta["encoding"])
        weights = load_file(folder / "lstm.safetensors")
        network = _network_like(weights, model._encoding, model.config)
        network.load_state_dict(weights)
        model._network = network.to(pick_device(model.config.device)).eval()
        return model

    def _windows(self, panel: Panel, encoding: Encoding, weeks: int) -> Windows:
        """The windows whose origins lie in the last weeks, or at the cutoff."""
        from storecast.models.lstm.training import pick_device
        from storecast.models.lstm.windows import Windows, reach

        context = self.config.context_weeks
        dates = weeks * encoding.week + panel.horizon + reach(encoding, context)
        return Windows(panel.last(dates), encoding, context, pick_device(self.config.device))

    def _fitted(self) -> tuple[Encoding, Network]:
        if self._encoding is None or self._network is None:
            raise ModelError("the LSTM is not fitted", cure="call fit or load first")
        return self._encoding, self._network


def _check_trainable(panel: Panel) -> None:
    least = (7 if panel.freq == "D" else 1) + panel.horizon
    if panel.horizon < 1 or panel.n_history < least:
        raise ModelError(
            "the panel is too short to train the LSTM on",
            expected=f"a horizon of at least 1, a history of a week and a horizon ({least} dates)",
            found=f"horizon {panel.horizon}, {panel.n_history} dates of history",
            cure="give more history or ask for a shorter horizon",
        )


def _warm_start(previous: Forecaster | None) -> Lstm | None:
    return previous if isinstance(previous, Lstm) and previous._network is not None else None


def _build(windows: Windows, encoding: Encoding, config: LstmConfig, seed: int) -> Network:
    """A fresh network of the sizes that the windows and the encoding ask for, on the windows' device."""
    import torch

    from storecast.models.lstm.network import Network, Sizes

    rows = torch.zeros(1, dtype=torch.int64, device=windows.series.device)
    sample = windows.batch(rows, rows + windows.n_history)
    sizes = Sizes.of(sample, 1 + len(encoding.ids), tuple(1 + len(v) for v in encoding.static.values()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(sizes, config)
    return network.to(rows.device)


def _network_like(weights: dict[str, Tensor], encoding: Encoding, config: LstmConfig) -> Network:
    """An empty network of the sizes of saved weights."""
    from storecast.models.lstm.network import Network, Sizes

    codes = config.series_dim + config.static_dim * len(encoding.static)
    sizes = Sizes(
        encoder=weights["lstm.weight_ih_l0"].shape[1],
        summary=weights["window.weight"].shape[1] - config.hidden - codes,
        steps=weights["date.weight"].shape[1],
        series=1 + len(encoding.ids),
        static=tuple(1 + len(v) for v in encoding.static.values()),
    )
    return Network(sizes, config)


def _inherit(network: Network, encoding: Encoding, model: Lstm) -> bool:
    """Copy another model's weights, embeddings by name; False, and nothing copied, where the sizes differ."""
    import torch

    before, old = model._fitted()
    if list(before.static) != list(encoding.static) or before.freq != encoding.freq:
        return False
    tables = {"series.weight": (before.ids, encoding.ids)}
    for k, column in enumerate(encoding.static):
        tables[f"static.{k}.weight"] = (before.static[column], encoding.static[column])
    device = network.head.weight.device
    mine, theirs = network.state_dict(), {k: v.to(device) for k, v in old.state_dict().items()}
    if any(mine[k].shape[k in tables :] != theirs[k].shape[k in tables :] for k in mine):
        return False
    for name, (names, wanted) in tables.items():
        code = {value: c for c, value in enumerate(names, start=1)}
        rows = [0, *(code.get(value, 0) for value in wanted)]
        theirs[name] = theirs[name][torch.tensor(rows, device=device)]
    network.load_state_dict(theirs)
    return True


def _key(panel: Panel, config: LstmConfig, seed: int, network: Network) -> str:
    """Names a fit by all that decides its weights: a checkpoint of another fit is not taken up."""
    digest = hashlib.sha256(
        f"{FORMAT} {config.model_dump_json()} {seed} {panel.cutoff} {panel.freq}".encode()
    )
    for array in (panel.history, *panel.known.values(), *panel.past.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(panel.events.to_csv().encode())
    for weight in network.state_dict().values():
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
