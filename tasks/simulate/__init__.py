"""Trained models at work: calculators and molecular dynamics."""
