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
Row = Mapping[str, Any]  # a row of metrics.jsonl

SOURCE, TARGET = 0, 1  # rows of the norm collections
METHOD = "method"  # entry of `Variables.stats`: running values that losses keep
UNLABELED = -1  # label of an image that has none
START = "start"  # `Picked.origin`: the network that round 0 begins with
SKIPPED = -2  # of one that a person would not label: it is out of the pool for good


class Images(Protocol):
    """uint8[N, H, W, C] by rows: an array, or files decoded when indexed.

    A vector, such as an embedding from another model, is an image of one pixel with F
    channels, float32[N, 1, 1, F]; the network sees it as it is stored.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any) -> Any: ...  # int32[n] -> uint8[n, H, W, C]


class Examples(NamedTuple):
    image: Any  # Images as stored; float32[B, h, w, C] in a batch
    label: Array  # int32[N]; UNLABELED where there is none


class LeftOut(NamedTuple):  # a file or folder that the reader of a domain did not use
    path: str  # as the ids of images are
    reason: str  # a clause, such as "it is a named pipe, not a file"
    damaged: bool = False  # it should be readable: an error unless on_error="skip"


class Dataset(NamedTuple):  # one domain as its reader returns it, before any split
    name: str
    image: Images  # uint8[N, H, W, C]; vectors: float32[N, 1, 1, F]
    label: np.ndarray  # int32[N] into class_names; UNLABELED where there is none
    id: np.ndarray  # str[N], stable names of the images (relative paths)
    split: np.ndarray | None  # str[N]: "train", "val", "test", "" (not said); None: ""
    class_names: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()  # the damaged first
    notes: tuple[str, ...] = ()  # sentences on how its files were understood
    files: tuple[str, ...] | None = None  # N paths of image files; None: there are none
    # Where labels are bare integers, what would give them names, a clause; else "".
    unnamed: str = ""


class Domain(NamedTuple):
    name: str
    train: Examples  # the pool: training may use it, selection may pick from it
    val: Examples
    test: Examples
    id: np.ndarray  # str[N] of train
    left_out: tuple[LeftOut, ...] = ()
    files: tuple[str, ...] | None = None  # absolute paths of train; None: no files
    test_id: np.ndarray | None = None  # str[N] of test; None: not known
    test_files: tuple[str, ...] | None = None  # absolute paths of test; None: no files


class Task(NamedTuple):
    source: Domain
    target: Domain
    class_names: tuple[str, ...]
    unlabeled: Examples | None  # None: target.train without its bought labels


class BatchSizes(NamedTuple):
    source: int
    target: int
    unlabeled: int


class Batch(NamedTuple):
    """The images of one iteration.

    A *drawn* batch, before the step loads it, holds row numbers (int32[B]) or stored
    images (uint8[B, H, W, C]) in place of the float images.
    """

    source: Examples
    target: Examples | None  # None where no target label is used
    # float32[B, h, w, C], or None; it has no label field, so that none can leak.
    unlabeled: Any


class Variables(NamedTuple):  # the whole network
    params: PyTree  # shared: {"encoder": ..., "classifier": ..., <head>: ...}
    norm: PyTree  # batch-norm scale, bias; every leaf float32[D, C]
    stats: PyTree  # batch-norm mean, variance, values of METHOD; leaves float32[D, C]


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


class Evidence(NamedTuple):  # of one sweep: a forward pass over a pool
    embedding: np.ndarray  # float32[N, F]
    outputs: Mapping[str, np.ndarray]  # head name -> float32[N, ...]
    label: np.ndarray | None  # int32[N] for the source, None for the target
    # float32[N, D], what training does not change: the stored vectors, or the embedding
    # of the network before adaptation. None: no acquisition reads it.
    input: np.ndarray | None = None
    # int32[N], the target's labels that are bought, UNLABELED elsewhere; None likewise.
    bought: np.ndarray | None = None


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
        # Of a head, or "<head>.features": the input of its last layer, in evaluation.
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
    # In evaluation mode: the maps whose spatial means are the taps; () without maps.
    maps: Maps | None = None
    # The same network in float32, for sweeps; None: it computes in float32 itself.
    exact: Model | None = None


class Loss(Protocol):
    def __call__(
        self,
        model: Model,
        variables: Variables,
        batch: Batch,
        key: Key,
        progress: jax.Array,  # float32[], 0 at the start, 1 at the end of the schedules
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]: ...


class Method(NamedTuple):
    heads: Mapping[str, nn.Module]  # trained together with the encoder
    losses: tuple[Loss, ...]  # one gradient step each, in order
    prepare: Callable[[Variables], Variables] | None = None  # adds what losses keep
    adapts_trained: bool = False  # it needs a network that is trained already
    # Of a method that predicts losses: logits float32[..., K] and labels int32[...] to
    # the loss of each sample, float32[...].
    actual_loss: Callable[[jax.Array, Array], jax.Array] | None = None


class Picked(NamedTuple):
    row: np.ndarray  # int32[budget] into the pool, in pick order
    score: np.ndarray  # float32[budget], the value that the acquisition ranked by
    labels_read: int = 0  # labels of the pool that the acquisition read
    origin: str = ""  # the network that ranked, if it is not the adapted one; or START


class Acquire(Protocol):
    def __call__(
        self,
        evidence: Evidence,
        taken: np.ndarray,  # bool[N], rows that must not be picked
        budget: int,
        key: Key,
    ) -> Picked: ...


class Fitted(NamedTuple):
    variables: Variables
    losses: Mapping[str, float]  # of the last chunk of training


class LossPredictor(NamedTuple):
    """The network (P_t, P_l) of D_AcT: a classifier that also predicts its loss."""

    initial: Variables
    # Trains further on the labels of the pools' samples (Algorithm 2, lines 5, 9, 11).
    fit: Callable[[Variables, Pools, Key], Fitted]
    accuracy: Callable[[Variables], float]  # on T_v, in [0, 1]: acc_s, acc_t
    # Over the source pool; outputs have "predicted_loss" and "actual_loss" float32[N].
    sweep: Callable[[Variables], Evidence]


class Lab(NamedTuple):
    """What a policy may do, bound to data, model and devices (`rounds.actions.lab`)."""

    sweep: Callable[[Variables, int], Evidence]  # the model over a domain's pool
    buyable: np.ndarray  # bool[N_t], target samples whose label can be bought
    loss_predictor: LossPredictor | None = None  # where source samples are chosen
    skipped: np.ndarray | None = None  # bool[N_t], out of the pool; None: none is


class Acquisitions(NamedTuple):
    target: Acquire  # which labels to buy
    source: Acquire  # which source samples to use
    blind: bool = False  # the source acquisition needs no evidence
    target_blind: bool = False  # the target acquisition needs none


class Selection(NamedTuple):
    pools: Pools
    memory: PyTree  # the state of the policy
    picked: Mapping[str, Picked]  # "source" or "target" -> its picks
    again: bool = False  # call `select` once more before the next round of training
    columns: Mapping[str, Any] = {}  # columns of its row in metrics.jsonl


class Policy(NamedTuple):  # (init, select), as optax is (init, update)
    """A turn between rounds is one or more `select`s; runs can resume after each."""

    # It sweeps nothing: it is also called for the shapes of a checkpoint.
    init: Callable[[Lab, int, int, Key], Selection]  # pool sizes -> first selection
    select: Callable[[Lab, Variables, Pools, PyTree, Key], Selection]
    num_rounds: int  # rounds of training
    num_selections: int  # a turn follows each of the first `num_selections` rounds
    ranks_first: bool = False  # a `select` before round 0 ranks the target


Prepare = Callable[[jax.Array], jax.Array]  # stored images to network input
# (variables, uint8[B, H, W, C], domain) -> embedding [B, F], outputs {head: [B, ...]}
Forward = Callable[[Variables, jax.Array, int], tuple[jax.Array, dict[str, jax.Array]]]
