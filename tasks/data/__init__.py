"""Clouds of points: batches, loaders, parts, and what there is once for every source."""

from tasks.data.clouds import Arrays, Clouds, Stored, Table, padding_fraction
from tasks.data.loader import BatchSampler, Loader
from tasks.data.module import CloudData, Target
from tasks.data.parts import Parts
from tasks.data.share import Share
from tasks.data.statistics import Composition, Statistics

__all__ = [
    "Arrays",
    "BatchSampler",
    "CloudData",
    "Clouds",
    "Composition",
    "Loader",
    "Parts",
    "Share",
    "Statistics",
    "Stored",
    "Table",
    "Target",
    "padding_fraction",
]
