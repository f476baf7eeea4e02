//! What the fleet stands on, each server for real and started by the test that needs it.

mod balancer;
mod buffered;
mod crashes;
mod full_queue;
mod operators;
mod outages;
mod postgres;
mod redis;
mod repeats;
mod s3;
mod s3_bodies;
mod s3_credentials;
mod s3_faults;
mod s3_probe;
mod scale;
mod slow_store;
mod soak;
mod starts;
