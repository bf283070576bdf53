"""Fly policies on fixed seeds, measure them, and draw them."""
