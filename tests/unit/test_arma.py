"""The noise of a local model: that its numbers are those of statsmodels, which takes longer for them."""

import numpy as np
import pytest

from storecast.models.arma import LeastSquares, Noise, choose, innovations, maximum_likelihood
from storecast.models.likelihood import Likelihood
from storecast.panel import Floats

ORDERS = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3)]


def made(noise: Noise, n: int = 300, seed: int = 0) -> Floats:
    """A series of this noise."""
    shocks = np.random.default_rng(seed).normal(size=n + 50)
    values = np.zeros(n + 50)
    for t in range(3, n + 50):
        values[t] = shocks[t]
        values[t] += sum(c * values[t - 1 - k] for k, c in enumerate(noise.ar))
        values[t] += sum(c * shocks[t - 1 - k] for k, c in enumerate(noise.ma))
    return values[50:]


def of_order(p: int, q: int) -> Noise:
    return Noise(np.array([0.5, 0.2, -0.1])[:p], np.array([-0.6, 0.1, 0.2])[:q])


@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_the_likelihood_is_that_of_the_innovations(p: int, q: int) -> None:
    noise = of_order(p, q)
    steps = made(noise)
    u, v = innovations(steps, noise)
    squares, logs = Likelihood(steps).parts(noise.ar, noise.ma)
    assert squares == pytest.approx(np.sum(u**2 / v), rel=1e-10)
    assert logs == pytest.approx(np.log(v).sum(), abs=1e-9)


@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_least_squares_are_hannans_and_rissanens(p: int, q: int) -> None:
    from statsmodels.tsa.arima.estimators.hannan_rissanen import hannan_rissanen

    steps = made(of_order(p, q))
    theirs, _ = hannan_rissanen(steps, p, q, demean=False, unbiased=False)
    ours = LeastSquares(steps).of((p, q))
    if ours is None:
        assert not (theirs.is_stationary and theirs.is_invertible)
    else:
        np.testing.assert_allclose(
            np.r_[ours.ar, ours.ma], np.r_[theirs.ar_params, theirs.ma_params], rtol=1e-8
        )


@pytest.mark.parametrize("iterations", [3, 15])
@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_maximum_likelihood_walks_the_same_way(p: int, q: int, iterations: int) -> None:
    from statsmodels.tsa.arima.estimators.innovations import innovations_mle

    start = of_order(p, q)
    steps = made(start, seed=1)
    theirs, _ = innovations_mle(
        steps,
        order=(p, 0, q),
        demean=False,
        start_params=np.r_[start.ar, start.ma, np.var(steps)],
        minimize_kwargs={"options": {"maxiter": iterations}},
    )
    ours = maximum_likelihood(steps, start, iterations)
    assert ours is not None
    np.testing.assert_allclose(np.r_[ours.ar, ours.ma], np.r_[theirs.ar_params, theirs.ma_params], atol=1e-4)


def test_the_criterion_finds_the_order_that_made_the_series() -> None:
    steps = made(Noise(np.array([0.7]), np.array([-0.3])), n=2_000)
    found = choose(steps, [(0, 1), (1, 1), (2, 1)], "bic", LeastSquares(steps))
    assert found is not None
    assert found.order == (1, 1)


def test_noise_that_explodes_is_no_start() -> None:
    explosive = Noise(np.array([1.2]), np.zeros(0))
    assert not explosive.is_proper
    assert maximum_likelihood(made(of_order(1, 0)), explosive, 5) is None
