"""A learned re-ranker: the similarity of two images from their sets of local descriptors (needs torch)."""

from ilion.reranking.ames.network import Ames as Ames
from ilion.reranking.ames.network import AmesConfig as AmesConfig
from ilion.reranking.ames.network import initialise as initialise
from ilion.reranking.ames.network import parameter_shapes as parameter_shapes
from ilion.reranking.ames.scoring import PUBLISHED_FUSION as PUBLISHED_FUSION
from ilion.reranking.ames.scoring import AmesScorer as AmesScorer
from ilion.reranking.ames.scoring import Fusion as Fusion
from ilion.reranking.ames.scoring import fuse as fuse
from ilion.reranking.ames.training import TrainingOptions as TrainingOptions
from ilion.reranking.ames.training import train as train
from ilion.reranking.ames.weights import load as load
from ilion.reranking.ames.weights import save as save
