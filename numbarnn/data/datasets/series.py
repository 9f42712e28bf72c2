"""Synthetic series: a noisy sine, and the weather of a temperate climate."""

import numpy as np

from numbarnn.data.datasets.samples import generator_of


def noisy_sine(
    rows: int = 1000,
    period: float = 50.0,
    noise: float = 0.1,
    *,
    amplitude: float = 1.0,
    phase: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Return amplitude * sin(2 pi t / period + phase) plus normal noise of standard deviation `noise`, t = 0, 1, ..., rows - 1.

    The best forecast has a mean squared error of noise^2.
    """
    generator = generator_of(seed, rows=(rows, 1))
    wave = amplitude * np.sin(2 * np.pi * np.arange(rows) / period + phase)
    return wave + noise * generator.standard_normal(rows)


def weather(hours: int = 3 * 8766, *, start: str = "2021-01-01", seed: int = 0):
    r"""Return a synthetic hourly weather series of a temperate climate.

    It is simulated, so that examples need no file. With d the day of the year, h the hour, and normal noise e:

    * pressure anomaly :math:`p_t = 1.96\,p_{t-1} - 0.9617\,p_{t-2} + 0.1\,e_t` hPa: highs and lows that follow each other in
      about a week;
    * air mass :math:`a_t = 0.985\,a_{t-1} - 0.012\,(p_t - p_{t-24}) + 0.3\,e_t` degC: falling pressure brings warm air,
      rising pressure cold;
    * clouds :math:`c_t = 1 / (1 + \exp(p_t / 5 - n_t))` with n an AR(1) process of factor 0.95 and noise 0.4 e;
    * temperature :math:`9.5 + (9.5 + 4 (1 - 2 c_t)) S + a_t + A\,(1 - 0.7\,c_t)\cos(2\pi(h - 15)/24) + 0.2\,e_t` with summer
      :math:`S = -\cos(2\pi(d - 20)/365.25)`, so that clear skies are warm in summer and cold in winter, and the daily amplitude
      :math:`A = 4 - 2.5 \cos(2\pi(d - 10)/365.25)`;
    * humidity falls by 3 % a degree above the temperature without sun, and rises with clouds; wind grows with
      the change of pressure.

    Parameters
    ----------
    hours : int
    start : str
        First hour.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns temperature (degC), pressure (hPa), humidity (%), wind (m/s), by hour.
    """
    import pandas as pd

    generator = generator_of(seed, hours=(hours, 1))
    index = pd.date_range(start, periods=hours, freq="h", name="time")
    day, hour = index.day_of_year.to_numpy(), index.hour.to_numpy()
    warm_up = 1000  # hours until the processes have forgotten that they began at zero
    total = hours + warm_up
    noise = generator.standard_normal((6, total))
    pressure, air, sky, gusts = np.zeros((4, total))
    for t in range(2, total):
        pressure[t] = 1.96 * pressure[t - 1] - 0.9617 * pressure[t - 2] + 0.1 * noise[0, t]
        air[t] = 0.985 * air[t - 1] - 0.012 * (pressure[t] - pressure[max(t - 24, 0)]) + 0.3 * noise[1, t]
        sky[t] = 0.95 * sky[t - 1] + 0.4 * noise[2, t]
        gusts[t] = 0.9 * gusts[t - 1] + 0.2 * noise[3, t]
    change = np.abs(np.gradient(pressure))[warm_up:]
    pressure, air, sky, gusts, noise = (x[..., warm_up:] for x in (pressure, air, sky, gusts, noise))
    clouds = 1 / (1 + np.exp(pressure / 5 - sky))
    year = 2 * np.pi / 365.25
    summer = -np.cos(year * (day - 20))
    season = 9.5 + (9.5 + 4 * (1 - 2 * clouds)) * summer
    sun = (4 - 2.5 * np.cos(year * (day - 10))) * (1 - 0.7 * clouds) * np.cos(2 * np.pi * (hour - 15) / 24)
    temperature = season + air + sun + 0.2 * noise[4]
    humidity = np.clip(70 - 3 * sun + 25 * (clouds - 0.5) + 2 * noise[5], 5, 100)
    wind = (1.5 + 6 * change) * np.exp(0.7 * gusts)
    columns = {
        "temperature": temperature.round(2),
        "pressure": (1013.25 + pressure).round(2),
        "humidity": humidity.round(1),
        "wind": wind.round(2),
    }
    return pd.DataFrame(columns, index=index)
