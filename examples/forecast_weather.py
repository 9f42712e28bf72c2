"""From a table with times to a forecast that knows what it is worth.

Three years of synthetic hourly weather; the temperature of the next 24 hours, hour by hour, from the three days before, with the
intervals in which it will lie. The net is compared with baselines, then updated with new hours. ``--plot FILE`` draws a plot.

Prints errors beside those of the baselines, the coverage of intervals, and forecasts beside what was measured. Takes about two
minutes (``--hours 3000`` is faster), and writes weather.safetensors into the current folder.
"""

import argparse

import numbarnn
from numbarnn.data.datasets import weather


def main():
    """Train, compare, forecast, go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=3 * 8766)
    parser.add_argument("--epochs", type=int, help="passes through the training part (default: the forecaster's)")
    parser.add_argument("--plot", metavar="FILE", help="write a plot (needs matplotlib)")
    options = parser.parse_args()

    frame = weather(options.hours)
    past, new = frame.iloc[:-48], frame.iloc[-48:]
    forecaster = numbarnn.Forecaster(lookback=72, horizon=24, calendar=["hour", "dayofyear"], epochs=options.epochs)
    forecaster.fit(past, target="temperature")

    print("\nHow far off, on hours that the net has never seen (degC):")
    errors = forecaster.evaluate()
    print(errors.round(3))
    print(errors.attrs["verdict"])
    print("\nHow often intervals contain what came, and how wide they are:")
    print(forecaster.evaluate_intervals((0.8, 0.95)).round(3))
    print("\nMean absolute error by hours ahead:")
    by_hour = forecaster.errors_by_horizon()[["net", "last value", "seasonal (24)", "ridge"]]
    print(by_hour.iloc[[0, 5, 11, 23]].round(2))

    interval = forecaster.predict_interval(0.9)
    print(f"\nAfter {past.index[-1]}, forecast and what came:")
    print(interval["temperature"].assign(measured=frame["temperature"]).iloc[::6].round(1))

    forecaster.update(new.iloc[:24])
    ahead = forecaster.predict()
    print("\nA day later:")
    print(ahead.assign(measured=frame["temperature"]).iloc[::6].round(1))

    forecaster.save("weather.safetensors")
    again = numbarnn.load("weather.safetensors").predict()
    print("\nSaved as weather.safetensors. Read from its file it says the same:", again.equals(ahead))

    if options.plot:
        from numbarnn.plots import plot_prediction

        plot_prediction(interval, past, last=72).figure.savefig(options.plot)


if __name__ == "__main__":
    main()
