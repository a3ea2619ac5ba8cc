"""An answer as a file has it, before its image and its class are looked up."""

from typing import NamedTuple


class Written(NamedTuple):
    """An image with a label, or to be skipped."""

    where: str  # file and line, task or image, for messages
    id: str  # a `query.dact_id` or the id of the dataset; "" if the file has none
    name: str  # of the image: a path or an address; "" if the file has none
    label: str
    skip: bool
