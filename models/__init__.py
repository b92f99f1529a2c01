"""Models: LightGBM scorers, their cards, training and calibration."""
