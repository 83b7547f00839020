"""The order of the stages: one experiment from its data set to its report."""

from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.photos import Photos

__all__ = ["Photos", "Pipeline", "Progress"]
