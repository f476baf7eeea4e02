//! Data directories that cannot be worked in.

use anyhow::{Result, ensure};
use headworks_tests::{Config, Exit, Headworks, Mount};

async fn refusal(config: &Config) -> Result<Exit> {
    match Headworks::try_start(config).await? {
        Err(exit) => Ok(exit),
        Ok(headworks) => {
            headworks.stop().await?;
            anyhow::bail!("it started")
        }
    }
}

/// It says what is wrong with what, in words, and is no panic.
fn tells(exit: &Exit, code: i32, words: &[&str]) -> Result<()> {
    let told = exit.stderr.join("\n");
    ensure!(exit.code == Some(code), "exit {:?}: {told}", exit.code);
    ensure!(words.iter().all(|word| told.contains(word)), "wanted {words:?} in:\n{told}");
    ensure!(!told.contains("panicked"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_read_only_one_is_told() -> Result<()> {
    let config = Config::new()?.mount(Mount::ReadOnly);
    let folder = config.data().display().to_string();
    tells(&refusal(&config).await?, 1, &[&folder, "Read-only file system"])
}

#[tokio::test]
async fn a_file_in_its_place_is_told() -> Result<()> {
    let config = Config::new()?;
    std::fs::write(config.data(), "not a folder")?;
    let folder = config.data().display().to_string();
    tells(&refusal(&config).await?, 1, &[&folder])
}

#[tokio::test]
async fn one_that_another_process_works_in_is_told_and_the_other_goes_on() -> Result<()> {
    let config = Config::new()?;
    Headworks::run(config.clone(), async |headworks| {
        let folder = config.data().display().to_string();
        tells(&refusal(&config).await?, 1, &[&folder, "another"])?;
        headworks.client().put("a", "x").send().await?.with_status(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_taken_address_is_told() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let address = headworks.listen().to_string();
        let exit = refusal(&Config::new()?.listen(&address)).await?;
        tells(&exit, 1, &[&address, "in use"])
    })
    .await
}
