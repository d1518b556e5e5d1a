"""What predictions are worth: metrics, intervals, tests, operating points, calibration, comparison."""
