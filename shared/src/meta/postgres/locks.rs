//! The numbers of advisory locks. They are shared by all who use the database, so each is made from a name; should two names have
//! the same number, then one waits for the other, and nothing worse.

use sha2::{Digest as _, Sha256};

use crate::model::Scope;

/// Held while tables are changed.
pub(super) fn of_migrations() -> i64 {
    number("headworks migrations")
}

/// Held, shared, by who stores objects in a scope; held alone, by who must not be disturbed in it.
pub(super) fn of_scope(scope: &Scope) -> i64 {
    number(&format!("headworks scope {scope}"))
}

/// Held by who leads.
pub(super) fn of_role(role: &str) -> i64 {
    number(&format!("headworks leader {role}"))
}

fn number(name: &str) -> i64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte)).cast_signed()
}
