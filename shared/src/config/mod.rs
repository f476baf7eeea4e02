//! The settings: defaults < file < environment, all mistakes reported at once.

pub mod rules;
pub mod secret;
pub mod settings;
pub mod units;

pub use secret::Secret;
pub use settings::Settings;
pub use units::{ByteSize, Percent, Span};
