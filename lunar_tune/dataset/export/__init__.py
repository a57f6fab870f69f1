"""The rows of a dataset in the shape of another trainer: `export_dataset` writes a folder that the consumer loads.

A consumer is one small file here: which splits it has a place for, what a row becomes, and what else it reads. Weights
go over in the consumer's own way; what it cannot express is counted and said in the folder's README, never lost
silently. The held-out test rows go only where a consumer has a place for them that nobody trains on.
"""

from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.folder import Exported, consumers, export_dataset

__all__ = ["Consumer", "Exported", "Source", "consumers", "export_dataset"]
