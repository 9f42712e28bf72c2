"""The comparison of engines that `numbarnn compare` runs: cases, engines, measuring, statistics, samples on disk, report."""
