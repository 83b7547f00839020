"""The order of the stages: one experiment from its data set to its report."""

from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.values import Extraction, Search

__all__ = ["Extraction", "Index", "Photos", "Pipeline", "Progress", "Search"]
