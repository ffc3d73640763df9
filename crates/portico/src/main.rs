//! The program of Portico's own vendors.

fn main() -> std::process::ExitCode {
    portico::run(connectors::VENDORS)
}
