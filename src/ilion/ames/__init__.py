"""A learned re-ranker: the similarity of two images from their sets of local descriptors (needs torch)."""

from ilion.ames.network import Ames as Ames
from ilion.ames.network import AmesConfig as AmesConfig
from ilion.ames.network import initial as initial
from ilion.ames.network import parameter_shapes as parameter_shapes
from ilion.ames.scoring import PUBLISHED_FUSION as PUBLISHED_FUSION
from ilion.ames.scoring import AmesScorer as AmesScorer
from ilion.ames.scoring import Fusion as Fusion
from ilion.ames.scoring import fuse as fuse
from ilion.ames.training import TrainingOptions as TrainingOptions
from ilion.ames.training import train as train
from ilion.ames.weights import load as load
from ilion.ames.weights import save as save
