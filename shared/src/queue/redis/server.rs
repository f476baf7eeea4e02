//! What kind of server it is: checked once, at the start.
//!
//! `INFO` tells all of it, also where a managed service forbids `CONFIG`. What a server does not tell is warned of, not refused.

use deadpool_redis::redis::{InfoDict, Pipeline};
use tracing::warn;

use super::{
    OpenError,
    connections::{Connections, NoAnswer},
};

/// Scripts need the flags, and `XADD` and `XCLAIM` the rules, of 7.0.
const OLDEST: (u32, u32) = (7, 0);

/// Refuses a server that would break promises, and warns of one that loses more than it must.
pub(super) async fn check(connections: &Connections) -> Result<(), OpenError> {
    let info = ask(connections).await.map_err(|error| OpenError::Unreachable(Box::new(error)))?;
    let Some(info) = info else {
        warn!("Redis does not tell what it is: it must be 7.0 or later, and evict nothing");
        return Ok(());
    };
    judge(&Facts {
        version: info.get("redis_version"),
        policy: info.get("maxmemory_policy"),
        aof: info.get("aof_enabled"),
    })
}

/// Names the run of the server: another one after each start, and on each replica.
pub(super) async fn run_id(connections: &Connections) -> Result<Option<String>, NoAnswer> {
    Ok(ask(connections).await?.and_then(|info| info.get("run_id")))
}

/// What the server tells of itself; `None` when it answers that it tells nothing.
async fn ask(connections: &Connections) -> Result<Option<InfoDict>, NoAnswer> {
    match connections.query::<(InfoDict,)>(Pipeline::new().cmd("INFO")).await {
        Ok((info,)) => Ok(Some(info)),
        Err(NoAnswer::Ask(error)) if matches!(error.code(), Some("ERR" | "NOPERM")) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `INFO` told.
struct Facts {
    version: Option<String>,
    policy: Option<String>,
    aof: Option<u8>,
}

fn judge(facts: &Facts) -> Result<(), OpenError> {
    match facts.version.as_deref().map(|version| (version, parse(version))) {
        Some((version, Some(parsed))) if parsed < OLDEST => {
            return Err(OpenError::TooOld { version: version.to_owned() });
        }
        Some((_, Some(_))) => {}
        Some((_, None)) | None => warn!("Redis does not tell its version: it must be 7.0 or later"),
    }
    match facts.policy.as_deref() {
        Some("noeviction") => {}
        Some(policy) => return Err(OpenError::Evicts { policy: policy.to_owned() }),
        None => warn!("Redis does not tell its maxmemory-policy: it must be noeviction"),
    }
    if facts.aof == Some(0) {
        warn!(
            "Redis keeps no append-only file: after it restarts, queued jobs wait for the sweep to find them"
        );
    }
    Ok(())
}

/// The first two numbers.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: Option<&str>, policy: Option<&str>) -> Result<(), String> {
        let [version, policy] = [version, policy].map(|fact| fact.map(str::to_owned));
        judge(&Facts { version, policy, aof: Some(1) }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_that_is_too_old_or_evicts_is_refused() {
        let evicts = Some("allkeys-lru");
        assert!(judged(Some("6.2.14"), Some("noeviction")).is_err_and(|said| said.contains("6.2.14")));
        assert!(judged(Some("7.0.15"), evicts).is_err_and(|said| said.contains("allkeys-lru")));
        assert!(judged(None, evicts).is_err());
        assert_eq!(judged(Some("7.0.15"), Some("noeviction")), Ok(()));
        assert_eq!(judged(Some("10.1"), Some("noeviction")), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_tell_is_taken() {
        assert_eq!(judged(None, None), Ok(()));
        assert_eq!(judged(Some("unknown"), None), Ok(()));
    }
}
