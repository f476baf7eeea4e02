//! What the fleet stands on, each server for real.

mod postgres;
