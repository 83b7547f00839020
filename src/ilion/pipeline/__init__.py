"""The order of the stages: one experiment from its data set to its report."""

from ilion.pipeline.describe import Extraction
from ilion.pipeline.experiment import Progress
from ilion.pipeline.find import Search
from ilion.pipeline.order import Pipeline

__all__ = ["Extraction", "Pipeline", "Progress", "Search"]
