"""The optimiser of the LSTM: matrices move by Muon, all else by AdamW."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from storecast.models.lstm.muon import Muon, orthogonal


def grown(seed: int, *shape: int) -> nn.Parameter:
    """A parameter with a gradient, both of random numbers."""
    random = torch.Generator().manual_seed(seed)
    parameter = nn.Parameter(torch.randn(*shape, generator=random))
    parameter.grad = torch.randn(*shape, generator=random)
    return parameter


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.floats(1e-6, 1e6))
def test_singular_values_end_near_one_whatever_the_size_of_the_gradient(
    seed: int, rows: int, columns: int, size: float
) -> None:
    random = np.random.default_rng(seed)
    least = min(rows, columns)
    left, right = (np.linalg.qr(random.normal(size=(n, least)))[0] for n in (rows, columns))
    values = size * random.uniform(0.02, 1.0, least) / least**0.5
    found = orthogonal(torch.tensor(left * values @ right.T, dtype=torch.float32)).numpy()
    assert found.shape == (rows, columns)
    inner = left.T @ found @ right
    assert np.all((np.diag(inner) > 0.6) & (np.diag(inner) < 1.25))
    np.testing.assert_allclose(inner - np.diag(np.diag(inner)), 0, atol=0.02)


def test_a_gradient_of_nothing_moves_nothing() -> None:
    matrix = grown(0, 4, 6)
    before = matrix.detach().clone()
    matrix.grad = torch.zeros(4, 6)
    Muon([matrix], [grown(1, 3)], 0.1, 0.0).step()
    torch.testing.assert_close(matrix.detach(), before, rtol=0, atol=0)


def test_a_step_of_a_matrix_is_as_large_as_one_of_adamw() -> None:
    matrix, other = grown(0, 64, 192), grown(1, 64, 192)
    before = matrix.detach().clone()
    Muon([matrix], [other], 0.01, 0.0).step()
    moved = (matrix.detach() - before).square().mean().sqrt()
    assert float(moved) / 0.01 == pytest.approx(0.2, rel=0.2)


def test_all_else_moves_as_by_adamw_itself() -> None:
    mine, theirs = grown(3, 7, 2), grown(3, 7, 2)
    muon = Muon([grown(4, 5, 5)], [mine], 0.01, 0.1)
    adamw = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    for _ in range(3):
        muon.step()
        adamw.step()
    torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=0, atol=0)


def test_its_momentum_goes_on_from_a_saved_state() -> None:
    whole, half = grown(5, 6, 3), grown(5, 6, 3)
    gradient = whole.grad.clone() if whole.grad is not None else torch.zeros(6, 3)
    first, second = Muon([whole], [grown(6, 2)], 0.05, 0.0), Muon([half], [grown(6, 2)], 0.05, 0.0)
    first.step()
    second.step()
    resumed = Muon([half], [grown(6, 2)], 0.05, 0.0)
    resumed.load_state_dict(second.state_dict())
    for optimizer, matrix in ((first, whole), (resumed, half)):
        matrix.grad = gradient.flip(0)
        optimizer.step()
    torch.testing.assert_close(half.detach(), whole.detach(), rtol=0, atol=0)
