//! The fleet's backends, proven on the servers that they stand on.

mod redis;
