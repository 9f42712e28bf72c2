"""From a table with times to a forecast that knows what it is worth.

Three years of synthetic hourly weather; the temperature of the next 24 hours, hour by hour, from the three days before. The net is
compared with baselines, then updated with new hours. ``--plot FILE`` draws a plot.
"""

import argparse

import numbarnn
from numbarnn.data.datasets import weather


def main():
    """Train, compare, forecast, go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=3 * 8766)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--plot", metavar="FILE", help="write a plot (needs matplotlib)")
    options = parser.parse_args()

    frame = weather(options.hours)
    past, new = frame.iloc[:-48], frame.iloc[-48:]
    forecaster = numbarnn.Forecaster(
        lookback=72,
        horizon=24,
        step=3,
        cell="gru",
        recurrent_dropout=0.25,
        calendar=["hour", "dayofyear"],
        epochs=options.epochs,
    )
    forecaster.fit(past, target="temperature")

    print("\nHow far off, on hours that the net has never seen (degC):")
    print(forecaster.evaluate().round(3))
    print("\nMean absolute error by hours ahead:")
    print(forecaster.errors_by_horizon().iloc[[0, 5, 11, 23]].round(2))

    ahead = forecaster.predict()
    print(f"\nAfter {past.index[-1]}, forecast and what came:")
    print(ahead.assign(measured=frame["temperature"]).iloc[::6].round(1))

    forecaster.update(new.iloc[:24])
    ahead = forecaster.predict()
    print("\nA day later:")
    print(ahead.assign(measured=frame["temperature"]).iloc[::6].round(1))

    forecaster.save("weather.safetensors")
    print("\nRead from its file it says the same:", numbarnn.load("weather.safetensors").predict().equals(ahead))

    if options.plot:
        from numbarnn.plots import plot_forecast

        plot_forecast(forecaster.backtest(), last=240).figure.savefig(options.plot)


if __name__ == "__main__":
    main()
