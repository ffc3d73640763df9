//! Portico with the toy vendor beside its own: one line.

fn main() -> std::process::ExitCode {
    portico::run(&[&toy::DEFINITION, &connectors::knock::DEFINITION])
}
