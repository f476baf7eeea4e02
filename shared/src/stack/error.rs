//! Why a backend cannot be opened, and whether it may be later.

use crate::config::Url;

/// A backend cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No backend has this URL.
    #[error("no backend for {key} = {url}")]
    Unknown {
        /// The setting.
        key: &'static str,
        /// Its value.
        url: Url,
    },
    /// The backend says no.
    #[error("open {part}")]
    Failed {
        /// Storage, queue or metadata.
        part: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether it may be there later.
        may_pass: bool,
    },
}

impl OpenError {
    pub(super) fn unknown(key: &'static str, url: &Url) -> Self {
        Self::Unknown { key, url: url.clone() }
    }

    pub(super) fn failed(part: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { part, source: Box::new(source), may_pass: false }
    }

    pub(super) fn passing(self, passes: bool) -> Self {
        match self {
            Self::Failed { part, source, .. } => Self::Failed { part, source, may_pass: passes },
            unknown => unknown,
        }
    }

    /// Whether it is worth another try: the backend could not be reached.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { may_pass: true, .. })
    }
}
