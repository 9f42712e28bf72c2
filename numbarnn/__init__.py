from numbarnn.layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, IndRNN, OneHot, Recurrent
from numbarnn.model import Model
