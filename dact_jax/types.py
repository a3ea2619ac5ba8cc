"""Types that two or more layers share. No logic.

Letters in shapes: B batch, S streams (one per domain in a call), D norm rows
(domains), H W stored pixels, h w network pixels, C channels, F embedding,
C_l channels of stage l, K classes, N pool size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import numpy as np

if TYPE_CHECKING:  # slow to import, and `k_center` alone needs neither
    import flax.linen as nn
    import optax

Array = jax.Array | np.ndarray
Key = jax.Array
PyTree = Any
Metrics = dict[str, jax.Array]
Row = Mapping[str, Any]

SOURCE, TARGET = 0, 1  # rows of the norm collections
UNLABELED = -1  # the label of an image that nobody has labelled


class Images(Protocol):
    """uint8[N, H, W, C] by rows: an array, or files decoded when indexed.

    A vector, such as an embedding that a user has, is an image of one pixel with F
    channels, float32[N, 1, 1, F], and reaches the network as it is stored.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any) -> Any: ...  # int32[n] -> uint8[n, H, W, C]


class Examples(NamedTuple):
    image: Any  # Images as stored; float32[B, h, w, C] in a batch
    label: Array  # int32[N]; UNLABELED where nobody has labelled it


class Dataset(NamedTuple):
    """One domain as its reader found it, before any split."""

    name: str
    image: Images  # uint8[N, H, W, C]; vectors: float32[N, 1, 1, F]
    label: np.ndarray  # int32[N] into class_names; UNLABELED where there is none
    id: np.ndarray  # str[N], stable names of the images (relative paths)
    split: np.ndarray | None  # str[N]: "train", "val", "test"; None: no official split
    class_names: tuple[str, ...]
    skipped: int = 0  # unreadable files left out, because the user asked for that


class Domain(NamedTuple):
    name: str
    train: Examples  # the pool: what training may use and selection may pick
    val: Examples
    test: Examples
    id: np.ndarray  # str[N] of train


class Task(NamedTuple):
    source: Domain
    target: Domain
    class_names: tuple[str, ...]
    unlabeled: Examples | None  # None: the part of target.train without bought labels


class BatchSizes(NamedTuple):
    source: int
    target: int
    unlabeled: int


class Batch(NamedTuple):
    """One iteration's images.

    A *drawn* batch, before the step loads it, holds row numbers (int32[B]) or
    stored images (uint8[B, H, W, C]) in place of the float images.
    """

    source: Examples
    target: Examples | None  # None while no target label is used (UDA)
    # float32[B, h, w, C]: no label field, so none can leak; None where none is drawn
    unlabeled: Any


class Variables(NamedTuple):  # the whole network
    params: PyTree  # shared: {"encoder": ..., "classifier": ..., <head>: ...}
    norm: PyTree  # batch-norm scale, bias; every leaf float32[D, C]
    stats: PyTree  # batch-norm mean, variance; every leaf float32[D, C]


class Features(NamedTuple):
    embedding: jax.Array  # float32[S, B, F]
    taps: tuple[jax.Array, ...]  # stage l: float32[S, B, C_l], spatial mean
    logits: jax.Array | None = None  # float32[S, B, K], for heads with `logits_from`


class TrainState(NamedTuple):
    step: jax.Array  # int32[], iterations done in this round
    variables: Variables
    opt_state: optax.OptState


class Pools(NamedTuple):
    source: np.ndarray  # bool[N_s]: N of the paper, source samples in use
    target: np.ndarray  # bool[N_t]: T_l, labelled target samples


class Evidence(NamedTuple):  # one forward sweep over a pool
    embedding: np.ndarray  # float32[N, F]
    outputs: Mapping[str, np.ndarray]  # head name -> float32[N, ...]
    label: np.ndarray | None  # int32[N] for the source, None for the target


class Encode(Protocol):
    def __call__(
        self,
        variables: Variables,
        images: jax.Array,  # float32[S, B, h, w, C]
        domains: tuple[int, ...],  # S rows of the norm collections
        *,
        train: bool,
        key: Key | None = None,  # dropout; needed when train
    ) -> tuple[Features, Variables]: ...


class Head(Protocol):
    def __call__(
        self,
        variables: Variables,
        # Of a head; or "<head>.features": what its last layer sees, out of training.
        name: str,
        features: Features,
        *,
        reverse: jax.Array | float | None = None,  # strength of the gradient reversal
        key: Key | None = None,  # dropout; None outside training
    ) -> jax.Array: ...  # float32[S, B, ...]


class Maps(Protocol):
    def __call__(
        self,
        variables: Variables,
        images: jax.Array,  # float32[B, h, w, C]
        domain: int,  # row of the norm collections
    ) -> tuple[jax.Array, ...]: ...  # stage l: float32[B, h_l, w_l, C_l]


