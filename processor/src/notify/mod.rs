//! Tells receivers what happened: outbox row → deliveries → signed POSTs, by the Standard Webhooks spec.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! Everything that must survive is in the metadata store: which events are not relayed, which deliveries are due and when. So a crash
//! repeats a delivery at most, under the same `webhook-id`, and never loses one.

mod address;
mod client;
mod deliver;
mod endpoint;
mod relay;
mod schedule;
mod sign;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use headworks_shared::{config::settings, shutdown::Tasks};
use tokio::sync::Notify;

pub use endpoint::EndpointError;

use self::{
    client::Client,
    deliver::{Deliverer, Limits},
    endpoint::Endpoint,
};
use crate::Processor;

/// The receivers of the settings, and what is needed to reach them.
#[derive(Debug)]
pub(crate) struct Receivers {
    endpoints: Vec<Endpoint>,
    client: Client,
    limits: Limits,
}

impl Receivers {
    /// # Errors
    /// When an endpoint cannot be used, with all mistakes at once, or the machine has no root certificates for `https`.
    pub(crate) fn new(settings: &settings::Notify) -> Result<Self, StartError> {
        let endpoints = endpoint::parse_all(&settings.webhooks, settings.allow_private)?;
        let tls = endpoints.iter().any(Endpoint::is_https);
        let client =
            Client::new(settings.allow_private, settings.concurrency, tls).map_err(StartError::Roots)?;
        let limits = Limits {
            timeout: settings.timeout.0,
            concurrency: settings.concurrency,
            max_tries: settings.max_tries,
        };
        Ok(Self { endpoints, client, limits })
    }
}

/// Starts the relay, and a deliverer for each receiver.
pub(crate) fn start(processor: &Arc<Processor>, receivers: Receivers, tasks: &Tasks) {
    let Receivers { endpoints, client, limits } = receivers;
    let wanted: Vec<_> = endpoints.iter().map(Endpoint::receiver).collect();
    let mut wakes = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let wake = Arc::new(Notify::new());
        wakes.push(Arc::clone(&wake));
        let deliverer =
            Deliverer { processor: Arc::clone(processor), endpoint, client: client.clone(), limits, wake };
        tasks.spawn("deliveries", |stop| deliver::run(deliverer, stop));
    }
    tasks.spawn("relay", |stop| relay::run(Arc::clone(processor), wanted, wakes, stop));
}

/// How often relay and deliverers look into the store when nobody wakes them: other processes make events too.
const POLL: Duration = Duration::from_secs(1);

/// The processor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Webhooks of the settings cannot be used; each line names one and its mistake.
    #[error("webhooks cannot be used: {}", lines(.0))]
    Webhooks(Vec<(usize, EndpointError)>),
    /// There are receivers on `https`, and no root certificates on this machine.
    #[error("load the machine's root certificates for https webhooks")]
    Roots(#[source] io::Error),
}

fn lines(mistakes: &[(usize, EndpointError)]) -> String {
    let lines: Vec<_> =
        mistakes.iter().map(|(place, mistake)| format!("notify.webhooks[{place}]: {mistake}")).collect();
    lines.join("; ")
}
