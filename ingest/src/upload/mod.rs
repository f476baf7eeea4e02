//! The protocols of upload, and what they share: what the client wants, repeats, and the commit.

mod commit;
pub(crate) mod form;
mod repeat;
pub(crate) mod simple;
pub(crate) mod wants;

#[cfg(test)]
mod tests;
