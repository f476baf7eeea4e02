//! The settings: defaults < file < environment, and every mistake in them reported at once.
//!
//! `config/default.toml` is compiled in. It lists every key with its default, and its comments are the reference; so a key that is
//! not in it is unknown, and what it holds says what kind of value the key takes.

mod check;
mod load;
mod reference;
mod rules;
mod secret;
pub mod settings;
mod units;
mod url;

pub use load::{Loaded, load};
pub use reference::{DEFAULTS, to_markdown};
pub use rules::{Mistake, Mistakes};
pub use secret::Secret;
pub use settings::Settings;
pub use units::{ByteSize, Percent, Span, UnitError};
pub use url::Url;

/// Where a test lets this process die; see [`crate::fault`].
#[cfg(feature = "failpoints")]
pub(crate) fn failpoint() -> Option<String> {
    environment().find_map(|(name, value)| (name == "HEADWORKS_FAILPOINT").then_some(value))
}

/// The environment of this process, as (name, value); names and values that are not text are passed over.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
