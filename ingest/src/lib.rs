//! Headworks ingest.
