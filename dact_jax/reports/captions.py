"""The pictures of a finished run: their files, and how to read them."""

EMBEDDING_TARGET = "embedding_target.png"
EMBEDDING_SOURCE = "embedding_source.png"
PICKED_CLASSES = "picked_classes.png"
FEATURE_MAPS = "feature_maps.png"

_EMBEDDING = (
    "Each number is a sample of the {side} pool, drawn as its class where the final "
    "network's embedding puts it: above by the two directions of largest variance "
    "(PCA), below by t-SNE, where only near neighbours mean something. Of a large pool "
    "a part is drawn, with more of the picked samples than their share. Classes count "
    "from 0; more than 20 have no legend. "
)

# File -> (heading, how to read it), in the order of the report.
CAPTIONS = {
    EMBEDDING_TARGET: (
        "Where the target's picks lie",
        _EMBEDDING.format(side="target")
        + "Where some were picked, they stand out on the right. Classes of "
        "target samples whose label was not bought colour this picture and serve "
        "nothing else; a grey dot is a sample whose class nobody knows.",
    ),
    EMBEDDING_SOURCE: (
        "Where the source samples lie",
        _EMBEDDING.format(side="source")
        + "Where only a part of the source was chosen, it stands out on the right.",
    ),
    PICKED_CLASSES: (
        "Classes of what was picked",
        "Each pair of bars is one class: its share of the picks beside its share of "
        "the pool that they come from. Where the first is longer, the class was "
        "picked more often than chance would have it. Target labels that were not "
        "bought count in the pool's bars only, and serve nothing else.",
    ),
    FEATURE_MAPS: (
        "What the stages of the network see",
        "Each row is an image as the network sees it; then, for each stage, the mean "
        "of all its channels and the three channels that answer most strongly. Bright "
        "is a strong answer, and every map has its own scale.",
    ),
}
