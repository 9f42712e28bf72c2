"""Many nets of one architecture, trained and asked at once."""

from numbarnn.many.fit import fit_many
from numbarnn.many.predict import predict_many

__all__ = ["fit_many", "predict_many"]
