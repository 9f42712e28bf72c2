"""Forecasting of time series."""

from numbarnn.forecasting.forecaster import Forecaster

__all__ = ["Forecaster"]
