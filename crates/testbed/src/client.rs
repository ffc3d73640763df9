//! SQL for tests that are not asynchronous, and for those who clean up after them.
//!
//! Guarantee: every call ends within its time.

use std::{io, thread, time::Duration};

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// How long a statement may take, with its connection: among tests on a busy machine none takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `sql`, one statement or several, on a connection of its own. Returns the rows, each value as text; NULL as an empty one.
///
/// # Errors
/// When the server cannot be reached, refuses, or takes longer than 30 seconds.
pub fn query(url: &str, sql: &str) -> io::Result<Vec<Vec<String>>> {
    // On a thread of its own, since who calls may be in a runtime already, where none may wait for another.
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                match tokio::time::timeout(PATIENCE, ask(url, sql)).await {
                    Ok(answer) => answer.map_err(|error| wrong(&error)),
                    Err(_) => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("PostgreSQL has not answered for {PATIENCE:?}: {sql}"),
                    )),
                }
            })
        });
        let panicked = |_| io::Error::other("the thread that asks PostgreSQL panicked");
        asked.join().map_err(panicked)?
    })
}

async fn ask(url: &str, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let serving = tokio::spawn(connection);
    let answer = client.simple_query(sql).await;
    // The connection ends by itself once nobody can ask anything; a server that goes on hanging is not waited for.
    drop(client);
    if answer.is_ok() {
        let _ = serving.await;
    }
    let rows = answer?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).unwrap_or_default().to_owned())
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

/// The library's own words are only of the kind of error ("db error"); what happened is in its sources.
fn wrong(error: &tokio_postgres::Error) -> io::Error {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    io::Error::other(format!("PostgreSQL: {words}"))
}
