"""Counts, sums, histograms and regressions of rows that several owners hold, as one proved sum."""
