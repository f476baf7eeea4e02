//! TLS to the server: how far it is trusted is said by the URL.

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{Ledger as _, postgres::PostgresMeta},
    report::Report,
};
use headworks_tests::servers::{certificates::Certificates, postgres::Postgres};

use super::{AT, options, upload};

async fn server(certificates: &Certificates) -> Result<Postgres> {
    let certificate = format!("ssl_cert_file={}", certificates.server().display());
    let key = format!("ssl_key_file={}", certificates.key().display());
    Postgres::start_with(&["fsync=off", "ssl=on", &certificate, &key]).await
}

/// Opens a store; says whether its connections are encrypted, or why it could not be opened.
async fn opened(postgres: &Postgres, database: &str, query: &str) -> Result<bool, String> {
    let url = format!("{}?{query}", postgres.url(database));
    let meta = PostgresMeta::open(&url, &options()).await.map_err(|error| Report(&error).to_string())?;
    meta.persist(&[upload("a")], AT).await.map_err(|error| Report(&error).to_string())?;
    let question = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
        WHERE a.application_name = 'headworks'";
    let answer = postgres.say(database, question).await.map_err(|error| format!("{error:#}"))?;
    Ok(answer == ["t"])
}

#[tokio::test]
async fn a_server_is_trusted_as_far_as_the_url_says() -> Result<()> {
    let certificates = Certificates::make("IP:127.0.0.1")?;
    let postgres = server(&certificates).await?;
    let database = postgres.database().await?;
    let authority = format!("sslmode=verify-full&sslrootcert={}", certificates.authority().display());
    for (query, encrypted) in
        [("sslmode=disable", false), ("", true), ("sslmode=require", true), (authority.as_str(), true)]
    {
        let opened = opened(&postgres, &database, query).await;
        ensure!(opened == Ok(encrypted), "{query:?}: {opened:?}");
    }
    let refused = opened(&postgres, &database, "sslmode=verify-full").await;
    ensure!(refused.as_ref().is_err_and(|why| why.contains("UnknownIssuer")), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_name_proves_nothing() -> Result<()> {
    let certificates = Certificates::make("DNS:elsewhere.example")?;
    let postgres = server(&certificates).await?;
    let database = postgres.database().await?;
    let authority = format!("sslmode=verify-full&sslrootcert={}", certificates.authority().display());
    let refused = opened(&postgres, &database, &authority).await;
    ensure!(refused.as_ref().is_err_and(|why| why.contains("not valid for name")), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    ensure!(opened(&postgres, &database, "sslmode=prefer").await == Ok(false));
    let refused = opened(&postgres, &database, "sslmode=require").await;
    ensure!(refused.as_ref().is_err_and(|why| why.contains("TLS")), "{refused:?}");
    Ok(())
}
