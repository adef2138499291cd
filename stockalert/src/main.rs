//! The program; all of it is in the library, so that tests can use the parts.

fn main() -> std::process::ExitCode {
    stockalert::main()
}
