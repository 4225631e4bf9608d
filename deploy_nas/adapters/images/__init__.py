"""Image sets: folders and zips of pictures, read into arrays, with a report of what was done to them.

A set is a folder or a zip of class folders (``class/name.jpg``), possibly inside one leading folder.
:mod:`.classes` groups the files, :mod:`.decoding` reads one picture, :mod:`.storage` has room for the arrays,
and :mod:`.reading` puts them together into the sets of :mod:`.sets`. The only importer of PIL, which is
loaded on first use.
"""

from deploy_nas.adapters.images.duplicates import near_duplicates
from deploy_nas.adapters.images.pixels import Float32Array, UInt8Array, normalise, preprocess, resize
from deploy_nas.adapters.images.reading import load_images, load_images_at_sizes
from deploy_nas.adapters.images.report import LeftOut, ReadingReport
from deploy_nas.adapters.images.sets import ImageSet, SizedImages, at_sizes, with_mirrored

__all__ = [
    "Float32Array",
    "ImageSet",
    "LeftOut",
    "ReadingReport",
    "SizedImages",
    "UInt8Array",
    "at_sizes",
    "load_images",
    "load_images_at_sizes",
    "near_duplicates",
    "normalise",
    "preprocess",
    "resize",
    "with_mirrored",
]
