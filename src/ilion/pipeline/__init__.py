"""The order of the stages: one experiment from its data set to its report."""

from ilion.pipeline.describe import Extraction
from ilion.pipeline.experiment import Progress
from ilion.pipeline.find import Search
from ilion.pipeline.inverted import Index
from ilion.pipeline.order import Pipeline

__all__ = ["Extraction", "Index", "Pipeline", "Progress", "Search"]
