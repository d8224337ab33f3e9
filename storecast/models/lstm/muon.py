"""The optimiser: Muon for the matrices of the network, AdamW for its biases, embeddings and head.

Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024) moves a matrix by its
momentum with all singular values made one, so that directions with small gradients are learnt as fast as
those with large ones. Its step has the size of AdamW's (Liu et al., "Muon is scalable for LLM training",
2025), so one learning rate serves both.

PyTorch's own Muon computes in bfloat16, which takes a processor without such instructions longer than the
rest of the step, and reads its rate on the CPU, which a recorded step cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
TURNS = 5
A, B, C = 3.4445, -4.7750, 2.0315
"""The polynomial ax + bx³ + cx⁵ brings singular values into 0.7 to 1.2 in five turns, small ones too."""
AS_ADAMW = 0.2
"""Root mean square of an AdamW update, by Liu et al."""


class Muon(torch.optim.AdamW):
    """Muon for some matrices, AdamW for all other parameters.

    Args:
        matrices: parameters of shape (m, n).
        others: all others.
        rate: learning rate; a tensor where a recorded step is to read it anew each time.
        decay: decoupled weight decay of all of them.
        options: further ones of AdamW.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        rate: float | Tensor,
        decay: float,
        **options: Any,
    ) -> None:
        groups = [{"params": list(matrices)}, {"params": list(others)}]
        super().__init__(groups, lr=rate, weight_decay=decay, **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move all parameters once. Gradients of the matrices are used up: AdamW is not to see them."""
        group = self.param_groups[0]
        for matrix in group["params"]:
            if matrix.grad is None:
                continue
            state = self.state[matrix]
            if not state:
                state["step"] = torch.zeros((), device=matrix.device)  # AdamW reads a state back by it
                state["momentum"] = torch.zeros_like(matrix)
            state["step"] += 1
            state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
            turned = orthogonal(matrix.grad.lerp(state["momentum"], MOMENTUM))
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.sub_(turned * (group["lr"] * AS_ADAMW * max(matrix.shape) ** 0.5))
            matrix.grad = None
        return super().step(closure)


def orthogonal(matrix: Tensor) -> Tensor:
    """(m, n) the matrix with its singular values near one, by Newton and Schulz's iteration."""
    tall = len(matrix) > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(TURNS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=B, alpha=C), wide, beta=A)
    return wide.T if tall else wide
