//! What can go wrong between here and the database, and what each kind of it calls for.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use deadpool_postgres::PoolError;
use tokio_postgres::error::{Severity, SqlState};

use crate::{meta::Error, resilience::Open};

/// The index that keeps a version of a path from being given twice.
const VERSIONS: &str = "objects_by_path";

/// The index that keeps an upload from being entered twice.
const UPLOADS: &str = "ledger_pkey";

/// A transaction did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("ask the database")]
    Database(#[from] tokio_postgres::Error),
    #[error("get a connection")]
    Connection(#[from] PoolError),
    #[error("no answer from the database within {0:?}")]
    Late(Duration),
    #[error("a value that the database cannot keep")]
    Value(#[source] Box<dyn StdError + Send + Sync>),
    #[error("a row that cannot be read")]
    Row(#[source] Box<dyn StdError + Send + Sync>),
    #[error(transparent)]
    Resting(#[from] Open),
    #[error("another transaction changed the same upload meanwhile")]
    Overtaken,
    #[error("the database is open to read only")]
    ReadOnly,
}

impl Fault {
    /// What keeps a value from being stored, now and later.
    pub(super) fn value(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Value(error.into())
    }

    /// A row does not say what it should.
    pub(super) fn row(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Row(error.into())
    }

    /// Two batches gave the same version to a path at the same time, and this is the one that came second.
    pub(super) fn is_collision(&self) -> bool {
        self.is_double_in(VERSIONS)
    }

    /// An upload is in the ledger already, of a batch that took all of its uploads for new.
    pub(super) fn is_known(&self) -> bool {
        self.is_double_in(UPLOADS)
    }

    fn is_double_in(&self, index: &str) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_db_error().is_some_and(|error| {
            *error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some(index)
        })
    }

    /// The database chose this transaction to be repeated.
    pub(super) fn asks_for_a_repeat(&self) -> bool {
        match self {
            Self::Overtaken => true,
            Self::Database(error) => error.code().is_some_and(|code| {
                [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
            }),
            _ => false,
        }
    }

    /// Whether the connection answered, and can be used again once its transaction is rolled back.
    pub(super) fn leaves_the_connection(&self) -> bool {
        match self {
            Self::Database(error) => {
                error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
            }
            Self::Value(_) | Self::Row(_) | Self::Overtaken => true,
            Self::Connection(_) | Self::Late(_) | Self::Resting(_) | Self::ReadOnly => false,
        }
    }

    fn lies_in_the_data(&self) -> bool {
        match self {
            Self::Value(_) => true,
            // Data exceptions, constraints, and what is larger than the database allows; none of them passes by itself.
            Self::Database(error) => error.code().is_some_and(|code| {
                ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
                    && !self.is_collision()
                    && !self.is_known()
            }),
            _ => false,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        if fault.lies_in_the_data() {
            Self::Rejected(Arc::new(fault))
        } else {
            Self::Unavailable(Arc::new(fault))
        }
    }
}
