"""Edges as polylines per class: traced from thinned edges, simplified, written as text files.

lines = polylines(edges, prob)   # edges: bool (K, H, W), of `Predictor.edges`
"""

from utils.prediction.vector.files import write_vectors
from utils.prediction.vector.formats import FORMATS, Sheet
from utils.prediction.vector.polylines import Polyline, polylines

__all__ = ["FORMATS", "Polyline", "Sheet", "polylines", "write_vectors"]
