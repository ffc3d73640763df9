//! Takes the files of the API page out of Swagger UI's archive, and compresses each.
//!
//! The archive has three builds of the program, of which the page loads one: embedded as they are,
//! they were a seventh of the binary.

use std::{
    env,
    error::Error,
    fs,
    io::{Cursor, Read as _, Write as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use zip::ZipArchive;

/// The files that the page loads.
const FILES: [&str; 7] = [
    "favicon-16x16.png",
    "favicon-32x32.png",
    "index.css",
    "index.html",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    let archive = Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED);
    let mut archive = ZipArchive::new(archive)?;
    for file in FILES {
        let ending = format!("/dist/{file}");
        let mut names = archive.file_names().filter_map(Result::ok);
        let name = names.find(|name| name.ends_with(&ending));
        let name = name
            .ok_or("the archive lacks a file of the page")?
            .into_owned();
        drop(names);
        let mut content = Vec::new();
        archive.by_name(&name)?.read_to_end(&mut content)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        fs::write(
            Path::new(&out).join(format!("{file}.gz")),
            encoder.finish()?,
        )?;
    }
    Ok(())
}
