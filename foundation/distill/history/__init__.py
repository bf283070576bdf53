"""The aggregated history: a rollout goes in, mini-batches come out."""
