"""Images: loaded or streamed, split, batched and augmented."""

from pipeline.data.augmentation import Augmentation, augmentation
from pipeline.data.decoding import UnreadableImageError
from pipeline.data.image_data import ImageData
from pipeline.data.images import NOWHERE, Batch, Images, ImageSet, Origin, as_float
from pipeline.data.loading import load
from pipeline.data.splitting import balanced_indices, split
from pipeline.data.streaming import StreamedImages

__all__ = [
    "NOWHERE",
    "Augmentation",
    "Batch",
    "ImageData",
    "ImageSet",
    "Images",
    "Origin",
    "StreamedImages",
    "UnreadableImageError",
    "as_float",
    "augmentation",
    "balanced_indices",
    "load",
    "split",
]
