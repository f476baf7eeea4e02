//! The backends of the fleet, on real servers that each test starts for itself.

mod s3;
mod s3_bodies;
mod s3_credentials;
mod s3_faults;
mod s3_probe;
