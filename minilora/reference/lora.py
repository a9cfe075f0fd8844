"""One LoRA layer by hand: start, forward, backward, a step of Adam, merge (Hu et al., arXiv 2106.09685).

    y = x Wᵀ + scaling · (x Aᵀ) Bᵀ        W (out, in) frozen;  A (r, in) and B (out, r) trained;  scaling = alpha / r

x is (batch, in) throughout: one row for each token. Not here: dropout, several layers, several adapters.
"""

from __future__ import annotations

import numpy as np


def initialize(in_features: int, out_features: int, r: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A (r, in), uniform within ±1/√in, and B (out, r), zero: the product, and so the update, starts at zero.

    B alone is zero. If both were, neither would ever get a gradient: each one's is a product with the other.

    >>> A, B = initialize(in_features=4, out_features=3, r=2)
    >>> A.shape, B.shape, float(np.abs(A).max()) <= 0.5, float(np.abs(B @ A).max())
    ((2, 4), (3, 2), True, 0.0)

    Leaves out torch's generator: the numbers are others, their spread is the same.
    """
    bound = 1 / np.sqrt(in_features)
    A = np.random.default_rng(seed).uniform(-bound, bound, (r, in_features))
    return A, np.zeros((out_features, r))


def forward(x: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, scaling: float) -> np.ndarray:
    """x (batch, in) -> y (batch, out): the output of the frozen layer, plus the update.

    The narrow product comes first, x Aᵀ (batch, r); the full matrix B A (out, in) is never built.

    >>> x, W = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A, B = np.array([[3.0, -1.0]]), np.array([[1.0], [0.0], [2.0]])  # r = 1; x Aᵀ = 3 - 2 = 1
    >>> forward(x, W, A, B, scaling=0.5)  # [1, 2, 3] + 0.5 · [1, 0, 2]
    array([[1.5, 2. , 4. ]])

    Leaves out dropout, which would blank some of x on its way to A, and a bias.
    """
    return x @ W.T + scaling * ((x @ A.T) @ B.T)


def backward(
    grad_y: np.ndarray, x: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, scaling: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """grad_y (batch, out), the loss's gradient at y -> its gradients at A (r, in), B (out, r) and x (batch, in).

    Two rules do it. For y = u Mᵀ: the gradient at u is grad_y M, and at M it is grad_yᵀ u. And a variable that is
    used twice, as x is here, adds up the gradients of both uses. W gets none: it is frozen.

    >>> x, W = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A, B = np.array([[3.0, -1.0]]), np.array([[1.0], [0.0], [2.0]])
    >>> grad_A, grad_B, grad_x = backward(np.array([[1.0, 1.0, 1.0]]), x, W, A, B, scaling=0.5)
    >>> grad_A, grad_B.T, grad_x  # grad_low = 0.5 · (1 + 0 + 2) = 1.5
    (array([[1.5, 3. ]]), array([[0.5, 0.5, 0.5]]), array([[6.5, 0.5]]))

    Leaves out what `forward` leaves out.
    """
    low = x @ A.T  # (batch, r)
    grad_low = scaling * (grad_y @ B)  # (batch, r)
    grad_A = grad_low.T @ x  # (r, in)
    grad_B = scaling * (grad_y.T @ low)  # (out, r)
    grad_x = grad_y @ W + grad_low @ A  # (batch, in)
    return grad_A, grad_B, grad_x


def adam_step(
    weight: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of Adam (arXiv 1412.6980): the new weight and the new moments m and v, all of the weight's shape.

    step counts from 1; m and v begin at zero. These two are why training costs so much memory: two more numbers for
    every trained weight, and with LoRA only for A and B.

    >>> weight, m, v = adam_step(np.array([1.0]), np.array([0.3]), np.zeros(1), np.zeros(1), step=1, learning_rate=0.1)
    >>> weight.round(6), m, v  # the first step is the learning rate itself, whatever the gradient's size
    (array([0.9]), array([0.03]), array([9.e-05]))

    Leaves out weight decay.
    """
    m = betas[0] * m + (1 - betas[0]) * grad  # a running mean of the gradient
    v = betas[1] * v + (1 - betas[1]) * grad**2  # and of its square
    mean = m / (1 - betas[0] ** step)  # both began at zero: undo that pull
    square = v / (1 - betas[1] ** step)
    return weight - learning_rate * mean / (np.sqrt(square) + eps), m, v


def merge(W: np.ndarray, A: np.ndarray, B: np.ndarray, scaling: float) -> np.ndarray:
    """One matrix (out, in) that does the work of all three, so that using the model costs nothing extra.

    >>> W = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A, B = np.array([[3.0, -1.0]]), np.array([[1.0], [0.0], [2.0]])
    >>> merged = merge(W, A, B, scaling=0.5)
    >>> x = np.array([[1.0, 2.0]])
    >>> x @ merged.T, forward(x, W, A, B, scaling=0.5)
    (array([[1.5, 2. , 4. ]]), array([[1.5, 2. , 4. ]]))

    Leaves out the way back, and a W in 4 bits, which would have to be decoded first.
    """
    return W + scaling * (B @ A)
