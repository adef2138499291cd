//! Writes the API's reference: `cargo run -p proto --bin api-reference -- docs/api.md`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("name the file to write, such as docs/api.md")?;
    std::fs::write(path, proto::reference::markdown()?)?;
    Ok(())
}
