"""File names of the pictures of a finished run, and the captions that explain them."""

EMBEDDING_TARGET = "embedding_target.png"
EMBEDDING_SOURCE = "embedding_source.png"
PICKED_CLASSES = "picked_classes.png"
FEATURE_MAPS = "feature_maps.png"
CONFUSION = "confusion_matrix.png"
PICKED_IMAGES = "picked_images.png"

_EMBEDDING = (
    "Each number is a sample of the {side} pool: the number is its class, and its "
    "place comes from the embedding of the final network. The upper row shows the "
    "first two principal components (PCA). The lower row shows t-SNE, in which only "
    "neighborhoods have a meaning, not distances between groups. Where numbers would "
    "cover one another, one is shown, and a dot in the color of its class stands for "
    "each of the others. A large pool is subsampled; picked samples are kept more "
    "often than others. Classes are counted from 0; more than 20 classes have no "
    "legend. "
)

# File -> (heading, explanation), in the order of the report.
CAPTIONS = {
    CONFUSION: (
        "Confusion matrix",
        "Each row is a true class, and each column a predicted one, by the final "
        "network on the test images of the target: the share of the row's images in "
        "%. On the diagonal are right predictions. The number of images is in "
        "parentheses; a class without test images has an empty row.",
    ),
    PICKED_IMAGES: (
        "Picked target images",
        "The images whose labels were bought, in the order of picking, as they are "
        "stored; the class below an image is the label that was bought. Of many "
        "picks or rounds only a part is shown.",
    ),
    EMBEDDING_TARGET: (
        "Picked target samples in the embedding",
        _EMBEDDING.format(side="target")
        + "If labels were bought, the right column highlights the picked samples. "
        "The classes of target samples whose labels were not bought are used to color "
        "this picture and for nothing else. A gray dot is a sample of unknown class.",
    ),
    EMBEDDING_SOURCE: (
        "Source samples in the embedding",
        _EMBEDDING.format(side="source")
        + "If only a part of the source was chosen, the right column highlights it.",
    ),
    PICKED_CLASSES: (
        "Classes of the picks",
        "Each pair of bars is one class: its share of the picks beside its share of "
        "the pool that they were picked from. If the bar of the picks is higher, the "
        "class was picked more often than random picks would be on average. Target "
        "labels that were not bought count in the bars of the pool and are used for "
        "nothing else.",
    ),
    FEATURE_MAPS: (
        "Feature maps of the stages",
        "Each row shows one image as the network receives it and, for each stage, the "
        "mean over all channels and the three channels with the strongest mean "
        "response. Bright means a strong response. Every map has its own color scale; "
        "where a map has one pixel, its value is printed.",
    ),
}
