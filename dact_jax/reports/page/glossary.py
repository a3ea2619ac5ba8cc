"""The words of a page that a reader may not know, each with what it means."""

import html
import pathlib
import re

from dact_jax import plugins
from dact_jax.rounds import claim

_WORDS = {
    "source": "the domain whose images have labels",
    "target": "the domain that the classifier is to work on, whose labels are costly",
    "pool": "the images of a domain that a run may train on, or ask about",
    "round": "training on all labels known so far, before more are bought",
    "iteration": "one step of training, on one batch of each kind of images",
    "query": "the images that are asked about at once, for one round",
    "picked": "of an image: chosen to be labeled, or to be trained on",
    "bought": "of a label: the run chose its image, and it counts as a cost",
    "acquisition": "the rule that chooses which images of a pool are labeled next",
    "policy": "how many labels each round adds, and which parts of the source it uses",
    "oracle": "who gives the labels that are bought: the data set or a person",
    "sweep": "one pass of a network over all images of a pool, without training",
    "embedding": "the vector that the network makes of an image before it classifies",
    "confidence": "the probability that the network gives to a class",
    "validation": "labeled images that are not trained on and may guide decisions",
    "checkpoint": "the state of training, as it is kept on the disk",
    "t-SNE": "a drawing in the plane in which near neighbors stay near",
    "PCA": "a drawing along the two directions in which points differ most",
    "Wilson": "the interval in which the share of all such images lies for 95 % of "
    "samples of that size (Wilson, 1927)",
    "entropy": "how undecided a prediction is: 0 if it is certain",
}
_ARTICLE = {"acquisition": "an"}
_FAMILIES = {
    "method": "methods",
    "acquisition": "acquisitions",
    "policy": "policies",
}  # field of the config -> family of plug-ins


def of(page: str, folder: pathlib.Path) -> list[tuple[str, str]]:
    """(word, meaning) of the words that a page uses, and of the run's plug-ins.

    Args:
      page: HTML.
      folder: of the run.

    Raises:
      InputError: config.yaml is missing or damaged.
    """
    text = _visible(page)
    return [
        (word, meaning)
        for word, meaning in {**_WORDS, **_own(folder)}.items()
        if re.search(rf"\b{re.escape(word)}(s|'s)?\b", text, re.IGNORECASE)
    ]


def _own(folder: pathlib.Path) -> dict[str, str]:
    """The method, the acquisition and the policy of a run, in their own words."""
    config = claim.read(folder).config
    return {
        config[field]: f"{_ARTICLE.get(field, 'a')} {field}. {about}"
        for field, family in _FAMILIES.items()
        if config.get(field) in plugins.names(family)
        and (about := plugins.about(family, config[field]))
    }


def _visible(page: str) -> str:
    """What a reader sees of a page: no scripts, styles or attributes."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))
