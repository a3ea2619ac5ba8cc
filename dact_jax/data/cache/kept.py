"""Pixels of a pool's images, where they are kept, by rows."""

from typing import NamedTuple

import numpy as np
from absl import logging

from dact_jax.data.cache import parts
from dact_jax.data.cache.form import Form
from dact_jax.data.cache.index import Places
from dact_jax.data.cache.parts import Part


class Kept(NamedTuple):
    """Where the images of a pool lie."""

    form: Form
    parts: tuple[Part, ...]
    places: Places  # of N images
    named: set[str]  # parts that a warning has named; shared by what is taken of it

    def take(self, rows: np.ndarray) -> "Kept":
        """Those in the given rows, int[n] or bool[N]."""
        return self._replace(places=self.places.take(rows))

    def read(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Reads the images of rows, int[n], into uint8[n, size, size, channels].

        Returns:
          bool[n], images that were read; the others are not kept, or damaged.
        """
        part, row, checksum = self.places.take(rows)
        done = np.zeros(len(rows), bool)
        order = np.lexsort((row, part))
        order = order[part[order] >= 0]
        borders = np.flatnonzero(np.diff(part[order])) + 1
        for places in np.split(order, borders):
            if not places.size:
                continue
            read = self.parts[part[places[0]]]
            try:
                done[places] = parts.fill(
                    read, row[places], checksum[places], images, places
                )
            except OSError as error:
                self._warn(read, error)
                continue
            if not done[places].all():
                damage = parts.DamageError("an image in it is damaged")
                self._warn(read, damage)
                parts.remove(read.path)
        return done

    def _warn(self, part: Part, error: Exception) -> None:
        """Says once that a part cannot be used."""
        name = part.path.name
        if name not in self.named:
            self.named.add(name)
            logging.warning("%s", parts.told(part.path, error))
