//! `portico openapi`

use std::path::PathBuf;

/// Prints the OpenAPI document.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A TOML file that extends or changes the vocabulary.
    #[arg(long, env = "PORTICO_VOCABULARY", value_name = "FILE")]
    vocabulary: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let registry = crate::server::registry(arguments.vocabulary.as_ref(), &[], "")?;
    let document = portico_http::document(&registry).map_err(|why| anyhow::anyhow!(why))?;
    crate::output::data(&serde_json::to_string_pretty(&document)?);
    Ok(())
}
