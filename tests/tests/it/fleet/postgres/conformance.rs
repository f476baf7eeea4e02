//! The suite of every metadata store.

mod directly {
    use std::sync::Arc;

    use headworks_shared::meta::Store;
    use headworks_tests::servers::postgres::Postgres;

    headworks_shared::meta_conformance!(fresh);

    async fn fresh() -> (Arc<dyn Store>, Arc<Postgres>) {
        let (meta, postgres, _) = super::super::fresh().await.expect("a database");
        (meta, postgres)
    }
}

/// With fewer connections than callers, so that a transaction hardly ever has the connection of the one before it.
mod through_pgbouncer {
    use std::sync::{Arc, Weak};

    use headworks_shared::meta::{Store, postgres::PostgresMeta};
    use headworks_tests::servers::{pgbouncer::PgBouncer, postgres::Postgres};
    use tokio::sync::Mutex;

    use super::super::options;

    headworks_shared::meta_conformance!(fresh);

    async fn fresh() -> (Arc<dyn Store>, Arc<PgBouncer>) {
        let bouncer = shared().await.expect("a PgBouncer");
        let database = bouncer.postgres().database().await.expect("a database");
        let meta = PostgresMeta::open(&bouncer.url(&database), &options()).await.expect("a store");
        (Arc::new(meta), bouncer)
    }

    async fn shared() -> anyhow::Result<Arc<PgBouncer>> {
        static SHARED: Mutex<Weak<PgBouncer>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(PgBouncer::start(&Postgres::shared().await?, 4).await?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }
}
