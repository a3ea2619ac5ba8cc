"""Options that acquisitions share which rank by the distances of points."""

from typing import Literal, get_args

from dact_jax import kinds
from dact_jax.geometry.coverage import herding

Features = Literal["embedding", "input"]

READS_IF = {("features", "input"): ("input",)}
FEATURES = kinds.Option(
    kinds.choice(*get_args(Features)),
    "the points whose distances count: of the network, or what training keeps",
)
NORMALIZE = kinds.Option(kinds.flag(), "divide each point by its length")
MAX_ROWS = kinds.Option(
    kinds.whole(1), "rows up to which the search is exact; of more, as many are drawn"
)
MOST = herding.MAX_ROWS
