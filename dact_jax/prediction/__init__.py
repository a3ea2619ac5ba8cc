"""What a trained network says of images: labels, confidences, vectors, as files.

Takes a `Classifier` and images; gives tables, files of vectors and folders of links. It
must not parse flags or print.
"""
