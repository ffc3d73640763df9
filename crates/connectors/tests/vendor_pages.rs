//! The pages about vendors say what the code does.
//!
//! Goal: the tables in `docs/vendors/` are those of the definitions, and every vendor has a page.
//! Method: what stands between the marks is made anew and compared; with `PORTICO_WRITE_DOCS` set it is
//! put into the page instead.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use connectors::{Registry, VENDORS, matrix};

const BEGIN: &str = "<!-- generated -->\n";
const END: &str = "<!-- end of what is generated -->\n";

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vendors")
}

type Checked = Result<(), Box<dyn Error>>;

/// Compares what is generated in a page, or puts it there.
fn check(page: &str, table: &str) -> Checked {
    let path = pages().join(page);
    let text = std::fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the mark of the beginning")?;
    let (stands, after) = rest.split_once(END).ok_or("the mark of the end")?;
    if std::env::var_os("PORTICO_WRITE_DOCS").is_some() {
        let text = format!("{before}{BEGIN}{table}{END}{after}");
        return Ok(std::fs::write(&path, text)?);
    }
    assert_eq!(
        stands, table,
        "{page} is not as the code is: run this test with PORTICO_WRITE_DOCS=1"
    );
    Ok(())
}

#[test]
fn the_pages_about_vendors_say_what_they_can_do() -> Checked {
    let registry = Registry::new(VENDORS, [].into(), &[])?;
    check("README.md", &matrix::matrix(&registry))?;
    for connector in registry.connectors() {
        let page = format!("{}.md", connector.vendor().slug());
        check(&page, &matrix::capabilities(connector))?;
    }
    Ok(())
}
