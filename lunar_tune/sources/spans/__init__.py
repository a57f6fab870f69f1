"""Traces: one reading of spans (OpenTelemetry GenAI, OpenInference, MLflow) for every store that holds them."""
