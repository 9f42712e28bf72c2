"""What Keras calls its layers and activations, and what they are here."""

from numbarnn.layers import GRU, LSTM, RNN

RECURRENT = {"SimpleRNN": RNN, "LSTM": LSTM, "GRU": GRU}
ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "logistic", "linear": "identity"}
POOLING = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
