//! What a process said on one of its outputs, line by line, and whether it was allowed to.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Result, bail};
use serde_json::Value;

/// The lines of one output, read as they come, so that the process never waits for its reader.
#[derive(Debug)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    /// Begins to read.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let read = move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lock(&kept).push(line);
            }
        };
        Self { lines, reader: Some(thread::spawn(read)) }
    }

    /// What was said so far.
    pub fn so_far(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// All that was said, once the process has ended.
    pub fn all(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            // A reader does nothing that can panic; if it did, what it read is still there.
            drop(reader.join());
        }
        self.so_far()
    }
}

fn lock(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks a log: every line is a JSON object with a level, and none asks for attention that was not announced.
///
/// # Errors
/// With all lines that should not be there.
pub fn check(lines: &[String], announced: &[&str]) -> Result<()> {
    let allowed = |line: &String| match level(line).as_deref() {
        Some("TRACE" | "DEBUG" | "INFO") => true,
        Some("WARN" | "ERROR") => announced.iter().any(|part| line.contains(part)),
        _ => false,
    };
    let strange: Vec<&str> = lines.iter().filter(|line| !allowed(line)).map(String::as_str).collect();
    if !strange.is_empty() {
        bail!("the log has lines that nobody announced:\n  {}", strange.join("\n  "));
    }
    Ok(())
}

fn level(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line.get("level")?.as_str()?.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_nobody_announced_fails_the_test() {
        let line = |text: &str| vec![text.to_owned()];
        let warning = line(r#"{"level":"WARN","fields":{"message":"intake shut","reason":"disk"}}"#);
        assert!(check(&warning, &[]).unwrap_err().to_string().contains("intake shut"));
        assert!(check(&warning, &["intake shut"]).is_ok());
        assert!(check(&line(r#"{"level":"INFO","fields":{"message":"ready"}}"#), &[]).is_ok());
        assert!(check(&line("thread 'main' panicked at src/main.rs"), &[]).is_err());
    }
}