class Model(NamedTuple):
    init: Callable[[Key, tuple[int, int, int]], Variables]  # key, (h, w, C)
    encode: Encode
    head: Head
    # In evaluation mode, the maps whose spatial means are taps; () if there are none.
    maps: Maps | None = None  # None: of a model that nobody looks into


class Loss(Protocol):
    def __call__(
        self,
        model: Model,
        variables: Variables,
        batch: Batch,
        key: Key,
        progress: jax.Array,  # float32[] from 0 on; 1 where the schedules have ended
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]: ...


class Method(NamedTuple):
    heads: Mapping[str, nn.Module]  # what it trains besides the encoder
    losses: tuple[Loss, ...]  # one gradient step each, in order
    # A method that adapts a trained network: the variables that it starts from.
    prepare: Callable[[Variables], Variables] | None = None
    # Of a method that predicts losses: logits float32[..., K] and labels int32[...] to
    # the loss of each sample, float32[...].
    actual_loss: Callable[[jax.Array, Array], jax.Array] | None = None


class Picked(NamedTuple):
    row: np.ndarray  # int32[budget] into the pool, in pick order
    score: np.ndarray  # float32[budget], what the acquisition ranked by
    labels_read: int = 0  # labels of the pool that it looked at
    origin: str = ""  # the model that ranked, where it is not the adapted one


class Acquire(Protocol):
    def __call__(
        self,
        evidence: Evidence,
        taken: np.ndarray,  # bool[N]: not to be picked
        budget: int,
        key: Key,
    ) -> Picked: ...


class Fitted(NamedTuple):
    variables: Variables
    losses: Mapping[str, float]  # the last that training saw


class LossPredictor(NamedTuple):
    """The network (P_t, P_l) of D_AcT: a classifier that also predicts its loss."""

    initial: Variables
    # Trained further on the labels of some samples (Algorithm 2, lines 5, 9, 11).
    fit: Callable[[Variables, Pools, Key], Fitted]
    accuracy: Callable[[Variables], float]  # on T_v, in [0, 1]: acc_s, acc_t
    # Over the source pool; outputs have "predicted_loss" and "actual_loss" float32[N].
    sweep: Callable[[Variables], Evidence]


class Lab(NamedTuple):
    """What a policy may do; bound to data, models and devices by engine."""

    sweep: Callable[[Variables, int], Evidence]  # the model over one domain's pool
    buyable: np.ndarray  # bool[N_t]: target samples whose label can be bought
    loss_predictor: LossPredictor | None = (
        None  # of the policies that choose source samples
    )


class Acquisitions(NamedTuple):
    target: Acquire  # which labels to buy
    source: Acquire  # which source samples to use
    blind: bool = False  # the source's looks at no evidence


class Selection(NamedTuple):
    pools: Pools
    memory: PyTree  # the policy's own
    picked: Mapping[str, Picked]  # "source" or "target" -> what was picked
    again: bool = False  # select is called once more before the next training
    columns: Mapping[str, Any] = {}  # of its row in metrics.jsonl


class Policy(NamedTuple):  # (init, select), as optax is (init, update)
    """A turn is one or more calls of `select`, each of which a run can resume after.

    The first turn begins with `init`, before round 0.
    """

    init: Callable[[Lab, int, int, Key], Selection]  # pool sizes -> first selection
    select: Callable[[Lab, Variables, Pools, PyTree, Key], Selection]
    num_rounds: int  # rounds of training
    num_selections: int  # a turn follows each of the first so many rounds


class Track(NamedTuple):
    """What the evaluations of a round have seen so far; -1 where nothing is known."""

    val: float  # the best validation accuracy
    test_at_val: float  # the test accuracy there
    step: int  # and its iteration; of equals the last, as MME's code
    best_test: float  # the best test accuracy: for the record, never to choose by
    kept: PyTree  # Variables at the best validation; () where the last ones are used


class Experiment(NamedTuple):
    """All of a run between two steps: one checkpoint."""

    round: int  # of training: the one that goes on, or that the policy's turn precedes
    pools: Pools
    label: np.ndarray  # int32[N_t]: target labels bought so far, else UNLABELED
    memory: PyTree
    train: TrainState
    seconds: float  # spent on this round so far
    track: Track
    turn: bool = False  # it is the policy's; else training's
    written: tuple[int, int] = (0, 0)  # bytes of metrics.jsonl and picks.csv by now


# (variables, uint8[B, H, W, C], domain) -> embedding [B, F], outputs {head: [B, ...]}
Prepare = Callable[[jax.Array], jax.Array]


Forward = Callable[[Variables, jax.Array, int], tuple[jax.Array, dict[str, jax.Array]]]
