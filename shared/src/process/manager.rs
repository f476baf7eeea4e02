//! What systemd is told that has started us with `Type=notify`: that we are ready, whether intake is open, that we are alive, that we
//! stop (`sd_notify(3)`).
//!
//! Nothing waits for it, and where nobody listens nothing is said. The watchdog is fed by the runtime that answers `/livez`: when that
//! no longer turns, both fall silent, and systemd starts us again.

use std::{
    fmt::Display,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::warn;

use crate::{
    limits::{Gate, Reason},
    shutdown::Stop,
};

/// How often the watchdog is fed within the time that it waits: one of these may come late, and one may be lost.
const FEEDS: u32 = 3;

/// Who has started us, if it wants to be told.
#[derive(Clone, Default, Debug)]
pub(super) struct Manager(Option<Arc<Listener>>);

#[derive(Debug)]
struct Listener {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds it in the environment: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` if `WATCHDOG_PID` is us.
    pub(super) fn find(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut path, mut patience, mut whose) = (None, None, None);
        for (name, value) in environment {
            match name.as_str() {
                "NOTIFY_SOCKET" => path = Some(value),
                "WATCHDOG_USEC" => patience = value.parse().ok().filter(|micros| *micros > 0),
                "WATCHDOG_PID" => whose = Some(value),
                _ => {}
            }
        }
        let ours = whose.is_none_or(|whose| whose == std::process::id().to_string());
        let watchdog = patience.filter(|_| ours).map(Duration::from_micros);
        let Some(path) = path else { return Self::default() };
        match connect(&path) {
            Ok((socket, address)) => Self(Some(Arc::new(Listener { socket, address, watchdog }))),
            Err(error) => {
                warn!(%error, path, "NOTIFY_SOCKET cannot be used");
                Self::default()
            }
        }
    }

    /// All that is to be opened is open.
    pub(super) fn ready(&self) {
        self.say(format_args!("READY=1"));
    }

    /// Nothing new is taken any more.
    pub(super) fn stopping(&self) {
        self.say(format_args!("STOPPING=1\nSTATUS=stopping"));
    }

    /// What `systemctl status` shows.
    pub(super) fn status(&self, status: impl Display) {
        // A line has one line.
        self.say(format_args!("STATUS={}", status.to_string().replace(['\n', '\r'], " ")));
    }

    fn say(&self, state: impl Display) {
        if let Some(Listener { socket, address, .. }) = self.0.as_deref() {
            // A manager that does not listen has no one to tell; it is not waited for.
            let _said = socket.send_to_addr(state.to_string().as_bytes(), address);
        }
    }

    /// Feeds the watchdog, and tells how the gate stands where this process has one.
    pub(super) async fn keep_told(self, gate: Option<Gate>, stop: Stop) {
        let Some(listener) = self.0.clone() else { return };
        let every = listener.watchdog.map(|patience| patience / FEEDS);
        let mut feeds = every.map(|every| interval_at(Instant::now(), every));
        if let Some(feeds) = &mut feeds {
            feeds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        match &gate {
            Some(gate) => self.status(intake(gate)),
            None => self.status("at work"),
        }
        loop {
            let fed = async {
                match &mut feeds {
                    Some(feeds) => feeds.tick().await,
                    None => std::future::pending().await,
                }
            };
            let moved = async {
                match &gate {
                    Some(gate) => gate.moved().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = fed => self.say("WATCHDOG=1"),
                () = moved => gate.iter().for_each(|gate| self.status(intake(gate))),
            }
        }
    }
}

fn intake(gate: &Gate) -> String {
    let shut = Reason::ALL.into_iter().filter(|reason| gate.is_shut_for(*reason));
    let reasons: Vec<_> = shut.map(Reason::as_str).collect();
    if reasons.is_empty() {
        "intake is open".to_owned()
    } else {
        format!("intake is shut: {}", reasons.join(", "))
    }
}

/// A path, or a name in the kernel's own name space behind an `@`.
fn connect(path: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Shutter;

    /// A listener, and a manager that was found by it.
    fn found(address: &SocketAddr, path: &str, more: &[(&str, &str)]) -> (UnixDatagram, Manager) {
        let listener = UnixDatagram::bind_addr(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let variables = [("NOTIFY_SOCKET", path)].into_iter().chain(more.iter().copied());
        (listener, Manager::find(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))))
    }

    fn heard(listener: &UnixDatagram) -> Option<String> {
        let mut said = [0; 512];
        let length = listener.recv(&mut said).ok()?;
        Some(String::from_utf8_lossy(&said[..length]).into_owned())
    }

    #[test]
    fn is_told_at_a_path_and_at_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("headworks-test-{}", fastrand::u64(..));
        for (address, at) in [
            (SocketAddr::from_pathname(&path).unwrap(), path.display().to_string()),
            (SocketAddr::from_abstract_name(&name).unwrap(), format!("@{name}")),
        ] {
            let (listener, manager) = found(&address, &at, &[]);
            manager.ready();
            manager.status("two\nlines");
            assert_eq!(heard(&listener).as_deref(), Some("READY=1"), "{at}");
            assert_eq!(heard(&listener).as_deref(), Some("STATUS=two lines"), "{at}");
        }
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_fed() {
        let name = format!("headworks-test-{}", fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (whose, patience) in
            [("1", None), (&*std::process::id().to_string(), Some(Duration::from_secs(2)))]
        {
            let variables = [("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", whose)];
            let (_listener, manager) = found(&address, &format!("@{name}"), &variables);
            assert_eq!(manager.0.unwrap().watchdog, patience, "{whose}");
        }
    }

    #[test]
    fn without_a_socket_nothing_is_said() {
        let manager = Manager::find([("WATCHDOG_USEC".to_owned(), "1000".to_owned())]);
        manager.ready();
        assert!(manager.0.is_none());
    }

    #[test]
    fn all_reasons_of_a_shut_gate_are_told() {
        let gate = Gate::default();
        assert_eq!(intake(&gate), "intake is open");
        gate.set(Reason::Queue, Shutter::Shut, "a test");
        gate.set(Reason::Disk, Shutter::Shut, "a test");
        assert_eq!(intake(&gate), "intake is shut: disk, queue");
    }
}
