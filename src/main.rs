//! Arguments to exit code.

fn main() -> std::process::ExitCode {
    rosterd::cli::main()
}
