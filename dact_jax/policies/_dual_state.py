"""What D_AcT remembers between its steps, and what it plans."""

import enum
from typing import Literal, NamedTuple

import numpy as np

from dact_jax.types import Acquisitions, Pools, Variables

Trial = Literal["warm", "scratch"]  # where trial networks start from


class Line(enum.IntEnum):
    """Steps of an iteration of Algorithm 2. Checkpoints store these numbers."""

    TRAIN = 0  # line 5
    CHOOSE = 1  # lines 6-8
    TRY_SOURCE = 2  # lines 9-10
    DECIDE = 3  # lines 11-15
    BUY = 4  # line 16
    START = 5  # before line 1: the acquisition chooses the first T_l


class Memory(NamedTuple):
    """The state of Algorithm 2 besides the pools N and T_l."""

    line: int  # a `Line`, the next to execute
    iteration: int  # number of finished iterations, i - 1
    purchases: int  # number of purchases so far
    union: Pools  # U
    read: np.ndarray  # bool[N_s], source samples whose labels were read
    variables: Variables  # of (P_t, P_l)
    accuracy: float  # acc_s of the current iteration


class Plan(NamedTuple):
    acquire: Acquisitions
    purchases: int  # total number of purchases
    source_per_round: int  # B_s; 0: such that half of the source is chosen in all
    source_rounds: int  # n
    trial: Trial
