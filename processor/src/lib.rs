//! Headworks processor.
