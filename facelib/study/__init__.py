"""What is measured and compared: metrics, significance, audits, experiments."""
