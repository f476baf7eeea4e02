//! Headworks catalog.
