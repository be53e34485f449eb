"""Faults and attacks from outside, each kind through the public interface with real components."""
